/**
 * mkdir and rmdir: one request each, to the parent's target, which has the rest done wherever it lies.
 * The new directory's inode goes to a bucket that the client chooses, which spreads the tree.
 */
import { directoryBucket } from '../placement/inode-number.js';
import { writeU16, writeU53 } from '../protocol/u53.js';
import { MakeDirRequest, Opcode } from '../protocol/wire.generated.js';
import { S_IFDIR } from './attributes.js';
import type { ClientContext } from './context.js';
import { EntryOperation, RemovalOperation } from './entry-operation.js';
import { OperationPool, checkName } from './operation.js';
import type { ClientRequest, NameReference } from './request.js';

class MakeDirectoryOperation extends EntryOperation {
  #bucket = 0;
  #mode = 0;
  #umask = 0;
  #uid = 0;
  #gid = 0;

  start(request: ClientRequest, parent: number, name: NameReference, mode: number): void {
    this.#mode = S_IFDIR | (mode & 0o7777);
    this.#umask = request.umask;
    this.#uid = request.uid;
    this.#gid = request.gid;
    const hash = name.hash44();
    this.#bucket = directoryBucket(parent, hash, 0);
    this.begin(parent, name, Opcode.MakeDir, MakeDirRequest.SIZE);
  }

  override encodeRequest(body: number): number {
    const { bytes, words } = this.context.arena;
    writeU53(words, body + MakeDirRequest.parent, this.home);
    words[(body + MakeDirRequest.bucket) >>> 2] = this.#bucket;
    words[(body + MakeDirRequest.mode) >>> 2] = this.#mode;
    words[(body + MakeDirRequest.uid) >>> 2] = this.#uid;
    words[(body + MakeDirRequest.gid) >>> 2] = this.#gid;
    words[(body + MakeDirRequest.umask) >>> 2] = this.#umask;
    writeU16(words, body + MakeDirRequest.nameBytes, this.name.lengthBytes);
    writeU16(words, body + MakeDirRequest.reserved, 0);
    this.name.writeTo(bytes, body + MakeDirRequest.SIZE);
    return MakeDirRequest.SIZE + this.name.lengthBytes;
  }
}

class RemoveDirectoryOperation extends RemovalOperation {
  protected override readonly opcodeOfRemoval = Opcode.RemoveDir;
}

export class Directories {
  readonly #make: OperationPool<MakeDirectoryOperation>;
  readonly #remove: OperationPool<RemoveDirectoryOperation>;

  constructor(context: ClientContext) {
    this.#make = new OperationPool((pool) => new MakeDirectoryOperation(context, pool));
    this.#remove = new OperationPool((pool) => new RemoveDirectoryOperation(context, pool));
  }

  makeDirectory(request: ClientRequest, parent: number, name: NameReference, mode: number): void {
    const status = checkName(name);
    if (status !== 0) request.replyError(status);
    else this.#make.take(request).start(request, parent, name, mode);
  }

  removeDirectory(request: ClientRequest, parent: number, name: NameReference): void {
    const status = checkName(name);
    if (status !== 0) request.replyError(status);
    else this.#remove.take(request).start(parent, name);
  }

  interrupt(request: ClientRequest): void {
    this.#make.interrupt(request);
    this.#remove.interrupt(request);
  }
}
