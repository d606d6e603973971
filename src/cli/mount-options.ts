/**
 * What follows `mount -o`: coherence=leases|timeout, attr=SECONDS, entry=SECONDS, cache=auto|off, soft[=SECONDS],
 * hard, ro, allow_other, noatime, noacl, submounts, locks=cluster|local, and what the kernel itself knows: suid, dev,
 * exec and their opposites.
 */
import { UsageError } from '../common/errors.js';

export interface MountFlags {
  /** leases: what other clients change is seen at once; timeout: after attr and entry seconds. */
  coherence: 'leases' | 'timeout';
  /** With timeout: how long the kernel may use attributes and names without asking. */
  attrSeconds: number;
  entrySeconds: number;
  /** auto: the kernel caches files that no other client has open. */
  cache: 'auto' | 'off';
  /** Callers get EIO after a server has been away this long; undefined: they wait (hard). */
  softSeconds: number | undefined;
  readOnly: boolean;
  allowOther: boolean;
  /** Reading changes no access time. */
  noatime: boolean;
  /** No access control lists: permissions are the mode's alone. */
  noacl: boolean;
  /** Containers mount other file systems on the volume. */
  submounts: boolean;
  /** fcntl and flock locks hold among the processes of this mount alone. */
  localLocks: boolean;
  /** For mount(2), in their order. */
  kernelOptions: string[];
}

const kernelNames = new Set(['suid', 'nosuid', 'dev', 'nodev', 'exec', 'noexec']);

const defaultSoftSeconds = 30;
const maxSeconds = 86_400;

export function parseMountOptions(text: string): MountFlags {
  let coherence: MountFlags['coherence'] | undefined;
  let timed = false;
  const flags: MountFlags = {
    coherence: 'leases',
    attrSeconds: 1,
    entrySeconds: 1,
    cache: 'off',
    softSeconds: undefined,
    readOnly: false,
    allowOther: false,
    noatime: false,
    noacl: false,
    submounts: false,
    localLocks: false,
    kernelOptions: [],
  };
  for (const item of text.split(',')) {
    if (item === '') continue;
    if (item.startsWith('coherence=')) coherence = coherenceOf(item);
    else applyOption(flags, item);
    timed ||= /^(attr|entry)=/.test(item);
  }
  if (coherence === 'leases' && timed) {
    throw new UsageError('-o: attr= and entry= are for coherence=timeout');
  }
  flags.coherence = coherence ?? (timed ? 'timeout' : 'leases');
  if (flags.cache === 'auto' && flags.coherence === 'timeout') {
    throw new UsageError('-o: cache=auto needs coherence=leases');
  }
  return flags;
}

function coherenceOf(item: string): MountFlags['coherence'] {
  const value = item.slice(item.indexOf('=') + 1);
  if (value === 'leases' || value === 'timeout') return value;
  throw new UsageError(`-o: '${item}' is neither coherence=leases nor coherence=timeout`);
}

function cacheOf(item: string, value: string | undefined): MountFlags['cache'] {
  if (value === 'auto' || value === 'off') return value;
  throw new UsageError(`-o: '${item}' is neither cache=auto nor cache=off`);
}

function applyOption(flags: MountFlags, item: string): void {
  const [name, value] = splitOnce(item);
  if (kernelNames.has(item)) {
    flags.kernelOptions.push(item);
    return;
  }
  switch (name) {
    case 'attr':
      flags.attrSeconds = seconds(item, value, 0);
      return;
    case 'entry':
      flags.entrySeconds = seconds(item, value, 0);
      return;
    case 'cache':
      flags.cache = cacheOf(item, value);
      return;
    case 'soft':
      flags.softSeconds = value === undefined ? defaultSoftSeconds : seconds(item, value, 0.1);
      return;
    case 'locks':
      if (value !== 'cluster' && value !== 'local') {
        throw new UsageError(`-o: '${item}': there are locks=cluster and locks=local`);
      }
      flags.localLocks = value === 'local';
      return;
    case 'hard':
    case 'ro':
    case 'rw':
    case 'allow_other':
    case 'noatime':
    case 'relatime':
    case 'acl':
    case 'noacl':
    case 'submounts':
      if (value !== undefined) throw new UsageError(`-o: '${item}': ${name} takes no value`);
      if (name === 'hard') flags.softSeconds = undefined;
      else if (name === 'allow_other') flags.allowOther = true;
      else if (name.endsWith('atime')) flags.noatime = name === 'noatime';
      else if (name === 'submounts') flags.submounts = true;
      else if (name.endsWith('acl')) flags.noacl = name === 'noacl';
      else flags.readOnly = name === 'ro';
      return;
    default:
      throw new UsageError(
        `-o: '${item}' is not a mount option; there are coherence=leases|timeout, attr=SECONDS, entry=SECONDS, ` +
          'cache=auto|off, soft[=SECONDS], hard, ro, rw, allow_other, noatime, relatime, acl, noacl, ' +
          'submounts, locks=cluster|local, ' +
          [...kernelNames].join(', '),
      );
  }
}

function splitOnce(item: string): [string, string | undefined] {
  const at = item.indexOf('=');
  return at < 0 ? [item, undefined] : [item.slice(0, at), item.slice(at + 1)];
}

function seconds(item: string, value: string | undefined, min: number): number {
  const number = /^[0-9]+(\.[0-9]+)?$/.test(value ?? '') ? Number(value) : NaN;
  if (!(number >= min && number <= maxSeconds)) {
    throw new UsageError(
      `-o: '${item}' needs a number of seconds from ${min} to ${maxSeconds}, as in attr=1`,
    );
  }
  return number;
}
