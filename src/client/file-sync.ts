/**
 * fsync: what this client wrote to a file since its last fsync becomes power-safe at every target
 * that holds a part of it, and the inode at its own.
 *
 *   (mtime behind: Extend) ──> Fsync to each target at once ── all answered ──> reply
 *
 * A target stays on the file's list until an fsync that began after the last write there has
 * succeeded: fsyncs that overlap each ask it.
 */
import { InodeRequest, Opcode } from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import { encodeInode } from './bodies.js';
import type { ClientContext } from './context.js';
import type { OpenFile, SizeWaiter } from './open-file.js';
import { CoreOperation, OperationPool } from './operation.js';
import type { ClientRequest } from './request.js';
import type { SizeTracker } from './size-tracker.js';

class FsyncPiece extends CoreOperation {
  parent!: FsyncJob;
  inode = 0;

  start(peer: RpcPeer): void {
    this.send(peer, Opcode.Fsync, InodeRequest.SIZE);
  }

  override encode(body: number): number {
    return encodeInode(this.context.arena, body, this.inode);
  }

  override done(status: number): void {
    const { parent } = this;
    this.release();
    parent.pieceDone(status);
  }
}

/** Not an RPC itself: the count of those that one fsync waits for. Pooled by FileSyncs. */
class FsyncJob implements SizeWaiter {
  request: ClientRequest | null = null;
  file: OpenFile | null = null;
  inode = 0;
  /** Of the synchronous write that this ends; 0: an fsync. */
  writtenBytes = 0;
  readonly #syncs: FileSyncs;
  readonly #peers: RpcPeer[] = [];
  /** What is written from here on is the next fsync's. */
  #stamp = 0;
  #pending = 0;
  #status = 0;

  constructor(syncs: FileSyncs) {
    this.#syncs = syncs;
  }

  sizeUpdated(status: number): void {
    if (status !== 0) {
      this.#status = status;
      this.#finish();
      return;
    }
    this.send();
  }

  send(): void {
    const { file, inode } = this;
    this.#status = 0;
    const own = this.#syncs.context.peerOfInode(inode);
    this.#peers.length = 0;
    this.#peers.push(own);
    if (file !== null) {
      for (const peer of file.touched) if (peer !== own) this.#peers.push(peer);
      this.#stamp = file.touchStamp;
    }
    this.#pending = this.#peers.length;
    // Answers may come during this loop; the length is that of its beginning.
    for (let i = this.#peers.length - 1; i >= 0; i--) {
      this.#syncs.startPiece(this, this.#peers[i]!);
    }
  }

  pieceDone(status: number): void {
    if (status !== 0) this.#status = status;
    this.#pending--;
    if (this.#pending === 0) this.#finish();
  }

  #finish(): void {
    const { request, file, writtenBytes } = this;
    const status = this.#status;
    if (file !== null) {
      if (status === 0) for (const peer of this.#peers) file.synced(peer, this.#stamp);
      this.#syncs.context.files.drop(file);
    }
    this.#peers.length = 0;
    this.request = null;
    this.file = null;
    this.#syncs.give(this);
    if (status !== 0) request?.replyError(status);
    else if (writtenBytes > 0) request?.replyWritten(writtenBytes);
    else request?.replyDone();
  }
}

export class FileSyncs {
  readonly context: ClientContext;
  readonly #tracker: SizeTracker;
  readonly #pieces: OperationPool<FsyncPiece>;
  readonly #freeJobs: FsyncJob[] = [];

  constructor(context: ClientContext, tracker: SizeTracker) {
    this.context = context;
    this.#tracker = tracker;
    this.#pieces = new OperationPool((pool) => new FsyncPiece(context, pool));
  }

  /** After a synchronous write of so many bytes, all stored: its reply follows. */
  endWrite(request: ClientRequest, file: OpenFile, writtenBytes: number): void {
    this.#start(request, file.inode, file, writtenBytes);
  }

  /** Of a file (`file` given) or of a directory. */
  fsync(request: ClientRequest, inode: number, file: OpenFile | null): void {
    this.#start(request, inode, file, 0);
  }

  #start(request: ClientRequest, inode: number, file: OpenFile | null, writtenBytes: number): void {
    const job = this.#freeJobs.pop() ?? new FsyncJob(this);
    job.request = request;
    job.writtenBytes = writtenBytes;
    job.inode = inode;
    job.file = file;
    if (file === null) {
      job.send();
      return;
    }
    file.users++;
    if (this.#tracker.flush(file, job)) job.send();
  }

  /** Of FsyncJob. */
  startPiece(parent: FsyncJob, peer: RpcPeer): void {
    const piece = this.#pieces.take(parent.request);
    piece.parent = parent;
    piece.inode = parent.inode;
    piece.start(peer);
  }

  give(job: FsyncJob): void {
    this.#freeJobs.push(job);
  }

  interrupt(request: ClientRequest): void {
    this.#pieces.interrupt(request);
  }
}
