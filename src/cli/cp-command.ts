/** `sealfs cp`: copies files and trees within volumes, between them, and from and to this machine, without a mount. */
import { lstat, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { UsageError } from '../common/errors.js';
import type { TreeEntry, TreeSide } from '../client/tree-copy.js';
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
import { Failures, OpenVolumes, parsePlace, placeText, reasonOf } from './volume-place.js';

interface CpOptions extends TransportFlags {
  manager: string;
  recursive?: true;
  json?: true;
}

/** A side of the copy, and a directory on it: whose type is the side's own business. */
interface End {
  side: TreeSide<unknown>;
  /** Of what side says of it: with the volume's name in front. */
  text(path: string): string;
  volume?: OpenVolume;
}

interface Source extends End {
  given: string;
  directory: unknown;
  entry: TreeEntry;
}

interface Target extends End {
  directory: unknown;
  /** Undefined: each source keeps its own. */
  name: Uint8Array | undefined;
}

export function addCp(program: Command): void {
  const command = program
    .command('cp')
    .description(
      'copy files, with -r directories and all in them, to, from or within volumes; needs no mount',
    )
    .argument('<from...>', 'VOLUME:PATH or a local path; the last argument is where to')
    .option('-r, --recursive', 'directories, too');
  addManagerOption(command);
  addTransportOption(command);
  addJsonOption(command);
  addExample(
    command,
    'sealfs cp -r ./inputs scratch:/run-7',
    'sealfs cp scratch:/run-7/result.dat .',
    'sealfs cp -r scratch:/run-7 scratch:/run-8',
  );
  command.action(async (texts: string[], options: CpOptions) => {
    const to = texts.pop()!;
    if (texts.length === 0) throw new UsageError(`'${to}': where it is to be copied to is missing`);
    if (![...texts, to].some((text) => parsePlace(text) !== undefined)) {
      throw new UsageError('none of these is in a volume (VOLUME:PATH); for local copies use cp');
    }
    const volumes = new OpenVolumes(clientOf(options), options);
    try {
      await copyAll(volumes, texts, to, options);
    } finally {
      await volumes.close();
    }
  });
}

async function copyAll(
  volumes: OpenVolumes,
  froms: readonly string[],
  to: string,
  options: CpOptions,
): Promise<void> {
  const sources: Source[] = [];
  for (const text of froms) {
    const source = await sourceOf(volumes, text);
    if (source.entry.kind === 'directory' && options.recursive !== true) {
      throw new UsageError(`${text} is a directory; to copy it, too: -r`);
    }
    sources.push(source);
  }
  const target = await targetOf(volumes, to, froms.length > 1);
  const { TreeCopy } = await import('../client/tree-copy.js');
  const { cloneWithin } = await import('../client/volume-side.js');
  const progress = new Progress();
  const failures = new Failures();
  const total = { files: 0, directories: 0, links: 0, bytes: 0 };
  try {
    for (const source of sources) {
      await checkNotInside(source, target, to);
      const isClone = source.volume !== undefined && source.volume === target.volume;
      const copy = new TreeCopy(source.side, target.side, {
        onProgress: ({ files, bytes }) => {
          progress.update(() => `${total.files + files} files, ${total.bytes + bytes} bytes`);
        },
        onError: (path, error) => {
          const isTarget = path.startsWith(target.side.pathOf(target.directory));
          failures.add((isTarget ? target : source).text(path), error);
        },
        ...(isClone ? { clone: cloneWithin } : {}),
      });
      const name = target.name ?? source.entry.name;
      await copy.copyEntry(source.directory, source.entry, target.directory, name);
      total.files += copy.counts.files;
      total.directories += copy.counts.directories;
      total.links += copy.counts.links;
      total.bytes += copy.counts.bytes;
    }
  } finally {
    progress.end();
  }
  if (options.json === true) printJson({ ...total, failed: failures.count });
  else {
    const { files, directories, links, bytes } = total;
    printLine(
      `copied ${files} files (${bytes} bytes), ${directories} directories, ${links} symbolic links`,
    );
  }
  if (failures.count > 0) throw new ExitStatus(exitFailure);
}

/** Fails with one line that names what was typed. */
async function named<T>(text: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!(error instanceof Error) || code === undefined || error instanceof UsageError) throw error;
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    const message = `${text}: ${reasonOf(error)}`;
    throw missing
      ? new UsageError(message, { cause: error })
      : new Error(message, { cause: error });
  }
}

