/** The kernel's lock requests (fcntl, flock, close) as calls of the core. */
import { LOCK_NONE, LOCK_READ, LOCK_WRITE } from '../common/lock-ranges.js';
import { LockType, Operation } from '../native/fuse.js';
import type { FuseRequest } from '../native/fuse.js';
import type { FileSystemCore } from './core.js';
import { FAMILY_FCNTL, FAMILY_FLOCK } from './file-locks/lock-owners.js';
import type { FuseOperation } from './fuse-operation.js';

const kinds: Record<number, number> = {
  [LockType.Read]: LOCK_READ,
  [LockType.Write]: LOCK_WRITE,
  [LockType.Unlock]: LOCK_NONE,
};

/** F_RDLCK … of one of our kinds. */
export function lockTypeOf(kind: number): number {
  if (kind === LOCK_NONE) return LockType.Unlock;
  return kind === LOCK_READ ? LockType.Read : LockType.Write;
}

/** GetLock, SetLock, SetLockWait, Flush. */
export function dispatchLock(
  core: FileSystemCore,
  operation: FuseOperation,
  fuse: FuseRequest,
): void {
  if (fuse.operation === Operation.Flush) {
    core.flushLocks(operation, fuse.handle, fuse.lockOwnerLow, fuse.lockOwnerHigh);
    return;
  }
  const asked = {
    family: fuse.isFlock ? FAMILY_FLOCK : FAMILY_FCNTL,
    ownerLow: fuse.lockOwnerLow,
    ownerHigh: fuse.lockOwnerHigh,
    kind: kinds[fuse.lockType] ?? LOCK_NONE,
    start: fuse.lockStart,
    last: fuse.lockEnd,
    pid: fuse.lockPid,
    wait: fuse.operation === Operation.SetLockWait,
  };
  if (fuse.operation === Operation.GetLock) core.getLock(operation, fuse.handle, asked);
  else core.lock(operation, fuse.handle, asked);
}
