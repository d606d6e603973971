/** Operations on the volume as a whole: statfs over all targets, and the root directory's life. */
import { errno } from '../common/errno.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import {
  EnsureRootRequest,
  InodeRequest,
  Opcode,
  StatFsReply,
} from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import { S_IFDIR } from './attributes.js';
import { encodeInode } from './bodies.js';
import type { ClientContext } from './context.js';
import { CoreOperation, OperationPool } from './operation.js';
import { FileSystemTotals } from './request.js';
import type { ClientRequest } from './request.js';

class StatFsPiece extends CoreOperation {
  job!: StatFsJob;

  start(peer: RpcPeer): void {
    this.send(peer, Opcode.StatFs, 0);
  }

  override encode(): number {
    return 0;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context, job } = this;
    const checked = context.checkReply(status, bodyBytes, StatFsReply.SIZE);
    if (checked === 0) {
      const words = context.arena.words;
      job.totals.totalBytes += readU53(words, body + StatFsReply.totalBytes);
      job.totals.freeBytes += readU53(words, body + StatFsReply.freeBytes);
      job.totals.inodes += readU53(words, body + StatFsReply.inodes);
      job.totals.freeInodes += readU53(words, body + StatFsReply.freeInodes);
    }
    this.release();
    job.pieceDone(checked);
  }
}

/** One statfs: rare, so made anew each time. */
class StatFsJob {
  readonly totals = new FileSystemTotals();
  readonly #request: ClientRequest;
  #pending: number;
  #status = 0;

  constructor(request: ClientRequest, pieces: number) {
    this.#request = request;
    this.#pending = pieces;
  }

  pieceDone(status: number): void {
    if (status !== 0) this.#status = status;
    this.#pending--;
    if (this.#pending > 0) return;
    if (this.#status !== 0) this.#request.replyError(this.#status);
    else this.#request.replyStatFs(this.totals);
  }
}

class RootOperation extends CoreOperation {
  #inode = 0;
  #mode = 0;
  #uid = 0;
  #gid = 0;

  ensure(request: ClientRequest, inode: number, mode: number): void {
    this.#inode = inode;
    this.#mode = S_IFDIR | (mode & 0o7777);
    this.#uid = request.uid;
    this.#gid = request.gid;
    this.send(this.context.peerOfInode(inode), Opcode.EnsureRoot, EnsureRootRequest.SIZE);
  }

  drop(inode: number): void {
    this.#inode = inode;
    this.send(this.context.peerOfInode(inode), Opcode.EnsureEmptyRoot, InodeRequest.SIZE);
  }

  override encode(body: number): number {
    const { arena } = this.context;
    if (this.opcode === Opcode.EnsureEmptyRoot) return encodeInode(arena, body, this.#inode);
    const words = arena.words;
    writeU53(words, body + EnsureRootRequest.inode, this.#inode);
    words[(body + EnsureRootRequest.mode) >>> 2] = this.#mode;
    words[(body + EnsureRootRequest.uid) >>> 2] = this.#uid;
    words[(body + EnsureRootRequest.gid) >>> 2] = this.#gid;
    words[(body + EnsureRootRequest.reserved) >>> 2] = 0;
    return EnsureRootRequest.SIZE;
  }

  override done(status: number): void {
    this.finishDone(status);
  }
}

export class VolumeOperations {
  readonly #context: ClientContext;
  readonly #statFs: OperationPool<StatFsPiece>;
  readonly #roots: OperationPool<RootOperation>;

  constructor(context: ClientContext) {
    this.#context = context;
    this.#statFs = new OperationPool((pool) => new StatFsPiece(context, pool));
    this.#roots = new OperationPool((pool) => new RootOperation(context, pool));
  }

  statFs(request: ClientRequest): void {
    const peers = this.#context.peers;
    if (peers.length === 0) {
      request.replyError(errno.EIO);
      return;
    }
    const job = new StatFsJob(request, peers.length);
    for (const peer of peers) {
      const piece = this.#statFs.take(request);
      piece.job = job;
      piece.start(peer);
    }
  }

  /** The volume's root directory exists afterwards. */
  ensureRoot(request: ClientRequest, inode: number, mode: number): void {
    this.#roots.take(request).ensure(request, inode, mode);
  }

  /** Drops the volume's root directory; ENOTEMPTY if something is in it. */
  dropEmptyRoot(request: ClientRequest, inode: number): void {
    this.#roots.take(request).drop(inode);
  }

  interrupt(request: ClientRequest): void {
    this.#statFs.interrupt(request);
    this.#roots.interrupt(request);
  }
}
