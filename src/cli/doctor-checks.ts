/**
 * What `sealfs doctor` looks at. A check says what was found, what that means for sealfs, and how
 * to mend it. `fail`: sealfs does not work here. `warn`: it works, slower or with a limit.
 */
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  unlinkSync,
} from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { formatBytes } from '../common/sizes.js';
import { nativeFolder } from '../native/load.js';
import { deviceProblem } from '../native/rdma-state.js';
import type { RdmaState } from '../native/rdma-state.js';

export type CheckState = 'ok' | 'warn' | 'fail';

export interface CheckResult {
  name: string;
  state: CheckState;
  found: string;
  /** What it means and how to mend it; empty when there is nothing to mend. */
  advice: string;
}

export const ok = (name: string, found: string): CheckResult => ({
  name,
  state: 'ok',
  found,
  advice: '',
});

export function checkNode(version: string): CheckResult {
  const [major, minor] = version.replace(/^v/, '').split('.').map(Number);
  const enough = major! > 20 || (major === 20 && minor! >= 19);
  if (enough) return ok('node', version);
  return {
    name: 'node',
    state: 'fail',
    found: version,
    advice: 'Node 20.19 or newer is needed; install it from nodejs.org or your distribution',
  };
}

const addons = ['core', 'socket', 'extent', 'fuse', 'crc'];

/** Each addon is loaded in a process of its own: a broken one must not end the doctor. */
export function checkAddons(folder = nativeFolder()): CheckResult {
  const problems: string[] = [];
  for (const addon of addons) {
    const file = join(folder, `sealfs_${addon}.node`);
    if (!existsSync(file)) {
      problems.push(`${addon}: not built`);
      continue;
    }
    const script = `process.dlopen({ exports: {} }, ${JSON.stringify(file)})`;
    const run = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    if (run.status === 0) continue;
    const reason = /^Error: (.*)$/m.exec(run.stderr)?.[1] ?? 'it does not load';
    problems.push(`${addon}: ${reason}`);
  }
  if (problems.length === 0) return ok('native addons', addons.join(', '));
  return {
    name: 'native addons',
    state: 'fail',
    found: problems.join('; '),
    advice: 'servers and mounts need them; build them: npm run setup && npm run build:native',
  };
}

export function checkFuse(): CheckResult {
  const name = 'FUSE';
  if (!existsSync('/dev/fuse')) {
    return {
      name,
      state: 'fail',
      found: 'there is no /dev/fuse',
      advice:
        'mounting needs it: modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN',
    };
  }
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    return {
      name,
      state: 'fail',
      found: `/dev/fuse cannot be opened: ${(error as NodeJS.ErrnoException).code ?? ''}`,
      advice: 'mounting needs it: chmod 666 /dev/fuse, or allow the device in the container',
    };
  }
  const helper = spawnSync('fusermount3', ['--version'], { encoding: 'utf8' });
  if (helper.error !== undefined) {
    return {
      name,
      state: 'fail',
      found: '/dev/fuse is there, fusermount3 is not',
      advice: 'mounting without root and unmounting need it: apt-get install fuse3',
    };
  }
  return ok(name, `/dev/fuse, ${helper.stdout.trim()}`);
}

/** Kernels that allow shared mmap of files opened with direct I/O (FUSE_DIRECT_IO_ALLOW_MMAP). */
export function checkKernel(text = release()): CheckResult {
  const [major, minor] = text.split('.').map(Number);
  const modern = major! > 6 || (major === 6 && minor! >= 6);
  if (modern) return ok('kernel', `${text}: mmap works together with direct I/O`);
  return {
    name: 'kernel',
    state: 'warn',
    found: text,
    advice:
      'before 6.6 files that are mapped go through the page cache; a newer kernel avoids that',
  };
}

/** A row of /proc/self/limits: the soft limit, Infinity for `unlimited`. */
export function softLimit(limits: string, row: string): number {
  const line = limits.split('\n').find((candidate) => candidate.startsWith(row));
  const value = line?.slice(row.length).trim().split(/\s+/)[0] ?? '0';
  return value === 'unlimited' ? Infinity : Number(value);
}

const wantedFiles = 4096;
const wantedLockedBytes = 64 * 1024 * 1024;

