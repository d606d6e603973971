/**
 * Names that are about to be made: who has made file-7, file-8 and file-9 is likely to make file-10. The kernel looks
 * up each name before it creates it, and where the directory is not held as a whole (others work in it, or it is in
 * partitions) that is a request for each. So the absence of the next names is asked for ahead, many names in one request
 * to each target, and leased (docs/leases.md, "Names ahead").
 *
 *   made 7, 8, 9 ──> BatchLookup of 10 … 17 ── absent, leased ──> their look-ups cost no request
 *                    again when half of them are used: twice as many each time, up to WINDOW_MAX
 *
 * A guess that is wrong costs a lease that is not used; nothing that is answered depends on it.
 */
import { errno } from '../common/errno.js';
import { Opcode } from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import { Batch } from './batch.js';
import type { BatchEntry, BatchOutcome, BatchOwner } from './batch.js';
import type { ClientContext } from './context.js';
import { UNKNOWN } from './leases/leases.js';
import type { NameText } from './leases/name-text.js';
import { NameReference } from './request.js';

/** Names made one after the other, from which on the next are asked for. */
const RUN = 3;
const WINDOW_FIRST = 8;
const WINDOW_MAX = 128;
/** Sequences that are remembered; more than that are forgotten, and recognised again. */
const SEQUENCES_MAX = 256;
/** Longer numbers are not counted up. */
const DIGITS_MAX = 15;
const NAME_BYTES_MAX = 255;
const ZERO = 48;
const NINE = 57;

const nobody: BatchOwner = { uid: 0, gid: 0, umask: 0, dropsSetId: false };
const nothing = new Uint8Array(0);

/** Names of one directory that differ in one number. */
class Sequence {
  /** The number after the last one that was made. */
  next = 0;
  /** The first number whose name was not asked for. */
  asked = 0;
  /** Names made one after the other. */
  run = 0;
  /** Names that were to be known ahead when it was asked last. */
  window = 0;
  /** Requests under way. */
  pending = 0;
  /** Digits of the last number: those before it may have had leading zeros. */
  width = 0;
  readonly parent: number;
  readonly before: Uint8Array;
  readonly after: Uint8Array;

  constructor(parent: number, before: Uint8Array, after: Uint8Array) {
    this.parent = parent;
    this.before = before;
    this.after = after;
  }

  /** `number` was made. */
  made(number: number): void {
    const follows = number === this.next;
    this.run = follows ? this.run + 1 : 1;
    if (!follows) this.window = 0;
    this.next = number + 1;
    if (!follows || this.asked < this.next) this.asked = this.next;
  }

  /** Names that were asked for and not made yet. */
  get #left(): number {
    return this.asked - this.next;
  }

  /** More names are to be asked for now. */
  get isDue(): boolean {
    return this.run >= RUN && this.pending === 0 && this.#left <= this.window / 2;
  }

  /** How many. */
  widen(): number {
    this.window = Math.min(Math.max(this.window * 2, WINDOW_FIRST), WINDOW_MAX);
    return this.window - this.#left;
  }

  /** The names do not go on like this. */
  stop(): void {
    this.run = 0;
    this.window = 0;
  }

  isOf(parent: number, name: NameText, from: number, to: number): boolean {
    const { before, after } = this;
    const { bytes, offset, lengthBytes } = name;
    if (this.parent !== parent) return false;
    if (before.length !== from || after.length !== lengthBytes - to) return false;
    for (let i = 0; i < from; i++) if (before[i] !== bytes[offset + i]) return false;
    for (let i = to; i < lengthBytes; i++) if (after[i - to] !== bytes[offset + i]) return false;
    return true;
  }

  name(number: number): Uint8Array {
    const { before, after } = this;
    const digits = number.toString().padStart(this.width, '0');
    const name = new Uint8Array(before.length + digits.length + after.length);
    name.set(before);
    for (let i = 0; i < digits.length; i++) name[before.length + i] = digits.charCodeAt(i);
    name.set(after, before.length + digits.length);
    return name;
  }
}

