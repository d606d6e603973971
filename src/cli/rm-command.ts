/** `sealfs rm`: removes files and trees of volumes, without a mount. */
import type { Command } from 'commander';
import { SealfsError, UsageError } from '../common/errors.js';
import type { OpenVolume } from '../client/files.js';
import {
  addExample,
  addJsonOption,
  addManagerOption,
  addTransportOption,
  clientOf,
} from './common-options.js';
import type { TransportFlags } from './common-options.js';
import { ExitStatus, exitFailure } from './failure.js';
import { Progress, printJson, printLine } from './output.js';
import { Failures, OpenVolumes, placeText, requirePlace } from './volume-place.js';
import type { VolumePlace } from './volume-place.js';

interface RmOptions extends TransportFlags {
  manager: string;
  recursive?: true;
  force?: true;
  json?: true;
}

export function addRm(program: Command): void {
  const command = program
    .command('rm')
    .description('remove files, with -r directories and all in them; needs no mount')
    .argument('<place...>', 'VOLUME:PATH')
    .option('-r, --recursive', 'directories, too; there is no way back')
    .option('-f, --force', 'places where nothing is are fine');
  addManagerOption(command);
  addTransportOption(command);
  addJsonOption(command);
  addExample(command, 'sealfs rm -r scratch:/results/old', 'sealfs rm scratch:/a scratch:/b');
  command.action(async (texts: string[], options: RmOptions) => {
    const places = texts.map(requirePlace);
    for (const { volume, path } of places) {
      if (path !== '/') continue;
      throw new UsageError(
        `${placeText(volume, path)} is the volume itself; to delete it with all that is in it: ` +
          `sealfs volume delete ${volume} --recursive`,
      );
    }
    await remove(places, options);
  });
}

async function remove(places: readonly VolumePlace[], options: RmOptions): Promise<void> {
  const volumes = new OpenVolumes(clientOf(options), options);
  const progress = new Progress();
  const failures = new Failures();
  let removed = 0;
  try {
    if (options.recursive !== true) await checkNoDirectories(volumes, places);
    for (const { volume, path } of places) {
      const files = await volumes.get(volume);
      const before = removed;
      const report = (count: number): void => {
        removed = before + count;
        progress.update(() => `${removed} entries removed`);
      };
      await removeOne(files, volume, path, options, report, failures);
    }
  } finally {
    progress.end();
    await volumes.close();
  }
  if (options.json === true) printJson({ removed, failed: failures.count });
  else printLine(`${removed} removed`);
  if (failures.count > 0) throw new ExitStatus(exitFailure);
}

/** Before anything is removed. */
async function checkNoDirectories(
  volumes: OpenVolumes,
  places: readonly VolumePlace[],
): Promise<void> {
  for (const { volume, path } of places) {
    const files = await volumes.get(volume);
    const stats = await files.lstat(path).catch(() => undefined);
    if (stats?.isDirectory() !== true) continue;
    throw new UsageError(`${placeText(volume, path)} is a directory; to remove it, too: -r`);
  }
}

async function removeOne(
  files: OpenVolume,
  volume: string,
  path: string,
  { recursive, force }: RmOptions,
  report: (count: number) => void,
  failures: Failures,
): Promise<void> {
  let inside = 0;
  try {
    const stats = await files.lstat(path);
    if (!stats.isDirectory()) await files.unlink(path);
    else if (recursive !== true) throw new Error('is a directory');
    else {
      const failedBefore = failures.count;
      const count = (removed: number): void => {
        inside = removed;
        report(inside);
      };
      await files.removeTree(path, count, (error) => {
        failures.add(placeText(volume, error.path), error);
      });
      if (failures.count > failedBefore) return;
      await files.rmdir(path);
    }
    report(inside + 1);
  } catch (error) {
    if (!(error instanceof Error) || error instanceof SealfsError) throw error;
    const isAbsent = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (!isAbsent || force !== true) failures.add(placeText(volume, path), error);
  }
}
