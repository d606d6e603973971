/**
 * What a run is told: defaults of a scale, overridden by an INI file with the official suite's
 * names. Keys of that suite that have no meaning here are accepted only with the value that asks
 * for what is done anyway; everything else is refused with one line.
 */
import { UsageError } from '../src/common/errors.js';
import { formatIni, parseIni, type IniEntry } from './ini.js';
import { phaseNames, phases, randomReadBytes, sourceOf, type PhaseName } from './phases.js';

export const scaleNames = ['smoke', 'laptop', 'full'] as const;
export type Scale = (typeof scaleNames)[number];

export interface Io500Config {
  datadir: string | undefined;
  resultdir: string | undefined;
  verbosity: number;
  dropCaches: boolean;
  dropCachesCommand: string;
  stonewallSeconds: number;
  transferBytes: number;
  /** Most bytes of one rank's ior-easy file. */
  blockBytes: number;
  /** O_DIRECT in the ior-easy phases. */
  direct: boolean;
  segmentCount: number;
  /** Most files of one rank. */
  mdtestEasyFiles: number;
  mdtestHardFiles: number;
  /** Files of one rank in each of the hard directories; 0: all in one directory. */
  filesPerDir: number;
  /** Ranks that take part in find; undefined: all. */
  findRanks: number | undefined;
  run: Record<PhaseName, boolean>;
}

/** A run is valid by the IO500's rules from this stonewall on. */
export const validStonewallSeconds = 300;

const mebi = 2 ** 20;
const gibi = 2 ** 30;
/** The rank's buffer; see native/rank/main.cc. */
const transferBytesMax = 64 * mebi;

/** The bounds keep a short run from filling a small disk; a full one has the official defaults. */
const bounds = {
  smoke: { stonewall: 5, block: 2 * gibi, segments: 40_000, files: 500_000 },
  laptop: { stonewall: 20, block: 16 * gibi, segments: 400_000, files: 1_000_000 },
  full: {
    stonewall: validStonewallSeconds,
    block: 9_920_000 * mebi,
    segments: 10_000_000,
    files: 1_000_000,
  },
} as const;

export function defaultConfig(scale: Scale): Io500Config {
  const bound = bounds[scale];
  return {
    datadir: undefined,
    resultdir: undefined,
    verbosity: 1,
    dropCaches: false,
    dropCachesCommand: 'sudo -n bash -c "echo 3 > /proc/sys/vm/drop_caches"',
    stonewallSeconds: bound.stonewall,
    transferBytes: 2 * mebi,
    blockBytes: bound.block,
    direct: false,
    segmentCount: bound.segments,
    mdtestEasyFiles: bound.files,
    mdtestHardFiles: bound.files,
    filesPerDir: 0,
    findRanks: undefined,
    run: Object.fromEntries(phaseNames.map((name) => [name, true])) as Record<PhaseName, boolean>,
  };
}

/**
 * Lowers how much a run writes so that the directory keeps room: a quarter of the free bytes for
 * either ior file set, a quarter of the free inodes for either mdtest one.
 */
export function fitToSpace(
  config: Io500Config,
  np: number,
  free: { bytes: number; inodes: number },
): Io500Config {
  const bytes = Math.floor(free.bytes / 4 / np);
  const transfers = Math.max(1, Math.floor(bytes / config.transferBytes));
  // A file system without a fixed number of inodes says 0.
  const files = free.inodes > 0 ? Math.max(1, Math.floor(free.inodes / 4 / np)) : Infinity;
  return {
    ...config,
    blockBytes: Math.min(config.blockBytes, transfers * config.transferBytes),
    segmentCount: Math.min(config.segmentCount, Math.max(1, Math.floor(bytes / 47008))),
    mdtestEasyFiles: Math.min(config.mdtestEasyFiles, files),
    mdtestHardFiles: Math.min(config.mdtestHardFiles, files),
  };
}

type Reader = (config: Io500Config, value: string, at: string) => void;

