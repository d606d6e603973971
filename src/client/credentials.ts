/** Who a program is, as the kernel tells it: /proc/PID/status, proc_pid_status(5). */

/** capabilities(7) */
const CAP_DAC_OVERRIDE = 1n;
const CAP_DAC_READ_SEARCH = 2n;
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
}

const NOBODY = 65534;

/** Of fields that are missing, nobody's. */
export function credentialsOf(status: string): Credentials {
  const field = (name: string): string =>
    new RegExp(`^${name}:\\t(.*)$`, 'm').exec(status)?.[1]?.trim() ?? '';
  const fileSystemId = (name: string): number => Number(field(name).split('\t')[3] ?? NOBODY);
  const groups = field('Groups');
  const capabilities = BigInt(`0x${field('CapEff') || '0'}`);
  const can = (capability: bigint): boolean => ((capabilities >> capability) & 1n) !== 0n;
  return {
    uid: fileSystemId('Uid'),
    gid: fileSystemId('Gid'),
    groups: groups === '' ? [] : groups.split(' ').map(Number),
    dropsSetId: !can(CAP_FSETID),
    passesDirectories: can(CAP_DAC_OVERRIDE) || can(CAP_DAC_READ_SEARCH),
  };
}
