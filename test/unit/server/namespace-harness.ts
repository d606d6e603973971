/**
 * Runs operations of the name space as a batch does, over any MetaStore, and reads their replies.
 * Names are short here, so bodies are built with a DataView.
 */
import assert from 'node:assert/strict';
import type { Scheduler, WallClock } from '../../../src/common/scheduler.js';
import { SEQUENCE_LIMIT } from '../../../src/placement/inode-number.js';
import { LookupReply, Opcode, AttributesReply } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { readI53, readU53 } from '../../../src/protocol/u53.js';
import type { NameHash } from '../../../src/server/dentries.js';
import { InodeRecord } from '../../../src/server/inode-record.js';
import type { MetaStore } from '../../../src/server/meta-store-api.js';
import { Call, Namespace, type NamespaceHost } from '../../../src/server/namespace.js';
import { getAttr, lookup, readLink } from '../../../src/server/namespace-read.js';
import { mutationOf, openTruncating } from '../../../src/server/operations.js';
import type { Mutation } from '../../../src/server/batch.js';
import type { Coordinator } from '../../../src/server/transactions/coordinator.js';
import type { StepRequest } from '../../../src/server/transactions/step.js';

export const DIRECTORY = 0o040755;
export const FILE = 0o100644;

/** Timers that never fire: for stores that are flushed by nobody. */
export const idleScheduler: Scheduler = {
  nowMs: () => 0,
  wallClock: () => ({ seconds: 0, nanoseconds: 0 }),
  setTimer: () => ({ cancel: () => undefined }),
  onTurnEnd: () => undefined,
  requestTurn: () => undefined,
  random: () => 0,
};

export interface Stat {
  inode: number;
  mode: number;
  size: number;
  links: number;
  uid: number;
  gid: number;
  atime: number;
  mtime: number;
  ctime: number;
  flags: number;
}

type Fields = Record<string, number>;

/** A request body: struct fields by name, then text. */
export function body(struct: Record<string, number>, fields: Fields, ...texts: string[]): Buffer {
  const tail = Buffer.concat(texts.map((text) => Buffer.from(text)));
  const buffer = Buffer.alloc((struct['SIZE']! + tail.length + 7) & ~7);
  tail.copy(buffer, struct['SIZE']);
  const offsets = Object.entries(struct).filter(([name]) => name !== 'SIZE');
  for (const [name, value] of Object.entries(fields)) {
    const at = struct[name];
    assert.ok(at !== undefined, `no field ${name}`);
    const later = offsets.map(([, offset]) => offset).filter((offset) => offset > at);
    const bytes = Math.min(struct['SIZE']!, ...later) - at;
    if (bytes >= 8) buffer.writeBigInt64LE(BigInt(value), at);
    else if (bytes === 4) buffer.writeUInt32LE(value, at);
    else buffer.writeUInt16LE(value, at);
  }
  return buffer;
}

/** Operations that need another target stop at that: it is the simulator's to go on. */
class LoneCoordinator {
  readonly needed: StepRequest[] = [];

  need(_mutation: Mutation, request: StepRequest): undefined {
    this.needed.push(request);
    return undefined;
  }

  lock(): number {
    return 0;
  }

  decide(): number {
    return 0;
  }
}

export class Harness implements NamespaceHost {
  readonly ns: Namespace;
  readonly meta: MetaStore;
  readonly scheduler = idleScheduler;
  readonly lone = new LoneCoordinator();
  readonly coordinator = this.lone as unknown as Coordinator;
  readonly clock: WallClock = { seconds: 1000, nanoseconds: 5 };
  readonly open = new Set<number>();
  readonly cuts: { inode: number; from: number; striped: boolean }[] = [];
  /** Buckets at or above belong to another target. */
  firstForeignBucket = 60_000;
  readonly call = new Call();
  /** Operations on space are tested with whole targets: here there are no chunks. */
  get space(): never {
    throw new Error('the harness has no chunk store');
  }
  readonly #out = { bytes: new Uint8Array(8192), words: new Uint32Array(0) };

  constructor(meta: MetaStore, hash?: NameHash) {
    this.meta = meta;
    this.ns = new Namespace(meta, this, hash);
    this.#out.words = new Uint32Array(this.#out.bytes.buffer);
    this.ns.open();
  }

  now(): WallClock {
    return this.clock;
  }

  owns(bucket: number): boolean {
    return bucket < this.firstForeignBucket;
  }

  readonly partitionsMax = 1;

  partitionBucket(): number {
    return 0;
  }

  isOpen(inode: number): boolean {
    return this.open.has(inode);
  }

  isBeingCut(): boolean {
    return false;
  }

  removeData(inode: number, _layout: number, _hasData: boolean, striped: boolean): void {
    this.cuts.push({ inode, from: 0, striped });
  }

  cutData(inode: number, _layout: number, from: number, striped: boolean): boolean {
    this.cuts.push({ inode, from, striped });
    return !striped;
  }

  prepare(bytes: Buffer): Call {
    const memory = new Uint8Array(bytes.length);
    memory.set(bytes);
    const { call } = this;
    call.memory = { bytes: memory, words: new Uint32Array(memory.buffer) };
    call.body = 0;
    call.bodyBytes = memory.length;
    call.out = this.#out;
    call.reply = 0;
    call.replyBytes = 0;
    call.result0 = 0;
    call.result1 = 0;
    call.openInode = 0;
    call.waitForCut = 0;
    return call;
  }