function wholeNumber(value: string, at: string, min: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < min || number > Number.MAX_SAFE_INTEGER) {
    throw new UsageError(`${at}: '${value}' is not a whole number of at least ${min}`);
  }
  return number;
}

/** IOR's notation: 4096, 64k, 2m, 1g, 1t; powers of 1024. */
export function parseSize(value: string, at: string): number {
  const match = /^(\d+)([kmgt]?)$/i.exec(value);
  const bytes = match
    ? Number(match[1]) * 1024 ** ' kmgt'.indexOf(match[2]!.toLowerCase() || ' ')
    : 0;
  if (bytes < 1 || bytes > Number.MAX_SAFE_INTEGER) {
    throw new UsageError(`${at}: '${value}' is not a size such as 47008, 64k, 2m or 1g`);
  }
  return bytes;
}

function truth(value: string, at: string): boolean {
  if (/^(true|1|yes)$/i.test(value)) return true;
  if (/^(false|0|no)$/i.test(value)) return false;
  throw new UsageError(`${at}: '${value}' is neither TRUE nor FALSE`);
}

/** A key that can only ask for what is done anyway. */
function only(...allowed: string[]): Reader {
  return (_config, value, at) => {
    if (allowed.some((other) => other.toLowerCase() === value.toLowerCase())) return;
    throw new UsageError(`${at}: '${value}' is not supported here, only ${allowed.join(' or ')}`);
  };
}

function runs(...names: PhaseName[]): Reader {
  return (config, value, at) => {
    const run = truth(value, at);
    for (const name of names) config.run[name] = run;
  };
}

const ignored: Reader = () => undefined;
const posix = only('POSIX');

const easyIor = phases.filter((phase) => phase.files === 'ior-easy').map((phase) => phase.name);
const hardIor = phases.filter((phase) => phase.files === 'ior-hard').map((phase) => phase.name);
const easyMd = phases.filter((phase) => phase.files === 'mdtest-easy').map((phase) => phase.name);
const hardMd = phases.filter((phase) => phase.files === 'mdtest-hard').map((phase) => phase.name);

const readers: Record<string, Record<string, Reader>> = {
  global: {
    datadir: (config, value) => (config.datadir = value),
    resultdir: (config, value) => (config.resultdir = value),
    verbosity: (config, value, at) => (config.verbosity = wholeNumber(value, at, 0)),
    'drop-caches': (config, value, at) => (config.dropCaches = truth(value, at)),
    'drop-caches-cmd': (config, value) => (config.dropCachesCommand = value),
    'timestamp-datadir': ignored, // a run's data always has a directory of its own
    'timestamp-resultdir': ignored, // likewise, unless --out names it
    api: posix,
  },
  debug: {
    'stonewall-time': (config, value, at) => (config.stonewallSeconds = wholeNumber(value, at, 1)),
  },
  'ior-easy': {
    transferSize: (config, value, at) => (config.transferBytes = parseSize(value, at)),
    blockSize: (config, value, at) => (config.blockBytes = parseSize(value, at)),
    'posix.odirect': (config, value, at) => (config.direct = truth(value, at)),
    API: posix,
    filePerProc: only('TRUE'),
    uniqueDir: only('FALSE'),
    hintsFileName: only(''),
    run: runs(...easyIor),
  },
  'ior-hard': {
    segmentCount: (config, value, at) => (config.segmentCount = wholeNumber(value, at, 1)),
    API: posix,
    'posix.odirect': only('FALSE'), // records of 47,008 bytes are not aligned
    collective: only('FALSE'),
    hintsFileName: only(''),
    run: runs(...hardIor),
  },
  'mdtest-easy': {
    n: (config, value, at) => (config.mdtestEasyFiles = wholeNumber(value, at, 1)),
    API: posix,
    run: runs(...easyMd),
  },
  'mdtest-hard': {
    n: (config, value, at) => (config.mdtestHardFiles = wholeNumber(value, at, 1)),
    'files-per-dir': (config, value, at) => (config.filesPerDir = wholeNumber(value, at, 1)),
    API: posix,
    run: runs(...hardMd),
  },
  find: {
    nproc: (config, value, at) => (config.findRanks = wholeNumber(value, at, 1)),
    'pfind-queue-length': ignored,
    'pfind-steal-next': ignored,
    'pfind-parallelize-single-dir-access-using-hashing': only('FALSE'),
    run: runs('find'),
  },
  timestamp: { run: only('TRUE') },
};
for (const name of phaseNames) {
  if (readers[name] === undefined) readers[name] = { run: runs(name), API: posix };
}

