/**
 * The client: a POSIX-shaped file system made of requests to targets. One method for each
 * operation; callbacks on pooled request objects, no promises; errors are errno numbers. All it
 * touches (transport, memory, clock, the map) is given to it, so that the simulator can
 * run many of them. Front ends: fuse-front.ts, files.ts.
 *
 * It keeps names and attributes while targets lease them to it (leases/), no data, and
 * what open files need (open-file.ts). docs/client.md tells the rules.
 */
import { errno } from '../common/errno.js';
import type { ClusterMap } from '../placement/cluster-map.js';
import { Opcode } from '../protocol/wire.generated.js';
import { RpcOperation } from '../transport/rpc-operation.js';
import { AttributeOperations } from './attribute-operations.js';
import type { AttributeChange } from './attributes.js';
import type { Batch } from './batch.js';
import { CREATE_EXCLUSIVE } from './bodies.js';
import { ClientContext } from './context.js';
import type { ClientCounters, ClientEnvironment, TargetConnection } from './context.js';
import { Directories } from './directories.js';
import { DirectoryReads } from './directory-read.js';
import { FileLocks } from './file-locks/file-locks.js';
import type { FileLockRequest } from './file-locks/file-locks.js';
import { FileCopies } from './file-copy.js';
import { FileReads } from './file-read.js';
import { FileSpace } from './file-space.js';
import { FileSyncs } from './file-sync.js';
import { FileWrites } from './file-write.js';
import { HandleTable } from './handles.js';
import type { Dependencies } from './leases/dependencies.js';
import type { ListAttributes } from './listing-page.js';
import { UNKNOWN } from './leases/leases.js';
import type { LeaseCounters } from './leases/leases.js';
import type { PageCache } from './leases/page-cache.js';
import type { Recalls } from './leases/recalls.js';
import type { Notices } from './leases/notices.js';
import { Namespace } from './namespace.js';
import { checkName } from './operation.js';
import { OpenFileTable } from './open-file.js';
import type { OpenFile } from './open-file.js';
import { OpenOperations } from './open-operations.js';
import type { ClientRequest, NameReference } from './request.js';
import { SizeTracker } from './size-tracker.js';
import { VolumeOperations } from './volume-operations.js';
import { XattrOperations } from './xattr-operations.js';

class EndSessionOperation extends RpcOperation {
  override opcode = Opcode.EndSession;

  override encode(): number {
    return 0;
  }

  override done(): void {
    // Whatever is said: a target that has not heard of it waits for the session's time to end.
  }
}

export class FileSystemCore {
  readonly #context: ClientContext;
  readonly #handles = new HandleTable();
  readonly #namespace: Namespace;
  readonly #directories: Directories;
  readonly #attributes: AttributeOperations;
  readonly #opens: OpenOperations;
  readonly #reads: FileReads;
  readonly #writes: FileWrites;
  readonly #syncs: FileSyncs;
  readonly #space: FileSpace;
  readonly #copies: FileCopies;
  readonly #directoryReads: DirectoryReads;
  readonly #volume: VolumeOperations;
  readonly #xattrs: XattrOperations;
  readonly #locks: FileLocks;

  constructor(environment: ClientEnvironment) {
    const context = new ClientContext(environment, (peer, incarnationChanged) => {
      if (!incarnationChanged) return;
      this.#locks.targetForgot(peer);
      this.#opens.targetRestarted(peer);
    });
    context.files = new OpenFileTable();
    const tracker = new SizeTracker(context);
    this.#context = context;
    this.#namespace = new Namespace(context, tracker);
    this.#directories = new Directories(context);
    this.#attributes = new AttributeOperations(context, tracker);
    this.#opens = new OpenOperations(context, this.#handles, tracker);
    this.#reads = new FileReads(context);
    this.#syncs = new FileSyncs(context, tracker);
    this.#writes = new FileWrites(context, tracker, this.#syncs);
    this.#space = new FileSpace(context, this.#writes);
    this.#copies = new FileCopies(context, this.#attributes, this.#reads, this.#writes);
    this.#directoryReads = new DirectoryReads(context);
    this.#volume = new VolumeOperations(context);
    this.#xattrs = new XattrOperations(context);
    this.#locks = new FileLocks(context, this.#handles);
    context.mayAwait = (peer) => !this.#locks.isReclaiming(peer);
  }

  get counters(): ClientCounters {
    return this.#context.counters;
  }

