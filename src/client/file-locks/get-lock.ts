/** fcntl(2)'s F_GETLK: which lock would be in the way. */
import { readU53 } from '../../protocol/u53.js';
import { LockReply, Opcode, SetLockRequest } from '../../protocol/wire.generated.js';
import { LOCK_FLAG_FLOCK } from '../../protocol/locks.js';
import { CoreOperation } from '../operation.js';
import { FAMILY_FLOCK } from './lock-owners.js';
import { encodeSetLock } from './lock-operation.js';
import type { LockFields } from './lock-operation.js';

export class GetLockOperation extends CoreOperation {
  readonly #asked: LockFields = {
    inode: 0,
    owner: { number: 0 },
    start: 0,
    last: 0,
    number: 0,
    pid: 0,
    kind: 0,
  };
  #flags = 0;

  start(
    inode: number,
    family: number,
    owner: { number: number },
    kind: number,
    start: number,
    last: number,
  ): void {
    Object.assign(this.#asked, { inode, owner, kind, start, last });
    this.#flags = family === FAMILY_FLOCK ? LOCK_FLAG_FLOCK : 0;
    this.send(this.context.peerOfInode(inode), Opcode.GetLock, SetLockRequest.SIZE);
  }

  override encode(body: number): number {
    encodeSetLock(this.context.arena.words, body, this.#asked, this.#flags);
    return SetLockRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, LockReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const { words } = this.context.arena;
    const kind = words[(body + LockReply.kind) >>> 2]!;
    const start = readU53(words, body + LockReply.start);
    const last = readU53(words, body + LockReply.last);
    const pid = words[(body + LockReply.pid) >>> 2]!;
    this.release()?.replyLock(kind, start, last, pid);
  }
}
