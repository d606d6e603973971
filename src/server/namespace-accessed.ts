/**
 * When inodes were last read. Clients send that in batches, long after the reads; it is stored by
 * relatime's rule (mount(8)), which is judged here, where the other times are: only where the access
 * time was not after the last change, or is a day old. So a file that is read again and again costs
 * nothing.
 */
import { errno } from '../common/errno.js';
import { isInode } from '../placement/inode-number.js';
import { isAccessDue } from '../protocol/attributes.js';
import { AccessedRequest, AccessTime } from '../protocol/wire.generated.js';
import { isI53, isU53, readI53, readU53 } from '../protocol/u53.js';
import type { Call, Namespace } from './namespace.js';

const NANOSECONDS = 1e9;

export function accessed(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const count = words[(call.body + AccessedRequest.count) >>> 2]!;
  if (AccessedRequest.SIZE + count * AccessTime.SIZE > call.bodyBytes) return errno.EINVAL;
  for (let i = 0; i < count; i++) {
    const entry = call.body + AccessedRequest.SIZE + i * AccessTime.SIZE;
    const nanoseconds = words[(entry + AccessTime.nanoseconds) >>> 2]!;
    if (!isU53(words, entry + AccessTime.inode) || nanoseconds >= NANOSECONDS) return errno.EINVAL;
    if (!isI53(words, entry + AccessTime.seconds)) return errno.EINVAL;
    const inode = readU53(words, entry + AccessTime.inode);
    if (isInode(inode))
      setAccessed(ns, inode, readI53(words, entry + AccessTime.seconds), nanoseconds);
  }
  return 0;
}

function setAccessed(ns: Namespace, inode: number, seconds: number, nanoseconds: number): void {
  const at = ns.inodes.load(inode);
  // Gone meanwhile, or of another target now: nobody misses its access time.
  if (at < 0 || !isAccessDue(ns.inodes.words, at, seconds)) return;
  ns.inodes.setAtime(at, seconds, nanoseconds);
  ns.inodes.touch(at);
}