function applyEntry(config: Io500Config, entry: IniEntry, name: string): void {
  const at = `${name}:${entry.line}`;
  const section = readers[entry.section];
  if (section === undefined) {
    const known = Object.keys(readers).join(', ');
    throw new UsageError(`${at}: unknown section [${entry.section}]; known: ${known}`);
  }
  const reader = section[entry.key];
  if (reader === undefined) {
    const known = Object.keys(section).join(', ');
    throw new UsageError(
      `${at}: unknown key '${entry.key}' in [${entry.section}]; known: ${known}`,
    );
  }
  if (entry.value !== '') reader(config, entry.value, `${at}: ${entry.key}`);
}

/** Sections are applied before those of single phases, wherever they stand in the file. */
function order(entry: IniEntry): number {
  return (phaseNames as readonly string[]).includes(entry.section) ? 1 : 0;
}

/** The INI file's text over the scale's defaults. UsageError with file and line for bad input. */
export function readConfig(text: string, name: string, scale: Scale): Io500Config {
  const config = defaultConfig(scale);
  const entries = parseIni(text, name).sort((a, b) => order(a) - order(b) || a.line - b.line);
  for (const entry of entries) applyEntry(config, entry, name);
  checkConfig(config, name);
  return config;
}

/** What must hold between values. Phases whose files are not written do not run. */
function checkConfig(config: Io500Config, name: string): void {
  if (config.transferBytes % randomReadBytes !== 0 || config.transferBytes > transferBytesMax) {
    throw new UsageError(`${name}: transferSize must be a multiple of 4k and at most 64m`);
  }
  if (config.blockBytes % config.transferBytes !== 0) {
    throw new UsageError(`${name}: blockSize must be a multiple of transferSize`);
  }
  for (const phase of phases) {
    const source = sourceOf(phase);
    if (source !== undefined && !config.run[source]) config.run[phase.name] = false;
  }
}

/** config.ini as used, readable by this program and by the official one. */
export function formatConfig(config: Io500Config): string {
  const bool = (value: boolean): string => (value ? 'TRUE' : 'FALSE');
  const sections: [string, [string, string | undefined][]][] = [
    [
      'global',
      [
        ['datadir', config.datadir],
        ['timestamp-datadir', 'FALSE'],
        ['resultdir', config.resultdir],
        ['timestamp-resultdir', 'FALSE'],
        ['api', 'POSIX'],
        ['drop-caches', bool(config.dropCaches)],
        ['drop-caches-cmd', config.dropCachesCommand],
        ['verbosity', String(config.verbosity)],
      ],
    ],
    ['debug', [['stonewall-time', String(config.stonewallSeconds)]]],
    [
      'ior-easy',
      [
        ['transferSize', String(config.transferBytes)],
        ['blockSize', String(config.blockBytes)],
        ['posix.odirect', config.direct ? 'TRUE' : undefined],
      ],
    ],
    ['ior-hard', [['segmentCount', String(config.segmentCount)]]],
    ['mdtest-easy', [['n', String(config.mdtestEasyFiles)]]],
    [
      'mdtest-hard',
      [
        ['n', String(config.mdtestHardFiles)],
        ['files-per-dir', config.filesPerDir === 0 ? undefined : String(config.filesPerDir)],
      ],
    ],
    [
      'find',
      [
        ['nproc', config.findRanks?.toString()],
        ['run', bool(config.run.find)],
      ],
    ],
  ];
  for (const name of phaseNames) {
    if (name !== 'find') sections.push([name, [['run', bool(config.run[name])]]]);
  }
  return formatIni(sections);
}
