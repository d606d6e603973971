/** Bits, times and limits of file locks on the wire (docs/locks.md). */

/** SetLockRequest.flags */
export const LOCK_FLAG_FLOCK = 1;
export const LOCK_FLAG_WAIT = 2;
export const LOCK_FLAG_RECLAIM = 4;

/** A client that was not heard for so long loses locks that somebody else wants. */
export const LOCK_SILENCE_MS = 15_000;

/** A waiter asks whether it stands in a ring after this time, and again after twice as long … */
export const PROBE_AFTER_MS = 1000;
/** … up to here. Whoever is passed on the way has waited for at least PROBE_AFTER_MS, too … */
export const PROBE_PAUSE_MAX_MS = 16_000;
/** … and the answer must be back within: then all of them wait at the same time. */
export const PROBE_VALID_MS = 1000;
/** Waiters that one probe passes, at most. */
export const PROBE_HOPS_MAX = 64;
/** Owners that one target passes it on to. */
export const PROBE_BLOCKERS_MAX = 16;