class AbsenceBatch extends Batch {
  readonly #context: ClientContext;
  readonly #sequence: Sequence;
  readonly #asked: BatchEntry[] = [];
  readonly #stamp: number;
  readonly #name = new NameReference();

  constructor(context: ClientContext, sequence: Sequence) {
    super(Opcode.BatchLookup, nobody, true);
    this.#context = context;
    this.#sequence = sequence;
    this.#stamp = context.leases.marks.stamp;
  }

  /** False: it is full. */
  addName(home: number, name: Uint8Array): boolean {
    const entry = { inode: home, name, mode: 0, exclusive: false, data: nothing };
    if (!this.add(entry)) return false;
    this.#asked.push(entry);
    return true;
  }

  call(peer: RpcPeer): void {
    this.#sequence.pending++;
    this.prepare(this.#context);
    peer.call(this);
  }

  protected override took(i: number, { status, leases }: BatchOutcome): void {
    if (status === 0) this.#sequence.stop();
    if (status !== errno.ENOENT) return;
    const { inode: home, name } = this.#asked[i]!;
    const { parent } = this.#sequence;
    const text = this.#name.set(name, 0, name.length);
    this.#context.leases.learnName(parent, home, text, 0, leases, this.#stamp, null);
  }

  protected override ended(): void {
    this.#sequence.pending--;
  }
}

export class NamesAhead {
  readonly #context: ClientContext;
  readonly #sequences = new Map<number, Sequence>();
  readonly #name = new NameReference();

  constructor(context: ClientContext) {
    this.#context = context;
  }

  /** A file of this name is being made. */
  made(parent: number, name: NameText): void {
    const { leases } = this.#context;
    if (!leases.enabled || leases.holdsAllNames(parent)) return;
    const { bytes, offset, lengthBytes } = name;
    let to = lengthBytes;
    while (to > 0 && !isDigit(bytes[offset + to - 1]!)) to--;
    let from = to;
    let number = 0;
    for (let unit = 1; from > 0 && isDigit(bytes[offset + from - 1]!); unit *= 10) {
      from--;
      number += (bytes[offset + from]! - ZERO) * unit;
    }
    if (from === to || to - from > DIGITS_MAX) return;
    const sequence = this.#sequence(parent, name, from, to);
    sequence.width = to - from;
    sequence.made(number);
    if (sequence.isDue) this.#ask(sequence);
  }

  #sequence(parent: number, name: NameText, from: number, to: number): Sequence {
    const { bytes, offset, lengthBytes } = name;
    let key = Math.imul(parent | 0, 0x9e3779b1) + from;
    for (let i = 0; i < lengthBytes; i++) {
      if (i < from || i >= to) key = Math.imul(key ^ bytes[offset + i]!, 0x01000193);
    }
    const known = this.#sequences.get(key);
    if (known?.isOf(parent, name, from, to) === true) return known;
    if (this.#sequences.size >= SEQUENCES_MAX) this.#sequences.clear();
    const before = bytes.slice(offset, offset + from);
    const after = bytes.slice(offset + to, offset + lengthBytes);
    const sequence = new Sequence(parent, before, after);
    this.#sequences.set(key, sequence);
    return sequence;
  }

  #ask(sequence: Sequence): void {
    const context = this.#context;
    const batches = new Map<RpcPeer, AbsenceBatch>();
    for (let more = sequence.widen(); more > 0; more--) {
      const name = sequence.name(sequence.asked++);
      if (name.length > NAME_BYTES_MAX) break;
      const text = this.#name.set(name, 0, name.length);
      if (context.leases.find(sequence.parent, text) !== UNKNOWN) continue;
      const home = context.partitions.homeOfHash(sequence.parent, text.hash44());
      const peer = context.peerOfInode(home);
      let batch = batches.get(peer);
      if (batch?.addName(home, name) === true) continue;
      batch?.call(peer);
      batch = new AbsenceBatch(context, sequence);
      batch.addName(home, name);
      batches.set(peer, batch);
    }
    for (const [peer, batch] of batches) batch.call(peer);
  }
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}
