/**
 * `sealfs mount` and `sealfs umount`. Mounting in the background starts the foreground form as a
 * daemon and waits until it reports that the mount answers, or its one error.
 */
import { Option } from 'commander';
import type { Command } from 'commander';
import { constants, openSync } from 'node:fs';
import { createLogger } from '../common/log.js';
import { volumeNamePattern } from '../common/manager-api.js';
import { UsageError } from '../common/errors.js';
import { clientArena } from '../transport/choices.js';
import type { TransportChoice } from '../transport/choices.js';
import { spawnSelf, untilReady } from './children.js';
import {
  addExample,
  addManagerOption,
  addTransportOption,
  clientOf,
  transportArgs,
} from './common-options.js';
import type { TransportFlags } from './common-options.js';
import { tellParent, untilAskedToStop } from './lifetime.js';
import { parseMountOptions } from './mount-options.js';
import { checkMountPoint, findMount, resolveMountPoint } from './mount-table.js';
import { path } from './option-values.js';
import { bindSetting } from './settings.js';
import { detach, unmount } from './unmount.js';

interface MountCommandOptions extends TransportFlags {
  manager: string;
  foreground?: true;
  options: string;
  log?: string;
}

export function addMount(program: Command): void {
  const command = program
    .command('mount')
    .description('mount a volume; returns once it is mounted')
    .argument('<volume>', 'name of the volume')
    .argument('<mountpoint>', 'an empty directory')
    .option('-f, --foreground', 'stay in the foreground until unmounted or interrupted');
  addManagerOption(command);
  addTransportOption(command);
  const mountOptions = new Option(
    '-o, --options <list>',
    'coherence=leases (the default: what others change is seen at once) or timeout, with ' +
      'attr=SECONDS, entry=SECONDS (kernel caching, default 1); cache=auto (the kernel caches files ' +
      'that no other client has open) or off (the default); soft[=SECONDS] (EIO when servers ' +
      'are away, default after 30) or hard (wait, the default), ro, allow_other, noatime, noacl, ' +
      'submounts (containers mount other file systems on the volume), ' +
      'locks=cluster (fcntl and flock hold between all mounts, the default) or local, nosuid, nodev, noexec',
  )
    .argParser((text, previous: string | undefined) => {
      parseMountOptions(text);
      return previous === undefined || previous === '' ? text : `${previous},${text}`;
    })
    .default('', 'coherence=leases,hard');
  const log = new Option('--log <file>', 'append log lines there').argParser(path('--log'));
  command.addOption(mountOptions).addOption(log);
  bindSetting(command, mountOptions, 'mount.options');
  bindSetting(command, log, 'mount.log');
  addExample(
    command,
    'sealfs mount scratch /mnt/scratch --manager http://10.0.0.1:7300 -o soft=60',
  );
  command.action(async (volume: string, mountPoint: string, options: MountCommandOptions) => {
    checkVolumeName(volume);
    const place = resolveMountPoint(mountPoint);
    checkMountPoint(place);
    await checkTransport(options.transport);
    if (options.foreground === true) await mountInForeground(volume, place, options);
    else await mountInBackground(volume, place, options);
  });
}

/** What this machine lacks for `--transport rdma` is told at once, whatever else is wrong. */
async function checkTransport(choice: TransportChoice): Promise<void> {
  if (choice !== 'rdma') return;
  const { planTransport } = await import('../transport/select.js');
  planTransport({ choice, role: 'client', shape: clientArena });
}

export function checkVolumeName(name: string): void {
  if (volumeNamePattern.test(name)) return;
  throw new UsageError(
    `'${name}' is not a volume name; expected 1 to 64 of A-Z a-z 0-9 . _ - ` +
      'beginning with a letter or digit',
  );
}

async function mountInForeground(
  volumeName: string,
  mountPoint: string,
  options: MountCommandOptions,
): Promise<void> {
  const log = createLogger('mount', { file: options.log });
  // Asked first, so that a wrong name or URL is one clear line before anything is set up.
  const volume = await clientOf(options).volume(volumeName);
  const { startMount } = await import('../client/mount.js');
  const stop = untilAskedToStop();
  const starting = startMount({
    managerUrl: options.manager,
    volume,
    mountPoint,
    transport: options.transport,
    bind: options.bind,
    ...parseMountOptions(options.options),
    log,
  });
  const mount = await Promise.race([starting, stop]);
  if (typeof mount === 'string') {
    log.info(`not mounted: ${mount}`);
    if (findMount(mountPoint) !== undefined) await detach(mountPoint);
    return;
  }
  await tellParent({ ready: { mountPoint } });
  log.info({ volume: volumeName, mountPoint }, 'mounted');
  const reason = await Promise.race([stop, mount.ended.then(() => undefined)]);
  if (reason !== undefined) {
    log.info(`unmounting: ${reason}`);
    await mount.unmount();
  }
  await mount.ended;
  log.info({ mountPoint }, 'unmounted');
}

/** Resolves when the mount answers; its process lives on without this one. */
export async function mountInBackground(
  volume: string,
  mountPoint: string,
  options: MountCommandOptions,
): Promise<void> {
  const args = ['mount', volume, mountPoint, '--manager', options.manager];
  args.push(...transportArgs(options), '-f');
  if (options.options !== '') args.push('-o', options.options);
  let outputFd: number | undefined;
  if (options.log !== undefined) {
    args.push('--log', options.log);
    outputFd = openLog(options.log);
  }
  // A daemon pins no directory.
  const child = spawnSelf({ role: 'daemon', args, outputFd, cwd: '/' });
  await untilReady(child, 'the mount process', () => undefined);
  if (child.connected) child.disconnect();
  child.unref();
}

function openLog(file: string): number {
  try {
    return openSync(file, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o644);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new UsageError(`--log: ${file} cannot be written: ${code}`, { cause: error });
  }
}

export function addUmount(program: Command): void {
  const command = program
    .command('umount')
    .description('unmount; waits until the mount process has ended; works without servers too')
    .argument('<mountpoint>', 'where it is mounted')
    .option('--force', 'detach even if files are open; calls under way fail');
  addExample(command, 'sealfs umount /mnt/scratch');
  command.action(async (mountPoint: string, options: { force?: true }) => {
    await unmount(resolveMountPoint(mountPoint), { force: options.force === true });
  });
}
