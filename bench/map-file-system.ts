/**
 * A file system in JavaScript's memory behind the real FUSE addon: the baseline that the mount is
 * compared with, and the tests' way to drive the addon. It answers every request in its turn.
 * Method: nodes in an array by inode number; a directory is a Map by name beside an array by
 * cookie. Names are latin1 strings, one character a byte.
 */
import type { NativeArena } from '../src/native/arena.js';
import { OpenFlag, Operation, type FuseHandler, type FuseRequest } from '../src/native/fuse.js';
import { errno } from '../src/common/errno.js';
import { messageSlotBytes } from '../src/protocol/limits.generated.js';
import { Attributes, DirEntry, StatFsReply } from '../src/protocol/wire.generated.js';
import { writeI53, writeU16, writeU53 } from '../src/protocol/u53.js';

export interface MapFileSystemOptions {
  entryTimeoutMs?: number;
  attributesTimeoutMs?: number;
  /** Keep what is written; otherwise it is discarded and reads give zeros. */
  keepData?: boolean;
  /** Bits of OpenFlag. Default: DirectIo and ParallelDirectWrites. */
  openFlags?: number;
}

interface Entry {
  name: string;
  node: Node;
}

interface Directory {
  byName: Map<string, number>;
  /** Entry with cookie i + 1; undefined once removed. */
  entries: (Entry | undefined)[];
  parent: Node;
}

interface Node {
  inode: number;
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  links: number;
  sizeBytes: number;
  atimeSeconds: number;
  atimeNanoseconds: number;
  mtimeSeconds: number;
  mtimeNanoseconds: number;
  ctimeSeconds: number;
  directory: Directory | undefined;
  target: string;
  data: Uint8Array | undefined;
}

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const O_TRUNC = 0o1000;
const RENAME_NOREPLACE = 1;

export class MapFileSystem implements FuseHandler {
  readonly #arena: NativeArena;
  readonly #text: Buffer;
  readonly #nodes: (Node | undefined)[] = [undefined];
  /** Message slot where attributes and statistics are laid out. */
  readonly #scratch: number;
  readonly #entryTimeoutMs: number;
  readonly #attributesTimeoutMs: number;
  readonly #openFlags: number;
  readonly #keepData: boolean;
  #count = 0;
  endedBecause = '';
  onEnd: () => void = () => undefined;

  /** Keeps one message slot of the arena. */
  constructor(arena: NativeArena, options: MapFileSystemOptions = {}) {
    this.#arena = arena;
    this.#text = Buffer.from(arena.buffer);
    this.#scratch = arena.messages.take();
    this.#entryTimeoutMs = options.entryTimeoutMs ?? 0;
    this.#attributesTimeoutMs = options.attributesTimeoutMs ?? 0;
    this.#openFlags = options.openFlags ?? OpenFlag.DirectIo | OpenFlag.ParallelDirectWrites;
    this.#keepData = options.keepData ?? false;
    const root = this.#newNode(S_IFDIR | 0o755, 0, 0);
    root.directory = { byName: new Map(), entries: [], parent: root };
  }

  onReady(): void {
    // Nothing depends on what was agreed.
  }

  onInterrupt(_request: FuseRequest): void {
    // Every request is answered in its turn.
  }

  onNamesKept(): void {
    // No names are told.
  }

  onNotified(_number: number): void {
    // Nothing is declared invalid.
  }

  onPagesDropped(_number: number): void {
    // Nor are pages.
  }

  onEnded(reason: string): void {
    this.endedBecause = reason;
    this.onEnd();
  }

