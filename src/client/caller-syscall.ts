/**
 * What does a process that waits for the mount do with the attributes of a directory? The kernel asks for them
 * in the same words whether stat(2) is to show them or open(2) is to check that the caller may make an entry
 * there. Method: /proc/PID/syscall (proc_pid_syscall(5)) of the thread that waits: in calls that show no
 * attributes, they are for permissions alone.
 *
 * Whatever is not certain counts as a stat: a process that cannot be looked at, one of another PID namespace,
 * a 32-bit program, whose calls have other numbers, and a worker of io_uring, in which the number is that of some
 * call of another thread; the last two are known by their stack pointer.
 */
import { closeSync, openSync, readSync } from 'node:fs';

/**
 * access, faccessat, faccessat2, chdir, creat, link(at), mkdir(at), mknod(at), open, openat, openat2,
 * readlink(at), rename(at), renameat2, rmdir, symlink(at), unlink(at): arch/x86/entry/syscalls/syscall_64.tbl,
 * include/uapi/asm-generic/unistd.h.
 */
const CALLS: Partial<Record<NodeJS.Architecture, readonly number[]>> = {
  x64: [
    2, 21, 80, 82, 83, 84, 85, 86, 87, 88, 89, 133, 257, 258, 259, 263, 264, 265, 266, 267, 269,
    316, 437, 439,
  ],
  arm64: [33, 34, 35, 36, 37, 38, 48, 49, 56, 78, 276, 437, 439],
};
const calls = new Set(CALLS[process.arch] ?? []);
/** Of a 64-bit program the stack is above. */
const STACK_MIN = 2 ** 32;

/** The same of the text of /proc/PID/syscall: number, six arguments, stack pointer, program counter. */
export function syscallChecksPermissions(text: string): boolean {
  const words = text.split(' ');
  if (words.length !== 9 || !calls.has(Number(words[0]))) return false;
  return Number(words[7]) >= STACK_MIN;
}

const buffer = Buffer.alloc(256);

/** `pid` is a thread's number, 0 for one of another PID namespace. */
export function callerChecksPermissions(pid: number): boolean {
  if (pid === 0) return false;
  let file = -1;
  try {
    file = openSync(`/proc/${pid}/syscall`, 'r');
    return syscallChecksPermissions(buffer.toString('latin1', 0, readSync(file, buffer)));
  } catch {
    return false;
  } finally {
    if (file >= 0) closeSync(file);
  }
}