export function checkLimits(limits = readFileSync('/proc/self/limits', 'utf8')): CheckResult[] {
  const files = softLimit(limits, 'Max open files');
  const locked = softLimit(limits, 'Max locked memory');
  const filesFound = files === Infinity ? 'unlimited' : String(files);
  const lockedFound = locked === Infinity ? 'unlimited' : formatBytes(locked);
  return [
    files >= wantedFiles
      ? ok('open files', filesFound)
      : {
          name: 'open files',
          state: 'warn',
          found: filesFound,
          advice: `each connection takes one: ulimit -n ${wantedFiles} (LimitNOFILE= in systemd)`,
        },
    locked >= wantedLockedBytes
      ? ok('locked memory', lockedFound)
      : {
          name: 'locked memory',
          state: 'warn',
          found: lockedFound,
          advice:
            'registered buffers (io_uring, RDMA) are locked: ' +
            'ulimit -l unlimited (LimitMEMLOCK= in systemd)',
        },
  ];
}

/** `mode`: what the disk engine found when it started, or why it did not. */
export function checkIoUring(mode: string): CheckResult {
  if (mode.startsWith('io_uring')) return ok('io_uring', mode);
  return {
    name: 'io_uring',
    state: 'warn',
    found: mode,
    advice:
      'data devices are driven by a thread pool instead, which is slower: ' +
      'sysctl kernel.io_uring_disabled=0, and allow io_uring in the container (seccomp)',
  };
}

export function checkDirectIo(directory: string): CheckResult {
  const name = 'O_DIRECT';
  const file = join(directory, `.sealfs-doctor-${process.pid}`);
  let descriptor: number | undefined;
  try {
    closeSync(openSync(file, 'w'));
    descriptor = openSync(file, constants.O_RDWR | constants.O_DIRECT);
    return ok(name, `works in ${directory}`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EINVAL') {
      return {
        name,
        state: 'warn',
        found: `${directory}: not supported by its file system`,
        advice: 'data there goes through the page cache; put --data on ext4, XFS or a block device',
      };
    }
    return {
      name,
      state: 'fail',
      found: `${directory}: ${code ?? String(error)}`,
      advice: 'name a writable directory: sealfs doctor DIR',
    };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
    if (existsSync(file)) unlinkSync(file);
  }
}

export function checkDax(mountInfo = readFileSync('/proc/self/mountinfo', 'utf8')): CheckResult {
  const name = 'DAX';
  const places = mountInfo
    .split('\n')
    .filter((line) => /(^|[\s,])dax(=always)?([\s,]|$)/.test(line))
    .map((line) => line.split(' ')[4]!);
  if (places.length > 0) return ok(name, `persistent memory at ${places.join(', ')}`);
  return ok(name, 'no persistent memory is mounted with dax; metadata is synced to disk instead');
}

export function checkHugePages(memInfo = readFileSync('/proc/meminfo', 'utf8')): CheckResult {
  const field = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(memInfo)?.[1] ?? 0);
  const free = field('HugePages_Free');
  const pageBytes = field('Hugepagesize') * 1024;
  if (free > 0) return ok('huge pages', `${free} of ${formatBytes(pageBytes)} free`);
  return {
    name: 'huge pages',
    state: 'warn',
    found: 'none reserved',
    advice:
      'the arena uses ordinary pages: a little slower, and more to register with an adapter; ' +
      'sysctl vm.nr_hugepages=256',
  };
}

/**
 * RDMA: the devices, then what keeps them from being used. Never a failure: everything works over
 * tcp.
 */
export function checkRdma(state: RdmaState): CheckResult[] {
  const checks = state.devices.map((device): CheckResult => {
    const { name, type, state: port, addresses, interfaces, gids } = device;
    const found = [
      port,
      ...(type === '' ? [] : [type]),
      ...(interfaces.length === 0 ? [] : [`on ${interfaces.join(' ')}`]),
      addresses.length === 0 ? `${gids} GIDs, no address` : `at ${addresses.join(' ')}`,
    ].join(', ');
    const problem = deviceProblem(device);
    if (problem === undefined) return ok(`RDMA ${name}`, found);
    return warning(`RDMA ${name}`, found, `${problem.what}; ${problem.mend}`);
  });
  for (const { what, mend } of state.problems) {
    checks.push(warning('RDMA', `${what}; tcp is used`, mend));
  }
  if (state.problems.length > 0) return checks;
  return [...checks, ok('RDMA', 'can be used: --transport rdma or auto')];
}

function warning(name: string, found: string, advice: string): CheckResult {
  return { name, state: 'warn', found, advice };
}