  onRequest(request: FuseRequest): void {
    const node = this.#nodes[request.inode];
    if (node === undefined) return request.replyStatus(errno.ENOENT);
    switch (request.operation) {
      case Operation.Lookup:
        return this.#lookup(request, node);
      case Operation.GetAttr:
        return this.#replyAttributes(request, node);
      case Operation.SetAttr:
        return this.#setAttr(request, node);
      case Operation.Create:
      case Operation.MkNod:
      case Operation.MkDir:
      case Operation.Symlink:
      case Operation.Link:
        return this.#make(request, node);
      case Operation.ReadLink:
        return this.#readLink(request, node);
      case Operation.Unlink:
      case Operation.RmDir:
        return this.#remove(request, node);
      case Operation.Rename:
        return this.#rename(request, node);
      case Operation.Open:
        if ((request.flags & O_TRUNC) !== 0) this.#resize(node, 0);
        return request.replyOpen(node.inode, this.#openFlags);
      case Operation.Read:
        return this.#read(request, node);
      case Operation.Write:
        return this.#write(request, node);
      case Operation.OpenDir:
        return request.replyOpen(node.inode, 0);
      case Operation.ReadDir:
      case Operation.ReadDirPlus:
        return this.#list(request, node);
      case Operation.StatFs:
        return this.#statFs(request);
      case Operation.GetXattr:
      case Operation.ListXattr:
        return request.replyStatus(errno.ENODATA);
      default: // Release, Fsync, Flush, …
        return request.replyStatus(0);
    }
  }

  #newNode(mode: number, uid: number, gid: number): Node {
    const now = Date.now();
    const seconds = Math.floor(now / 1000);
    const nanoseconds = (now % 1000) * 1_000_000;
    const node: Node = {
      inode: this.#nodes.length,
      mode,
      uid,
      gid,
      rdev: 0,
      links: (mode & S_IFMT) === S_IFDIR ? 2 : 1,
      sizeBytes: 0,
      atimeSeconds: seconds,
      atimeNanoseconds: nanoseconds,
      mtimeSeconds: seconds,
      mtimeNanoseconds: nanoseconds,
      ctimeSeconds: seconds,
      directory: undefined,
      target: '',
      data: undefined,
    };
    this.#nodes.push(node);
    this.#count++;
    return node;
  }

