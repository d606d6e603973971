/** A volume mounted on a directory of its own for the time of a benchmark. */
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../common/config.js';
import type { SettingKey } from '../common/config.js';
import { defaultManagerUrl } from '../common/manager-api.js';
import { transportChoices } from '../transport/choices.js';
import { mountInBackground } from './mount-command.js';
import { choice, localAddress, managerUrl } from './option-values.js';
import { unmount } from './unmount.js';

export interface VolumeRequest {
  manager: string | undefined;
  volume: string;
  transport: string | undefined;
  bind: string | undefined;
}

export interface TemporaryMount {
  path: string;
  unmount(): Promise<void>;
}

/** What is not given comes from SEALFS_* variables, the configuration file, the defaults. */
export async function mountTemporarily(
  request: VolumeRequest,
  configPath: string | undefined,
): Promise<TemporaryMount> {
  const config = loadConfig(configPath);
  const given = (text: string | undefined, key: SettingKey): string | undefined =>
    text ?? config.value(key)?.values[0];
  const manager = managerUrl('--manager')(
    given(request.manager, 'manager_url') ?? defaultManagerUrl,
  );
  const parseTransport = choice('--transport', transportChoices);
  const transport = parseTransport(given(request.transport, 'transport') ?? 'auto');
  const source = given(request.bind, 'bind');
  const bind = source === undefined ? {} : { bind: localAddress('--bind')(source) };
  const path = mkdtempSync(join(tmpdir(), 'sealfs-bench-'));
  try {
    await mountInBackground(request.volume, path, { manager, transport, ...bind, options: '' });
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
