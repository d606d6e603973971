/** A volume mounted on a directory of its own for the time of a benchmark. */
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../common/config.js';
import { defaultManagerUrl } from '../common/manager-api.js';
import { mountInBackground } from './mount-command.js';
import { managerUrl } from './option-values.js';
import { unmount } from './unmount.js';

export interface TemporaryMount {
  path: string;
  unmount(): Promise<void>;
}

/** `manager`: as after --manager; else SEALFS_MANAGER, the configuration file, the default. */
export async function mountTemporarily(
  request: { manager: string | undefined; volume: string },
  configPath: string | undefined,
): Promise<TemporaryMount> {
  const configured = loadConfig(configPath).value('manager_url')?.values[0];
  const manager = managerUrl('--manager')(request.manager ?? configured ?? defaultManagerUrl);
  const path = mkdtempSync(join(tmpdir(), 'sealfs-bench-'));
  try {
    await mountInBackground(request.volume, path, { manager, transport: 'auto', options: '' });
  } catch (error) {
    rmdirSync(path);
    throw error;
  }
  return {
    path,
    async unmount() {
      await unmount(path, { force: false });
      rmdirSync(path);
    },
  };
}