async function sourceOf(volumes: OpenVolumes, given: string): Promise<Source> {
  const place = parsePlace(given);
  if (place === undefined) {
    const { LocalSide, localEntry } = await import('../client/local-side.js');
    const path = resolve(given);
    const stats = await named(given, lstat(path));
    return {
      given,
      side: new LocalSide(),
      text: (local) => local,
      directory: { path: Buffer.from(dirname(path)) },
      entry: localEntry(Buffer.from(basename(path)), stats),
    };
  }
  const { VolumeSide, volumeEntry } = await import('../client/volume-side.js');
  if (place.path === '/') {
    throw new UsageError(
      `${given} is the volume itself; name what is in it, such as ${given}run-7`,
    );
  }
  const volume = await volumes.get(place.volume);
  const path = dirname(place.path);
  const stats = await named(given, volume.lstat(place.path));
  const { inode } = await named(given, volume.stat(path));
  return {
    given,
    volume,
    side: new VolumeSide(volume),
    text: (below) => placeText(place.volume, below),
    directory: { path, inode },
    entry: volumeEntry(Buffer.from(basename(place.path)), stats),
  };
}

/** A directory that is there gets the sources by their names; else the one source gets this name. */
async function targetOf(volumes: OpenVolumes, given: string, isMany: boolean): Promise<Target> {
  const place = parsePlace(given);
  const path = place?.path ?? resolve(given);
  const volume = place === undefined ? undefined : await volumes.get(place.volume);
  const statOf = (of: string): Promise<{ isDirectory(): boolean; inode?: number }> =>
    volume === undefined ? stat(of) : volume.stat(of);
  const found = await named(
    given,
    statOf(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return undefined;
    }),
  );
  const isDirectory = found?.isDirectory() === true;
  if (isMany && !isDirectory) {
    throw new UsageError(`${given} is not a directory; several sources need one that is there`);
  }
  const into = isDirectory ? path : dirname(path);
  const parent = isDirectory ? found : await named(given, statOf(into));
  if (parent?.isDirectory() !== true) throw new UsageError(`${given}: not a directory: ${into}`);
  const name = isDirectory ? undefined : Buffer.from(basename(path));
  if (volume === undefined) {
    const { LocalSide } = await import('../client/local-side.js');
    const side = new LocalSide() as TreeSide<unknown>;
    return { side, text: (local) => local, directory: { path: Buffer.from(into) }, name };
  }
  const { VolumeSide } = await import('../client/volume-side.js');
  const side = new VolumeSide(volume) as TreeSide<unknown>;
  const text = (below: string): string => placeText(place!.volume, below);
  return { side, volume, text, directory: { path: into, inode: parent.inode }, name };
}

/** A tree that is copied into itself would never end, and a file onto itself would be emptied. */
async function checkNotInside(source: Source, target: Target, given: string): Promise<void> {
  if (source.volume === undefined || source.volume !== target.volume) return;
  const into = target.side.pathOf(target.directory, target.name ?? source.entry.name);
  const above = await source.volume.inodesOf(into);
  if (!above.includes(source.entry.place as number)) return;
  throw new UsageError(
    source.entry.kind === 'directory'
      ? `${given} is in ${source.given}: a directory cannot be copied into itself`
      : `${given} and ${source.given} are the same file`,
  );
}
