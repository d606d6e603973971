/**
 * The IO500's phases, in their order, as one table: what is run, how it is scored, whose files it
 * works on, and which earlier phases it builds on. Everything else reads this table.
 */
export const phaseNames = [
  'ior-easy-write',
  'mdtest-easy-write',
  'ior-hard-write',
  'mdtest-hard-write',
  'find',
  'ior-easy-read',
  'mdtest-easy-stat',
  'ior-hard-read',
  'mdtest-hard-stat',
  'mdtest-easy-delete',
  'mdtest-hard-read',
  'mdtest-hard-delete',
  'ior-rnd4K-easy-read',
] as const;

export type PhaseName = (typeof phaseNames)[number];
export type FileSet = 'ior-easy' | 'ior-hard' | 'mdtest-easy' | 'mdtest-hard';
export type Unit = 'GiB/s' | 'kIOPS';

export interface Phase {
  name: PhaseName;
  /** The files that it works on; find walks over all. */
  files: FileSet | 'all';
  unit: Unit;
  /** Which mean it enters; `none`: runs, unscored. */
  group: 'BW' | 'MD' | 'none';
  /** It creates its files until the stonewall, and its count is what later phases use. */
  writes: boolean;
  /** How many ranks further the files are that it reads; see `peerOf`. */
  shift: number;
}

function phase(
  name: PhaseName,
  files: Phase['files'],
  group: Phase['group'],
  shift: number,
): Phase {
  const unit: Unit = name.startsWith('ior') ? 'GiB/s' : 'kIOPS';
  return { name, files, unit, group, writes: name.endsWith('-write'), shift };
}

export const phases: readonly Phase[] = [
  phase('ior-easy-write', 'ior-easy', 'BW', 0),
  phase('mdtest-easy-write', 'mdtest-easy', 'MD', 0),
  phase('ior-hard-write', 'ior-hard', 'BW', 0),
  phase('mdtest-hard-write', 'mdtest-hard', 'MD', 0),
  phase('find', 'all', 'MD', 0),
  phase('ior-easy-read', 'ior-easy', 'BW', 1),
  phase('mdtest-easy-stat', 'mdtest-easy', 'MD', 1),
  phase('ior-hard-read', 'ior-hard', 'BW', 1),
  phase('mdtest-hard-stat', 'mdtest-hard', 'MD', 1),
  phase('mdtest-easy-delete', 'mdtest-easy', 'MD', 3),
  phase('mdtest-hard-read', 'mdtest-hard', 'MD', 2),
  phase('mdtest-hard-delete', 'mdtest-hard', 'MD', 3),
  phase('ior-rnd4K-easy-read', 'ior-easy', 'none', 1),
];

/**
 * The timestamp file is made before the first of these that runs: find tells the files since then.
 */
export const timestampBefore: readonly PhaseName[] = [
  'ior-hard-write',
  'mdtest-hard-write',
  'find',
];

/** Bytes of one operation of an ior phase; its score is in GiB/s. */
export const hardRecordBytes = 47008;
export const randomReadBytes = 4096;

/**
 * The rank whose files `rank` works on in a phase with this shift. Never its own when there is
 * another: where the shift is a multiple of np, it is one.
 */
export function peerOf(rank: number, shift: number, np: number): number {
  if (shift === 0) return rank;
  const effective = shift % np === 0 ? 1 : shift;
  return (rank + effective) % np;
}

/** The write phase that must have run for this one to have files; none for find and writes. */
export function sourceOf(phase: Phase): PhaseName | undefined {
  if (phase.writes || phase.files === 'all') return undefined;
  return `${phase.files}-write`;
}
