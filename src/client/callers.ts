/**
 * Is a process that waits for the mount about to die? Then it must not be kept waiting: a process that
 * was killed goes away only when its call returns. All other signals can wait, as they do on a local
 * disk: programs take them all the time (PostgreSQL wakes its processes by SIGURG), and few expect EINTR
 * from a read, an lseek or an fsync.
 *
 * Method: /proc/PID/status, proc_pid_status(5). When the default action of a signal is to end a process, the
 * kernel makes it SIGKILL for each of its threads (kernel/signal.c, complete_signal); but for those that
 * dump core, which stay as they are.
 */
import { readFileSync } from 'node:fs';

/** signal(7) */
const SIGKILL = 9;
const CORE_SIGNALS = [3, 4, 5, 6, 7, 8, 11, 24, 25, 31];

function bit(signal: number): bigint {
  return 1n << BigInt(signal - 1);
}

const coreMask = CORE_SIGNALS.reduce((mask, signal) => mask | bit(signal), 0n);

/** The same of the text of /proc/PID/status. */
export function statusSaysDying(status: string): boolean {
  const mask = (name: string): bigint =>
    BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`);
  const pending = mask('SigPnd') | mask('ShdPnd');
  if ((pending & bit(SIGKILL)) !== 0n) return true;
  const kept = mask('SigBlk') | mask('SigIgn') | mask('SigCgt');
  return (pending & coreMask & ~kept) !== 0n;
}

/**
 * `pid` is a thread's number, 0 for one of another PID namespace. One of whom nothing can be known counts
 * as dying: better that it gets EINTR than that it can never be killed.
 */
export function callerIsDying(pid: number): boolean {
  if (pid === 0) return true;
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return true;
  }
  return statusSaysDying(status);
}