  /** One mutation in a transaction of its own; its status. */
  run(opcode: number, bytes: Buffer): number {
    const call = this.prepare(bytes);
    const execute = opcode === Opcode.Open ? openTruncating : mutationOf(opcode)!;
    let status = 0;
    this.meta.transaction(() => {
      status = execute(this.ns, call, call as Mutation);
      this.ns.save();
    });
    this.ns.committed();
    return status;
  }

  /** A mutation that must succeed. */
  must(opcode: number, bytes: Buffer): Stat {
    assert.equal(this.run(opcode, bytes), 0);
    return this.#stat(0);
  }

  root(): number {
    const inode = 5 * SEQUENCE_LIMIT + 7;
    this.must(Opcode.EnsureRoot, body(Wire.EnsureRootRequest, { inode, mode: 0o755 }));
    return inode;
  }

  create(parent: number, name: string, fields: Fields = {}): number {
    const nameBytes = Buffer.byteLength(name);
    const values = { parent, mode: FILE, nameBytes, ...fields };
    return this.run(Opcode.Create, body(Wire.CreateRequest, values, name));
  }

  file(parent: number, name: string): number {
    assert.equal(this.create(parent, name), 0);
    return this.#stat(0).inode;
  }

  /** mkdir of a directory whose inode lies here, too; its inode. */
  directory(parent: number, name: string, bucket = 9, fields: Fields = {}): number {
    assert.equal(this.makeDir(parent, name, bucket, fields), 0);
    return this.replied(LookupReply.inode);
  }

  makeDir(parent: number, name: string, bucket = 9, fields: Fields = {}): number {
    const nameBytes = Buffer.byteLength(name);
    const values = { parent, bucket, mode: 0o755, nameBytes, ...fields };
    return this.run(Opcode.MakeDir, body(Wire.MakeDirRequest, values, name));
  }

  removeDir(parent: number, name: string): number {
    const nameBytes = Buffer.byteLength(name);
    return this.run(Opcode.RemoveDir, body(Wire.NameRequest, { parent, nameBytes }, name));
  }

  /** A u64 of the reply. */
  replied(at: number): number {
    return readU53(this.#out.words, at);
  }

  unlink(parent: number, name: string): number {
    const nameBytes = Buffer.byteLength(name);
    return this.run(Opcode.Unlink, body(Wire.NameRequest, { parent, nameBytes }, name));
  }

  link(inode: number, parent: number, name: string): number {
    const nameBytes = Buffer.byteLength(name);
    return this.run(Opcode.Link, body(Wire.LinkRequest, { inode, parent, nameBytes }, name));
  }

  rename(from: number, old: string, to: number, name: string, flags = 0): number {
    const fields = {
      oldParent: from,
      newParent: to,
      root: 5 * SEQUENCE_LIMIT + 7,
      oldNameBytes: Buffer.byteLength(old),
      newNameBytes: Buffer.byteLength(name),
      flags,
    };
    return this.run(Opcode.Rename, body(Wire.RenameRequest, fields, old, name));
  }

  setAttr(inode: number, fields: Fields): number {
    return this.run(Opcode.SetAttr, body(Wire.SetAttrRequest, { inode, ...fields }));
  }

  lookup(parent: number, name: string): { status: number; inode: number; here: boolean } {
    const nameBytes = Buffer.byteLength(name);
    const call = this.prepare(body(Wire.NameRequest, { parent, nameBytes }, name));
    const status = lookup(this.ns, call);
    const { words } = this.#out;
    return {
      status,
      inode: status === 0 ? readU53(words, LookupReply.inode) : 0,
      here: status === 0 && words[LookupReply.flags / 4] === 1,
    };
  }

  stat(inode: number): Stat {
    const status = getAttr(this.ns, this.prepare(body(Wire.InodeRequest, { inode })));
    assert.equal(status, 0);
    return this.#stat(AttributesReply.attributes);
  }

  statStatus(inode: number): number {
    return getAttr(this.ns, this.prepare(body(Wire.InodeRequest, { inode })));
  }

  readLink(inode: number): string {
    const call = this.prepare(body(Wire.InodeRequest, { inode }));
    assert.equal(readLink(this.ns, call), 0);
    return Buffer.from(this.#out.bytes.subarray(0, call.replyBytes)).toString();
  }

  word(offset: number): number {
    return this.#out.words[offset / 4]!;
  }

  #stat(at: number): Stat {
    const { words } = this.#out;
    const get = (field: number): number => words[(at + field) / 4]!;
    return {
      inode: readU53(words, at + InodeRecord.inode),
      mode: get(InodeRecord.mode),
      size: readU53(words, at + InodeRecord.sizeBytes),
      links: get(InodeRecord.linkCount),
      uid: get(InodeRecord.uid),
      gid: get(InodeRecord.gid),
      atime: readI53(words, at + InodeRecord.atimeSeconds),
      mtime: readI53(words, at + InodeRecord.mtimeSeconds),
      ctime: readI53(words, at + InodeRecord.ctimeSeconds),
      flags: get(InodeRecord.flags),
    };
  }
}
