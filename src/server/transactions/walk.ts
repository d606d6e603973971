/**
 * The way from a directory up to its volume's root, inode by inode, across targets: whether a
 * directory that moves is on it. The caller holds the root's token and the moving directory's lock,
 * so that no directory of the way gets another parent meanwhile.
 */
import { errno, ESTALE } from '../../common/errno.js';
import { bucketOfInode } from '../../placement/inode-number.js';
import { Opcode, ParentReply } from '../../protocol/wire.generated.js';
import { readU53 } from '../../protocol/u53.js';
import type { CoordinatorHost, StepAnswer } from './coordinator.js';
import { NumberOperation } from './messages.js';
import { isMoving } from './questions.js';

/** Deeper than any path: PATH_MAX / 2. */
const DEPTH_MAX = 2048;

type WalkEnd = (status: number, answer: StepAnswer | undefined) => void;

/**
 * `done`, never before this returns: 0 with the root's inode; EINVAL when `moving` is on the way;
 * EAGAIN when something on it is gone, or moves, or a target does not answer.
 */
export function walk(
  host: CoordinatorHost,
  directory: number,
  moving: number,
  done: WalkEnd,
): void {
  const step = (at: number, depth: number): void => {
    if (at === moving) done(errno.EINVAL, undefined);
    else if (depth > DEPTH_MAX) done(errno.ELOOP, undefined);
    else {
      askParent(host, at, (status, parent) => {
        if (status === errno.ENOTDIR) done(status, undefined);
        else if (status !== 0) done(errno.EAGAIN, undefined);
        else if (parent === 0) done(0, { inode: at, mode: 0, count: 0 });
        else step(parent, depth + 1);
      });
    }
  };
  step(directory, 0);
}

function askParent(
  host: CoordinatorHost,
  inode: number,
  done: (status: number, parent: number) => void,
): void {
  const holder = host.holderOf(bucketOfInode(inode));
  if (holder === -1) {
    // In a transaction, so that it sees what this batch has changed.
    let parent = 0;
    let status = 0;
    host.enqueue(
      () => {
        const { namespace } = host;
        const at = namespace.loadDirectory(inode);
        if (at < 0) status = -at;
        else if (isMoving(namespace, inode)) status = errno.EAGAIN;
        if (at >= 0) parent = namespace.inodes.parent(at);
      },
      () => {
        done(status, parent);
      },
    );
    return;
  }
  const peer = holder === undefined ? undefined : host.peerOf(holder);
  if (peer === undefined) {
    host.enqueue(
      () => undefined,
      () => {
        done(ESTALE, 0);
      },
    );
    return;
  }
  const operation = new NumberOperation(host.arena, Opcode.GetParent, inode);
  operation.deadlineMs = 2000;
  operation.answered = (status, body, bodyBytes) => {
    if (status !== 0 || bodyBytes < ParentReply.SIZE) done(status || errno.EIO, 0);
    else done(0, readU53(host.arena.words, body + ParentReply.parent));
  };
  peer.call(operation);
}