  #name(offset: number, bytes: number): string {
    return this.#text.toString('latin1', offset, offset + bytes);
  }

  #find(directory: Directory, name: string): Node | undefined {
    const index = directory.byName.get(name);
    return index === undefined ? undefined : directory.entries[index]?.node;
  }

  #insert(directory: Directory, name: string, node: Node): void {
    directory.byName.set(name, directory.entries.length);
    directory.entries.push({ name, node });
  }

  #drop(directory: Directory, name: string): void {
    const index = directory.byName.get(name)!;
    directory.byName.delete(name);
    directory.entries[index] = undefined;
    if (directory.byName.size === 0) directory.entries.length = 0;
  }

  #lookup(request: FuseRequest, parent: Node): void {
    const name = this.#name(request.nameOffset, request.nameBytes);
    const node = parent.directory && this.#find(parent.directory, name);
    if (node === undefined) return request.replyStatus(errno.ENOENT);
    this.#replyEntry(request, node);
  }

  #make(request: FuseRequest, node: Node): void {
    const linking = request.operation === Operation.Link;
    const parent = linking ? this.#nodes[request.newParent] : node;
    const directory = parent?.directory;
    if (directory === undefined) return request.replyStatus(errno.ENOTDIR);
    const name = this.#name(request.nameOffset, request.nameBytes);
    if (directory.byName.has(name)) return request.replyStatus(errno.EEXIST);
    if (linking) {
      node.links++;
      this.#insert(directory, name, node);
      return this.#replyEntry(request, node);
    }
    const symlink = request.operation === Operation.Symlink;
    const mode = symlink ? S_IFLNK | 0o777 : request.mode;
    const made = this.#newNode(
      (mode & S_IFMT) === 0 ? mode | S_IFREG : mode,
      request.uid,
      request.gid,
    );
    made.rdev = request.rdev;
    if (request.operation === Operation.MkDir) {
      made.directory = { byName: new Map(), entries: [], parent: node };
      node.links++;
    }
    if (symlink) {
      made.target = this.#name(request.name2Offset, request.name2Bytes);
      made.sizeBytes = request.name2Bytes;
    }
    this.#insert(directory, name, made);
    if (request.operation !== Operation.Create) return this.#replyEntry(request, made);
    this.#layAttributes(this.#scratch, made);
    request.replyCreate(
      this.#scratch,
      this.#entryTimeoutMs,
      this.#attributesTimeoutMs,
      made.inode,
      this.#openFlags,
    );
  }

  #remove(request: FuseRequest, parent: Node): void {
    const directory = parent.directory!;
    const name = this.#name(request.nameOffset, request.nameBytes);
    const node = this.#find(directory, name);
    if (node === undefined) return request.replyStatus(errno.ENOENT);
    if (node.directory !== undefined && node.directory.byName.size > 0) {
      return request.replyStatus(errno.ENOTEMPTY);
    }
    if (node.directory !== undefined) parent.links--;
    this.#drop(directory, name);
    this.#unlinked(node);
    request.replyStatus(0);
  }

  /** A node without links stays reachable by number: it may be open. Only its count goes. */
  #unlinked(node: Node): void {
    node.links -= node.directory === undefined ? 1 : 2;
    if (node.links === 0) this.#count--;
  }

  #rename(request: FuseRequest, from: Node): void {
    const to = this.#nodes[request.newParent];
    const oldName = this.#name(request.nameOffset, request.nameBytes);
    const newName = this.#name(request.name2Offset, request.name2Bytes);
    const node = this.#find(from.directory!, oldName);
    if (node === undefined || to?.directory === undefined) {
      return request.replyStatus(errno.ENOENT);
    }
    if ((request.flags & ~RENAME_NOREPLACE) !== 0) return request.replyStatus(errno.EINVAL);
    const replaced = this.#find(to.directory, newName);
    if (replaced === node) return request.replyStatus(0);
    if (replaced !== undefined) {
      if ((request.flags & RENAME_NOREPLACE) !== 0) return request.replyStatus(errno.EEXIST);
      if ((replaced.directory?.byName.size ?? 0) > 0) return request.replyStatus(errno.ENOTEMPTY);
      this.#drop(to.directory, newName);
      if (replaced.directory !== undefined) to.links--;
      this.#unlinked(replaced);
    }
    this.#drop(from.directory!, oldName);
    this.#insert(to.directory, newName, node);
    if (node.directory !== undefined) {
      from.links--;
      to.links++;
      node.directory.parent = to;
    }
    request.replyStatus(0);
  }

  #setAttr(request: FuseRequest, node: Node): void {
    const valid = request.valid;
    const now = Date.now();
    if ((valid & 1) !== 0) node.mode = (node.mode & S_IFMT) | (request.mode & ~S_IFMT);
    if ((valid & 2) !== 0) node.uid = request.setUid;
    if ((valid & 4) !== 0) node.gid = request.setGid;
    if ((valid & 8) !== 0) this.#resize(node, request.newSizeBytes);
    if ((valid & 16) !== 0) {
      const asked = (valid & 64) === 0;
      node.atimeSeconds = asked ? request.atimeSeconds : Math.floor(now / 1000);
      node.atimeNanoseconds = asked ? request.atimeNanoseconds : (now % 1000) * 1_000_000;
    }
    if ((valid & 32) !== 0) {
      const asked = (valid & 128) === 0;
      node.mtimeSeconds = asked ? request.mtimeSeconds : Math.floor(now / 1000);
      node.mtimeNanoseconds = asked ? request.mtimeNanoseconds : (now % 1000) * 1_000_000;
    }
    node.ctimeSeconds = Math.floor(now / 1000);
    this.#replyAttributes(request, node);
  }

  #resize(node: Node, sizeBytes: number): void {
    if (node.data !== undefined && sizeBytes < node.sizeBytes) {
      node.data.fill(0, sizeBytes, node.sizeBytes);
    }
    node.sizeBytes = sizeBytes;
  }

  #readLink(request: FuseRequest, node: Node): void {
    const bytes = this.#text.write(node.target, this.#scratch, 'latin1');
    request.replyBytes(this.#scratch, bytes);
  }

  #read(request: FuseRequest, node: Node): void {
    const at = request.offset;
    const bytes = Math.max(0, Math.min(request.sizeBytes, node.sizeBytes - at));
    const stored = Math.max(0, Math.min(bytes, (node.data?.length ?? 0) - at));
    const pool = stored <= messageSlotBytes ? this.#arena.messages : this.#arena.bulk;
    const slot = stored === 0 ? 0 : pool.take();
    if (stored > 0 && slot === 0) return request.replyStatus(errno.ENOMEM);
    request.beginData();
    if (stored > 0) {
      this.#arena.bytes.set(node.data!.subarray(at, at + stored), slot);
      request.addSegment(slot, stored, true);
    }
    if (bytes > stored) request.addZeros(bytes - stored);
    request.endData();
  }

  #write(request: FuseRequest, node: Node): void {
    const bytes = request.sizeBytes;
    const end = request.offset + bytes;
    if (this.#keepData) {
      if ((node.data?.length ?? 0) < end) {
        const grown = new Uint8Array(Math.max(4096, end + (end >> 1)));
        grown.set(node.data ?? []);
        node.data = grown;
      }
      const from = request.dataOffset;
      node.data!.set(this.#arena.bytes.subarray(from, from + bytes), request.offset);
    }
    if (end > node.sizeBytes) node.sizeBytes = end;
    request.replyWritten(bytes);
  }

  #list(request: FuseRequest, node: Node): void {
    const directory = node.directory;
    if (directory === undefined) return request.replyStatus(errno.ENOTDIR);
    const slot = this.#arena.bulk.take();
    if (slot === 0) return request.replyStatus(errno.ENOMEM);
    const plus = request.operation === Operation.ReadDirPlus;
    const limit = slot + Math.min(request.sizeBytes, this.#arena.bulk.payloadBytes);
    let at = slot;
    for (let i = request.cookie; i < directory.entries.length; i++) {
      const entry = directory.entries[i];
      if (entry === undefined) continue;
      const next =
        at + DirEntry.SIZE + (plus ? Attributes.SIZE : 0) + ((entry.name.length + 7) & ~7);
      if (next > limit) break;
      this.#layDirEntry(at, entry, i + 1, plus);
      at = next;
    }
    request.replyDirectory(
      slot,
      at - slot,
      true,
      directory.parent.inode,
      this.#entryTimeoutMs,
      this.#attributesTimeoutMs,
    );
  }

  #layDirEntry(at: number, entry: Entry, cookie: number, plus: boolean): void {
    const words = this.#arena.words;
    writeU53(words, at + DirEntry.inode, entry.node.inode);
    writeU53(words, at + DirEntry.cookie, cookie);
    writeU16(words, at + DirEntry.nameBytes, entry.name.length);
    writeU16(words, at + DirEntry.hasAttributes, plus ? 1 : 0);
    words[(at + DirEntry.mode) >>> 2] = entry.node.mode & S_IFMT;
    if (plus) this.#layAttributes(at + DirEntry.SIZE, entry.node);
    const name = at + DirEntry.SIZE + (plus ? Attributes.SIZE : 0);
    this.#text.write(entry.name, name, 'latin1');
  }

  #statFs(request: FuseRequest): void {
    const at = this.#scratch;
    writeU53(this.#arena.words, at + StatFsReply.totalBytes, 2 ** 40);
    writeU53(this.#arena.words, at + StatFsReply.freeBytes, 2 ** 39);
    writeU53(this.#arena.words, at + StatFsReply.inodes, this.#count);
    writeU53(this.#arena.words, at + StatFsReply.freeInodes, 2 ** 32);
    request.replyStatFs(at);
  }

  #replyEntry(request: FuseRequest, node: Node): void {
    this.#layAttributes(this.#scratch, node);
    request.replyEntry(this.#scratch, this.#entryTimeoutMs, this.#attributesTimeoutMs);
  }

  #replyAttributes(request: FuseRequest, node: Node): void {
    this.#layAttributes(this.#scratch, node);
    request.replyAttributes(this.#scratch, this.#attributesTimeoutMs);
  }

  #layAttributes(at: number, node: Node): void {
    const words = this.#arena.words;
    writeU53(words, at + Attributes.inode, node.inode);
    writeU53(words, at + Attributes.sizeBytes, node.sizeBytes);
    writeU53(words, at + Attributes.blocks, Math.ceil(node.sizeBytes / 512));
    writeI53(words, at + Attributes.atimeSeconds, node.atimeSeconds);
    writeI53(words, at + Attributes.mtimeSeconds, node.mtimeSeconds);
    writeI53(words, at + Attributes.ctimeSeconds, node.ctimeSeconds);
    words[(at + Attributes.atimeNanoseconds) >>> 2] = node.atimeNanoseconds;
    words[(at + Attributes.mtimeNanoseconds) >>> 2] = node.mtimeNanoseconds;
    words[(at + Attributes.ctimeNanoseconds) >>> 2] = 0;
    words[(at + Attributes.mode) >>> 2] = node.mode;
    words[(at + Attributes.linkCount) >>> 2] = node.links;
    words[(at + Attributes.uid) >>> 2] = node.uid;
    words[(at + Attributes.gid) >>> 2] = node.gid;
    words[(at + Attributes.rdev) >>> 2] = node.rdev;
  }
}