  /** What targets tell this client; for who handles one kind of it. */
  get notices(): Notices {
    return this.#context.notices;
  }

  /** Until when (scheduler's ms) leases of this inode's target are believed, as of now. */
  trustedUntilMs(inode: number): number {
    return this.#context.peerOfInode(inode).trustedUntilMs;
  }

  /** Whoever remembers this client's answers: see KernelCache. */
  get recalls(): Recalls {
    return this.#context.recalls;
  }

  /** Nobody else changes this inode's attributes without a recall. */
  isLeased(inode: number): boolean {
    return this.#context.leases.isLeased(inode);
  }

  /** Which files a kernel may cache. */
  get pages(): PageCache {
    return this.#context.pages;
  }

  /** What is held, and what it has saved. */
  get leases(): LeaseCounters {
    return this.#context.leases.report();
  }

  get openHandles(): number {
    return this.#handles.count;
  }

  /** Files with open handles or operations: 0 when all is closed and quiet. */
  get openFiles(): number {
    return this.#context.files.count;
  }

  get mapEpoch(): number {
    return this.#context.mapEpoch;
  }

  /** Targets without a connection although one is wanted. */
  get targetsAway(): number {
    let away = 0;
    for (const peer of this.#context.peers) {
      if (peer.state !== 'ready' && peer.state !== 'idle') away++;
    }
    return away;
  }

  targets(): TargetConnection[] {
    return this.#context.targets();
  }

