/** `sealfs find`: lists what is in a volume, without a mount. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { SealfsError } from '../common/errors.js';
import type { FoundEntry } from '../client/files.js';
import {
  addExample,
  addJsonOption,
  addManagerOption,
  addTransportOption,
  clientOf,
} from './common-options.js';
import type { TransportFlags } from './common-options.js';
import { ExitStatus, exitFailure } from './failure.js';
import { globPattern } from './glob.js';
import { choice } from './option-values.js';
import { Failures, OpenVolumes, placeText, reasonOf, requirePlace } from './volume-place.js';
import type { VolumePlace } from './volume-place.js';

/** As find(1) has them, and the type bits of st_mode. */
const types: Readonly<Record<string, number>> = {
  f: 0o100000,
  d: 0o040000,
  l: 0o120000,
  p: 0o010000,
  s: 0o140000,
  b: 0o060000,
  c: 0o020000,
};
const letters = new Map(Object.entries(types).map(([letter, mode]) => [mode, letter]));
const OUTPUT_BYTES = 65_536;

interface FindOptions extends TransportFlags {
  manager: string;
  name?: RegExp;
  type?: string;
  json?: true;
}

export function addFind(program: Command): void {
  const command = program
    .command('find')
    .description('print what is at a place and below it, in no particular order; needs no mount')
    .argument('<place>', 'VOLUME:PATH')
    .addOption(
      new Option('--name <pattern>', "names like this: '*.log', 'run-?', '[a-c]*'").argParser(
        (text: string) => globPattern('--name', text),
      ),
    )
    .addOption(
      new Option(
        '--type <letter>',
        'f: files, d: directories, l: symbolic links, p, s, b, c',
      ).argParser(choice('--type', Object.keys(types))),
    );
  addManagerOption(command);
  addTransportOption(command);
  addJsonOption(command);
  addExample(command, "sealfs find scratch:/results --name '*.log' --type f");
  command.action(async (text: string, options: FindOptions) => {
    await find(requirePlace(text), options);
  });
}

async function find(place: VolumePlace, options: FindOptions): Promise<void> {
  const volumes = new OpenVolumes(clientOf(options), options);
  const failures = new Failures();
  const out = new Output();
  try {
    const [files, { findTree, FileError }] = await Promise.all([
      volumes.get(place.volume),
      import('../client/files.js'),
    ]);
    let found = 0;
    const visit = (entry: FoundEntry): void => {
      if (!isWanted(entry, options)) return;
      const path = placeText(place.volume, entry.path);
      if (options.json !== true) out.write(`${path}\n`);
      else out.write(`${found === 0 ? '' : ','}${jsonOf(entry, path)}`);
      found++;
    };
    if (options.json === true) out.write('{"entries":[');
    try {
      await findTree(files, place.path, visit, (error) => {
        failures.add(placeText(place.volume, error.path), error);
      });
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      const text = `${placeText(place.volume, place.path)}: ${reasonOf(error)}`;
      throw new SealfsError('NOT_FOUND', text, { cause: error });
    }
    if (options.json === true) out.write(']}\n');
    await out.end();
  } finally {
    await volumes.close();
  }
  if (failures.count > 0) throw new ExitStatus(exitFailure);
}

function isWanted({ name, mode }: FoundEntry, options: FindOptions): boolean {
  if (options.type !== undefined && types[options.type] !== mode) return false;
  return options.name?.test(name) ?? true;
}

function jsonOf({ inode, mode }: FoundEntry, path: string): string {
  return JSON.stringify({ path, type: letters.get(mode) ?? '?', inode });
}

/** Standard output in large pieces. A reader that has seen enough (head) is no failure. */
class Output {
  #text = '';
  #closed = false;

  constructor() {
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      this.#closed = true;
    });
  }

  write(text: string): void {
    this.#text += text;
    if (this.#text.length >= OUTPUT_BYTES) this.#flush();
  }

  #flush(): void {
    if (!this.#closed) process.stdout.write(this.#text);
    this.#text = '';
  }

  /** Resolves when all is out. */
  end(): Promise<void> {
    const text = this.#text;
    this.#text = '';
    return new Promise((resolve) => {
      if (this.#closed) resolve();
      else process.stdout.write(text, () => resolve());
    });
  }
}
