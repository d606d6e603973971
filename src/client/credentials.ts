/** Who a program is, as the kernel tells it: /proc/PID/status, proc_pid_status(5). */

import { readFileSync } from 'node:fs';

/** capabilities(7) */
const CAP_CHOWN = 0n;
const CAP_DAC_OVERRIDE = 1n;
const CAP_DAC_READ_SEARCH = 2n;
const CAP_FOWNER = 3n;
const CAP_FSETID = 4n;

export interface Credentials {
  /** For file systems: fsuid, fsgid. */
  uid: number;
  gid: number;
  groups: number[];
  /** Files that it writes to lose their set-ID bits. */
  dropsSetId: boolean;
  /** It may search every directory. */
  passesDirectories: boolean;
  /** Modes do not keep it from reading and writing. */
  overrides: boolean;
  /** It may do what an inode's owner may. */
  ownsAll: boolean;
  /** It may give inodes to others. */
  changesOwners: boolean;
  /** Its real ids and capabilities are those for file systems: access(2) asks about the former. */
  isPlain: boolean;
}

const NOBODY = 65534;

/** The text of /proc/PID/status; '': there is no such process (any more). */
export function processStatus(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return '';
  }
}

/** Of fields that are missing, nobody's. */
export function credentialsOf(status: string): Credentials {
  const field = (name: string): string =>
    new RegExp(`^${name}:\\t(.*)$`, 'm').exec(status)?.[1]?.trim() ?? '';
  const fileSystemId = (name: string): number => Number(field(name).split('\t')[3] ?? NOBODY);
  const groups = field('Groups');
  const set = (name: string): bigint => BigInt(`0x${field(name) || '0'}`);
  const capabilities = set('CapEff');
  const can = (capability: bigint): boolean => ((capabilities >> capability) & 1n) !== 0n;
  const areSame = (name: string): boolean => new Set(field(name).split('\t')).size === 1;
  const isRoot = field('Uid').startsWith('0\t');
  return {
    uid: fileSystemId('Uid'),
    gid: fileSystemId('Gid'),
    groups: groups === '' ? [] : groups.split(' ').map(Number),
    dropsSetId: !can(CAP_FSETID),
    passesDirectories: can(CAP_DAC_OVERRIDE) || can(CAP_DAC_READ_SEARCH),
    overrides: can(CAP_DAC_OVERRIDE),
    ownsAll: can(CAP_FOWNER),
    changesOwners: can(CAP_CHOWN),
    isPlain:
      areSame('Uid') &&
      areSame('Gid') &&
      (isRoot ? capabilities === set('CapPrm') : capabilities === 0n),
  };
}
