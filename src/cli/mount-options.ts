/**
 * What follows `mount -o`: attr=SECONDS, entry=SECONDS, soft[=SECONDS], hard, ro, allow_other,
 * noatime, noacl, and what the kernel itself knows: suid, dev, exec and their opposites.
 */
import { UsageError } from '../common/errors.js';

export interface MountFlags {
  /** How long the kernel may use attributes and names without asking. */
  attrSeconds: number;
  entrySeconds: number;
  /** Callers get EIO after a server has been away this long; undefined: they wait (hard). */
  softSeconds: number | undefined;
  readOnly: boolean;
  allowOther: boolean;
  /** Reading changes no access time. */
  noatime: boolean;
  /** No access control lists: permissions are the mode's alone. */
  noacl: boolean;
  /** For mount(2), in their order. */
  kernelOptions: string[];
}

const kernelNames = new Set(['suid', 'nosuid', 'dev', 'nodev', 'exec', 'noexec']);

const defaultSoftSeconds = 30;
const maxSeconds = 86_400;

export function parseMountOptions(text: string): MountFlags {
  const flags: MountFlags = {
    attrSeconds: 1,
    entrySeconds: 1,
    softSeconds: undefined,
    readOnly: false,
    allowOther: false,
    noatime: false,
    noacl: false,
    kernelOptions: [],
  };
  for (const item of text.split(',')) {
    if (item !== '') applyOption(flags, item);
  }
  return flags;
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
    case 'soft':
      flags.softSeconds = value === undefined ? defaultSoftSeconds : seconds(item, value, 0.1);
      return;
    case 'hard':
    case 'ro':
    case 'rw':
    case 'allow_other':
    case 'noatime':
    case 'relatime':
    case 'acl':
    case 'noacl':
      if (value !== undefined) throw new UsageError(`-o: '${item}': ${name} takes no value`);
      if (name === 'hard') flags.softSeconds = undefined;
      else if (name === 'allow_other') flags.allowOther = true;
      else if (name.endsWith('atime')) flags.noatime = name === 'noatime';
      else if (name.endsWith('acl')) flags.noacl = name === 'noacl';
      else flags.readOnly = name === 'ro';
      return;
    default:
      throw new UsageError(
        `-o: '${item}' is not a mount option; there are attr=SECONDS, entry=SECONDS, ` +
          'soft[=SECONDS], hard, ro, rw, allow_other, noatime, relatime, acl, noacl, ' +
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