  /** Calls to targets that are not answered. */
  get outstanding(): number {
    let outstanding = 0;
    for (const peer of this.#context.peers) outstanding += peer.outstanding;
    return outstanding;
  }

  /** Calls to targets since the beginning, without those that only wait for notices. */
  get requests(): number {
    let requests = 0;
    for (const peer of this.#context.peers) requests += peer.calls;
    return requests;
  }

  /** The same by opcode: `Create: 17, …`; what was never called is left out. */
  get requestsOf(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const [name, opcode] of Object.entries(Opcode)) {
      let count = 0;
      for (const peer of this.#context.peers) count += peer.callsOf[opcode]!;
      if (count > 0) counts[name] = count;
    }
    return counts;
  }

  /** Frames that carried them. */
  get framesSent(): number {
    return this.#context.rpc.transport.counters.framesSent;
  }

  /** Of these, Release: nobody waits for it. */
  get releases(): number {
    return this.#context.releases;
  }

  /** The volume that this core works on. */
  setRoot(inode: number): void {
    this.#context.root = inode;
  }

  /** A newer cluster map; others are ignored. */
  setMap(map: ClusterMap): void {
    this.#context.setMap(map);
  }

  /**
   * The targets are told that this client has done, so that nobody waits for what it holds. Nothing may be
   * asked for afterwards; `outstanding` is 0 when they have answered.
   */
  endSessions(): void {
    const { notices, peers } = this.#context;
    notices.stopped = true;
    for (const peer of peers) if (peer.state === 'ready') peer.call(new EndSessionOperation());
  }

  /** Fails everything outstanding with ESHUTDOWN; no request is taken afterwards. */
  close(): void {
    this.#context.rpc.close();
  }

  /**
   * Gives up what is outstanding for this request, as far as it can be: it is then answered with
   * EINTR, at once or when its memory is no longer in use. What a target has been asked to change
   * may happen all the same.
   */
  interrupt(request: ClientRequest): void {
    this.#reads.interrupt(request);
    this.#writes.interrupt(request);
    this.#syncs.interrupt(request);
    this.#space.interrupt(request);
    this.#copies.interrupt(request);
    this.#attributes.interrupt(request);
    this.#namespace.interrupt(request);
    this.#directories.interrupt(request);
    this.#directoryReads.interrupt(request);
    this.#opens.interrupt(request);
    this.#volume.interrupt(request);
    this.#xattrs.interrupt(request);
    this.#locks.interrupt(request);
  }

  // ---------------------------------------------------------------- names

  lookup(request: ClientRequest, parent: number, name: NameReference): void {
    this.#namespace.lookup(request, parent, name);
  }

  /** The inode of this name as far as is held here, without a question: 0: there is none, UNKNOWN: who knows. */
  nameHeld(parent: number, name: NameReference): number {
    return checkName(name) === 0 ? this.#context.leases.find(parent, name) : UNKNOWN;
  }

  /** Versions of what answers depend on are shown in this memory from now on (versions.ts). */
  showVersions(words: Uint32Array): void {
    this.#context.leases.marks.versions.share(words);
  }

  /** Adds what the answer about this name depends on, if it comes from memory; in one turn with it, as the other two. */
  nameDependsOn(parent: number, name: NameReference, to: Dependencies): void {
    this.#context.leases.nameDependsOn(parent, name, to);
  }

  /** The same of mode, owner and group of a directory. */
  permissionsDependOn(directory: number, to: Dependencies): void {
    this.#context.leases.permissionsDependOn(directory, to);
  }

  /** The same of an inode's attributes. */
  attributesDependOn(inode: number, to: Dependencies): void {
    this.#context.leases.attributesDependOn(inode, to);
  }

  /** Who owns the inode, as far as that is held here; UNKNOWN. */
  ownerHeld(inode: number): number {
    return this.#context.leases.ownerOf(inode);
  }

  /** The same of a sticky directory; NOT_STICKY. */
  stickyOwnerHeld(directory: number): number {
    return this.#context.leases.stickyOwnerOf(directory);
  }

  /** S_IFMT bits of the inode, 0: not known here. */
  typeHeld(inode: number): number {
    return this.#context.leases.typeOf(inode);
  }

  /** `mode` with the type; EEXIST when the name is taken. */
  makeNode(
    request: ClientRequest,
    parent: number,
    name: NameReference,
    mode: number,
    rdev: number,
  ): void {
    this.#namespace.makeNode(request, parent, name, mode, rdev, CREATE_EXCLUSIVE);
  }

  makeDirectory(request: ClientRequest, parent: number, name: NameReference, mode: number): void {
    this.#directories.makeDirectory(request, parent, name, mode);
  }

  removeDirectory(request: ClientRequest, parent: number, name: NameReference): void {
    this.#directories.removeDirectory(request, parent, name);
  }

  symlink(
    request: ClientRequest,
    parent: number,
    name: NameReference,
    target: NameReference,
  ): void {
    this.#namespace.symlink(request, parent, name, target);
  }

  readLink(request: ClientRequest, inode: number): void {
    this.#namespace.readLink(request, inode);
  }

  link(request: ClientRequest, inode: number, parent: number, name: NameReference): void {
    this.#namespace.link(request, inode, parent, name);
  }

  unlink(request: ClientRequest, parent: number, name: NameReference): void {
    this.#namespace.unlink(request, parent, name);
  }

  /** `flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2. */
  rename(
    request: ClientRequest,
    oldParent: number,
    oldName: NameReference,
    newParent: number,
    newName: NameReference,
    flags: number,
  ): void {
    this.#namespace.rename(request, oldParent, oldName, newParent, newName, flags);
  }

  // ---------------------------------------------------------------- attributes

  getAttributes(request: ClientRequest, inode: number): void {
    this.#attributes.getAttributes(request, inode);
  }

  setAttributes(request: ClientRequest, inode: number, change: AttributeChange): void {
    this.#attributes.setAttributes(request, inode, change);
  }

  /** `valueBytes` at arena offset `data`; `flags`: XATTR_CREATE 1, XATTR_REPLACE 2. */
  setXattr(
    request: ClientRequest,
    inode: number,
    name: NameReference,
    data: number,
    valueBytes: number,
    flags: number,
  ): void {
    this.#xattrs.set(request, inode, name, data, valueBytes, flags);
  }

  /** At most `maxBytes`, else ERANGE; 0: only the length. More than 8 KiB land at `landing`. */
  getXattr(
    request: ClientRequest,
    inode: number,
    name: NameReference,
    maxBytes: number,
    landing: number,
  ): void {
    this.#xattrs.get(request, inode, name, maxBytes, landing);
  }

  /** The names, each with a NUL; limits as of `getXattr`. */
  listXattrs(request: ClientRequest, inode: number, maxBytes: number, landing: number): void {
    this.#xattrs.list(request, inode, maxBytes, landing);
  }

  removeXattr(request: ClientRequest, inode: number, name: NameReference): void {
    this.#xattrs.remove(request, inode, name);
  }

  /** Tells the targets what they would be told in a moment: access times. */
  flushAccessTimes(): void {
    this.#context.accessTimes.flush();
  }

  // ---------------------------------------------------------------- open files

  /** Creates (or, not `exclusive`, opens) a regular file. */
  create(
    request: ClientRequest,
    parent: number,
    name: NameReference,
    mode: number,
    exclusive: boolean,
    truncate: boolean,
  ): void {
    this.#opens.create(request, parent, name, mode, exclusive, truncate);
  }

  /** O_TMPFILE: a regular file without a name, which `link` may give it. */
  createUnnamed(request: ClientRequest, parent: number, mode: number): void {
    this.#opens.createUnnamed(request, parent, mode);
  }

  open(request: ClientRequest, inode: number, truncate: boolean): void {
    this.#opens.open(request, inode, truncate);
  }

  /** Nothing is asked of the target. */
  openDirectory(request: ClientRequest, inode: number): void {
    request.replyOpened(this.#handles.add(inode, null).number);
  }

  /** Of a file or a directory; the target hears of it later. */
  releaseHandle(request: ClientRequest, handle: number): void {
    const entry = this.#handles.get(handle);
    if (entry === undefined) {
      request.replyError(errno.EBADF);
      return;
    }
    this.#locks.handleClosed(handle);
    this.#opens.closeHandle(entry);
    request.replyDone();
  }

  /** Somebody here has this file open: not a directory. */
  isOpen(inode: number): boolean {
    return (this.#context.files.peek(inode)?.openCount ?? 0) > 0;
  }

  /** The kernel may have pages of the file from now on, until nobody here has it open any more. */
  noteInKernel(handle: number): void {
    const file = this.#handles.get(handle)?.file ?? null;
    if (file !== null) file.inKernel = true;
  }

  /** Reads and writes of the file must pass the kernel: see OpenFile.inKernel. */
  isInKernel(inode: number): boolean {
    return this.#context.files.peek(inode)?.inKernel === true;
  }

  /** Reading the inode now changes its access time, as far as is known. */
  isAccessDue(inode: number): boolean {
    return this.#context.options.accessTimes && this.#context.facts.isAccessDue(inode);
  }

  /** The same without a request: for a handle whose opener has gone. */
  closeHandle(handle: number): void {
    const entry = this.#handles.get(handle);
    if (entry === undefined) return;
    this.#locks.handleClosed(handle);
    this.#opens.closeHandle(entry);
  }

  /** Null, and the request answered: no handle, or a directory's, or the locks set through it are lost. */
  #fileOf(request: ClientRequest, handle: number): OpenFile | null {
    const entry = this.#handles.get(handle);
    const file = entry?.file ?? null;
    if (file !== null && entry?.locksLost === false) return file;
    request.replyError(file === null ? errno.EBADF : errno.EIO);
    return null;
  }

  /** Up to `lengthBytes` into arena memory at `landing`. */
  read(
    request: ClientRequest,
    handle: number,
    offset: number,
    lengthBytes: number,
    landing: number,
  ): void {
    const entry = this.#handles.get(handle);
    if (entry?.hasLocks === true) {
      const again = (): void => this.read(request, handle, offset, lengthBytes, landing);
      if (this.#locks.holdsBack(request, entry, again)) return;
    }
    const file = this.#fileOf(request, handle);
    if (file !== null) this.#reads.read(request, file, offset, lengthBytes, landing);
  }

  /** `lengthBytes` (at most 1 MiB) from arena memory at `data`. With `append` at the file's end. */
  write(
    request: ClientRequest,
    handle: number,
    offset: number,
    lengthBytes: number,
    data: number,
    append: boolean,
  ): void {
    const entry = this.#handles.get(handle);
    if (entry?.hasLocks === true) {
      const again = (): void => this.write(request, handle, offset, lengthBytes, data, append);
      if (this.#locks.holdsBack(request, entry, again)) return;
    }
    const file = this.#fileOf(request, handle);
    if (file !== null) this.#writes.write(request, file, offset, lengthBytes, data, append);
  }

  /** fallocate(2): `mode` is a sum of FALLOC_… (file-space.ts). */
  allocate(
    request: ClientRequest,
    handle: number,
    mode: number,
    offset: number,
    lengthBytes: number,
  ): void {
    const entry = this.#handles.get(handle);
    if (entry?.hasLocks === true) {
      const again = (): void => this.allocate(request, handle, mode, offset, lengthBytes);
      if (this.#locks.holdsBack(request, entry, again)) return;
    }
    const file = this.#fileOf(request, handle);
    if (file !== null) this.#space.change(request, file, mode, offset, lengthBytes);
  }

  /** First byte of data (`hole`: first byte without) from `offset` on; ENXIO: there is none. */
  seek(request: ClientRequest, handle: number, offset: number, hole: boolean): void {
    const file = this.#fileOf(request, handle);
    if (file !== null) this.#space.seek(request, file, offset, hole);
  }

  /**
   * `lengthBytes` bytes of one open file from byte `from` on to byte `to` of another: answered with
   * replyWritten, perhaps of fewer. `landing`: 1 MiB of arena memory, the core's until the reply.
   */
  copyRange(
    request: ClientRequest,
    handle: number,
    from: number,
    targetHandle: number,
    to: number,
    lengthBytes: number,
    landing: number,
  ): void {
    for (const number of [handle, targetHandle]) {
      const entry = this.#handles.get(number);
      if (entry?.hasLocks !== true) continue;
      const again = (): void =>
        this.copyRange(request, handle, from, targetHandle, to, lengthBytes, landing);
      if (this.#locks.holdsBack(request, entry, again)) return;
    }
    const source = this.#fileOf(request, handle);
    if (source === null) return;
    const target = this.#fileOf(request, targetHandle);
    if (target === null) return;
    this.#copies.copy(request, { source, from, target, to, lengthBytes }, landing);
  }

  /** Of a file or a directory. */
  fsync(request: ClientRequest, handle: number): void {
    const entry = this.#handles.get(handle);
    if (entry === undefined) request.replyError(errno.EBADF);
    else if (entry.locksLost) request.replyError(errno.EIO);
    else this.#syncs.fsync(request, entry.inode, entry.file);
  }

  // ---------------------------------------------------------------- locks

  /** fcntl(2), flock(2): locks, or unlocks (LOCK_NONE). EAGAIN, EDEADLK, EINTR after `signal`. */
  lock(request: ClientRequest, handle: number, asked: FileLockRequest): void {
    this.#locks.lock(request, handle, asked);
  }

  /** Answered with replyLock: what stands in the way of such a lock. */
  getLock(request: ClientRequest, handle: number, asked: FileLockRequest): void {
    this.#locks.getLock(request, handle, asked);
  }

  /** A descriptor is closed: the fcntl locks that its process has of the file go. */
  flushLocks(request: ClientRequest, handle: number, ownerLow: number, ownerHigh: number): void {
    this.#locks.flush(request, handle, ownerLow, ownerHigh);
  }

  /** The caller of a lock that is waited for has a signal: EINTR, unless it is granted just now. */
  signal(request: ClientRequest): void {
    this.#locks.signal(request);
  }

  /** Owners that hold or want a lock. */
  get lockOwners(): number {
    return this.#locks.owners;
  }

  /**
   * Entries after `cookie`, at most `maxBytes` of records as they come from the target; more than 8 KiB land
   * at `landing`.
   */
  readDirectory(
    request: ClientRequest,
    handle: number,
    cookie: number,
    maxBytes: number,
    attributes: ListAttributes,
    landing: number,
  ): void {
    const entry = this.#handles.get(handle);
    if (entry === undefined) request.replyError(errno.EBADF);
    else this.#directoryReads.read(request, entry, cookie, maxBytes, attributes, landing);
  }

  // ---------------------------------------------------------------- batches

  /** Inode of the partition of the directory that the name belongs to, as far as is known here. */
  partitionOf(directory: number, name: Uint8Array): number {
    return this.#context.partitions.homeOf(directory, name, name.length);
  }

  /** A number that two inodes have in common when one target holds both. */
  targetOf(inode: number): number {
    return this.#context.memberOfInode(inode);
  }

  /** Sends a batch whose items are all of one target; its owner hears of each item, then of its end. */
  callBatch(batch: Batch): void {
    batch.prepare(this.#context);
    this.#context.peerOfInode(batch.place).call(batch);
  }

  // ---------------------------------------------------------------- the volume

  statFs(request: ClientRequest): void {
    this.#volume.statFs(request);
  }

  /** A volume's root directory exists afterwards, owned by the request's user if it was made. */
  ensureRoot(request: ClientRequest, inode: number, mode: number): void {
    this.#volume.ensureRoot(request, inode, mode);
  }

  dropEmptyRoot(request: ClientRequest, inode: number): void {
    this.#volume.dropEmptyRoot(request, inode);
  }
}
