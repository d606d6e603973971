/**
 * The front end of intercepted programs: their calls become calls of the core, beside the kernel's of the same
 * mount. Both see one state, because both are this core's; what the kernel remembers of it, it is told to
 * forget before a program hears that it has changed something:
 *
 *   call ──┬─ pages or locks of the file are in the kernel ──> Fallback: the program asks the kernel
 *          └─ core ── reply ──┬─ a write of what the kernel has read meanwhile ──> dropped ──┐
 *                             ├─ a change that the kernel may not know ──────────────────────┴> told ── written ──> answer
 *                             └─ else ─────────────────────────────────────────────────────────────────────> answer
 *
 * docs/intercept.md has the protocol and the rules.
 */
import { CallKind, Fallback } from '../native/intercept.js';
import type { InterceptCall } from '../native/intercept.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { AfterNotices } from './after-notices.js';
import type { FileSystemCore } from './core.js';
import { credentialsOf, processStatus } from './credentials.js';
import type { Credentials } from './credentials.js';
import { InterceptOperation } from './intercept-operation.js';
import { NOTHING_TOLD, NO_ROOM } from './leases/recalls.js';
import { ListAttributes } from './listing-page.js';
import { NO_FOLLOW } from './name-call.js';
import type { NameCall } from './name-call.js';

/** open(2) */
const O_DSYNC = 0o10000;
const O_NOATIME = 0o1000000;
/** fcntl.h: of every architecture that sealfs runs on. */
const O_DIRECTORY = 0o200000;

export interface InterceptFrontDeps {
  core: FileSystemCore;
  arena: ArenaMemory;
  /** Of InterceptHost. */
  answer(call: number, status: number, value: number): void;
  /** KernelValidity.forgetChanged. */
  forgetChanged(inode: number): number;
  /** KernelValidity.forgetChangedNames. */
  forgetChangedNames(directory: number): number;
  /** KnownDirectories.mayHave. */
  mayKnow(directory: number): boolean;
  /** Pages that the kernel may have of the inode are to go: FuseSession.notifyPages. */
  dropPages(inode: number): number;
  /** The text of /proc/PID/status; '': there is no such process. */
  statusOf?: (pid: number) => string;
}

const NOBODY = credentialsOf('');

export class InterceptFront {
  readonly core: FileSystemCore;
  readonly arena: ArenaMemory;
  readonly #deps: InterceptFrontDeps;
  readonly #free: InterceptOperation[] = [];
  readonly #programs = new Map<number, Credentials>();
  readonly #untold: AfterNotices<InterceptOperation>;
  readonly #undropped: AfterNotices<InterceptOperation>;

  constructor(deps: InterceptFrontDeps) {
    this.core = deps.core;
    this.arena = deps.arena;
    this.#deps = deps;
    this.#untold = new AfterNotices<InterceptOperation>(
      (_, operation) => this.#forget(operation),
      (operation) => {
        this.#answer(operation);
      },
    );
    this.#undropped = new AfterNotices<InterceptOperation>(
      (inode) => this.#deps.dropPages(inode) || NO_ROOM,
      (operation) => {
        this.#tell(operation);
      },
    );
  }

  /** Programs that are attached. */
  get programs(): number {
    return this.#programs.size;
  }

  /** Of the FUSE session: all notices up to this number are written. */
  written(number: number): void {
    this.#untold.written(number);
  }

  /** Of the FUSE session: all pages up to this number are dropped. */
  pagesDropped(number: number): void {
    this.#undropped.written(number);
  }

  onCall(call: InterceptCall): void {
    switch (call.kind) {
      case CallKind.Hello:
        this.#programs.set(
          call.program,
          credentialsOf((this.#deps.statusOf ?? processStatus)(call.offset)),
        );
        return;
      case CallKind.Gone:
        this.#programs.delete(call.program);
        return;
      case CallKind.Close:
        this.core.closeHandle(call.handle);
        return;
      default:
        this.#start(call);
    }
  }

  #start(call: InterceptCall): void {
    const operation = this.#free.pop() ?? new InterceptOperation(this);
    const who = this.#programs.get(call.program) ?? NOBODY;
    operation.call = call.call;
    operation.program = call.program;
    operation.inode = call.inode;
    operation.slot = call.slot;
    operation.uid = who.uid;
    operation.gid = who.gid;
    operation.dropsSetId = who.dropsSetId;
    operation.readsSilently = (call.flags & O_NOATIME) !== 0;
    operation.synchronous = call.kind === CallKind.Write && (call.flags & O_DSYNC) !== 0;
    operation.changes = false;
    operation.names.changes = false;
    operation.attributes.directory = 0;
    operation.writes = false;
    operation.remembers = call.kind === CallKind.Stat;
    this.#dispatch(operation, call);
  }

  #dispatch(operation: InterceptOperation, call: InterceptCall): void {
    const { core } = this;
    switch (call.kind) {
      case CallKind.Open:
        // The kernel has it open: it costs no request, and the open mode has been judged.
        if ((call.flags & O_DIRECTORY) !== 0) core.openDirectory(operation, call.inode);
        else if (core.isOpen(call.inode)) core.open(operation, call.inode, false);
        else operation.replyError(Fallback.NotHere);
        return;
      case CallKind.Read:
      case CallKind.Write:
      case CallKind.FileSync:
      case CallKind.FileAllocate:
        this.#useData(operation, call);
        return;
      case CallKind.ReadDirectory:
        this.#readDirectory(operation, call);
        return;
      case CallKind.FileStat:
        core.getAttributes(operation, call.inode);
        return;
      case CallKind.Stat:
        this.#stat(operation, call);
        return;
      case CallKind.Unlink:
      case CallKind.RemoveDirectory:
      case CallKind.MakeDirectory:
      case CallKind.Access:
      case CallKind.ReadLink:
      case CallKind.Rename:
      case CallKind.Link:
      case CallKind.Symlink:
      case CallKind.MakeNode:
        operation.names.start(call, this.#programs.get(call.program) ?? NOBODY);
        return;
      case CallKind.GetXattr:
      case CallKind.SetXattr:
      case CallKind.ListXattr:
      case CallKind.RemoveXattr:
        operation.xattrs.start(call, this.#programs.get(call.program) ?? NOBODY);
        return;
      case CallKind.FileTruncate:
      case CallKind.FileChangeMode:
      case CallKind.FileChangeOwner:
      case CallKind.FileSetTimes:
      case CallKind.Truncate:
      case CallKind.ChangeMode:
      case CallKind.ChangeOwner:
      case CallKind.SetTimes:
        operation.attributes.start(call, this.#programs.get(call.program) ?? NOBODY);
        return;
      default:
        operation.replyError(Fallback.Overloaded);
    }
  }

  #stat(operation: InterceptOperation, call: InterceptCall): void {
    operation.dependencies.begin();
    operation.walk.start(
      this.#programs.get(call.program) ?? NOBODY,
      call.inode,
      call.slot,
      call.lengthBytes,
      (call.flags & NO_FOLLOW) === 0,
      operation.dependencies,
    );
    // Somebody is being asked: what was found in memory may be old when the end comes.
    operation.dependencies.spoil();
  }

  #readDirectory(operation: InterceptOperation, call: InterceptCall): void {
    const { handle, offset, lengthBytes, slot } = call;
    operation.changes = !operation.readsSilently && this.core.isAccessDue(call.inode);
    // As the kernel asks: attributes at first, and further on if names are looked up meanwhile.
    const attributes = offset === 0 ? ListAttributes.Learnt : ListAttributes.IfUsed;
    this.core.readDirectory(operation, handle, offset, lengthBytes, attributes, slot);
  }

  /** Of open files whose pages and locks are not in the kernel: what a mapping has made dirty is its to send. */
  #useData(operation: InterceptOperation, call: InterceptCall): void {
    const { core } = this;
    const { kind, inode, handle, offset, lengthBytes, slot } = call;
    if (core.isInKernel(inode)) {
      operation.replyError(Fallback.InKernel);
      return;
    }
    operation.writes = kind === CallKind.Write || kind === CallKind.FileAllocate;
    operation.changes = operation.writes;
    switch (kind) {
      case CallKind.Read:
        operation.changes = !operation.readsSilently && core.isAccessDue(inode);
        core.read(operation, handle, offset, lengthBytes, slot);
        return;
      case CallKind.Write:
        core.write(operation, handle, offset, lengthBytes, slot, false);
        return;
      case CallKind.FileAllocate:
        core.allocate(operation, handle, call.flags, offset, call.secondInode);
        return;
      default:
        core.fsync(operation, handle);
    }
  }

  /** What a call has changed: the number of the last of the notices. */
  #forget({ inode, names, attributes }: InterceptOperation): number {
    if (names.changes) return this.#forgetAll(names);
    const told = this.#deps.forgetChanged(inode);
    if (attributes.directory === 0 || told === NO_ROOM) return told;
    const toldNames = this.#deps.forgetChangedNames(attributes.directory);
    return toldNames === NO_ROOM ? NO_ROOM : Math.max(told, toldNames);
  }

  /** All that a change of names concerns: the number of the last of the notices. */
  #forgetAll({ inodes, directories }: NameCall): number {
    let last = NOTHING_TOLD;
    let isComplete = true;
    for (let i = 0; i < inodes.length + directories.length; i++) {
      const isInode = i < inodes.length;
      const one = isInode ? inodes[i]! : directories[i - inodes.length]!;
      if (one === 0) continue;
      const told = isInode ? this.#deps.forgetChanged(one) : this.#deps.forgetChangedNames(one);
      if (told === NO_ROOM) isComplete = false;
      else if (told > last) last = told;
    }
    return isComplete ? last : NO_ROOM;
  }

  /**
   * Of InterceptOperation: names or attributes are about to change. The kernel is told beside the request; once more in
   * the end only if it has been told anything to believe meanwhile.
   */
  changing(operation: InterceptOperation): void {
    this.#forget(operation);
  }

  /** Of InterceptOperation. */
  kernelKnows(directory: number): boolean {
    return this.#deps.mayKnow(directory);
  }

  /** Of InterceptOperation: the core has answered. */
  ended(operation: InterceptOperation): void {
    // They were read while this was being written. Its handle may be closed by now: who maps the file has it open.
    const isRead = operation.writes && this.core.isInKernel(operation.inode);
    if (isRead) this.#undropped.start(operation, operation.inode);
    else this.#tell(operation);
  }

  #tell(operation: InterceptOperation): void {
    // A change that failed may have changed something all the same.
    if (operation.changes || operation.names.changes)
      this.#untold.start(operation, operation.inode);
    else this.#answer(operation);
  }

  #answer(operation: InterceptOperation): void {
    this.#deps.answer(operation.call, operation.status, operation.value);
    this.#free.push(operation);
  }
}
