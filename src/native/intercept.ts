/**
 * The host of programs that run with the preload library (native/intercept): their calls come as records of a
 * turn, checked and with their data in arena slots; each is answered once. Method, and what is checked:
 * native/intercept_host/host.h; what programs see: docs/intercept.md.
 */
import type { NativeArena } from './arena.js';
import type { NativeHandle } from './core.js';
import { AnswerRecord, CallRecord } from './intercept-layout.generated.js';
import { fuseAddon } from './fuse-addon.js';
import { loadAddon } from './load.js';
import type { Reactor } from './reactor.js';
import { readU53, writeU53 } from '../protocol/u53.js';

export { CallKind } from './intercept-layout.generated.js';

interface InterceptAddon {
  Host: new (
    arena: NativeHandle,
    device: string,
    anyUser: boolean,
    keepBulk: number,
    keepMessages: number,
    mountPoint: string,
    rootInode: number,
  ) => NativeHost;
}

interface NativeHost {
  readonly records: ArrayBuffer;
  readonly answers: ArrayBuffer;
  readonly versions: ArrayBuffer;
  readonly source: NativeHandle;
  readonly counters: InterceptCounters;
  submit(): void;
  close(): void;
}

export interface InterceptCounters {
  /** Attached since the beginning. */
  programs: number;
  /** Turned away. */
  refused: number;
  calls: number;
  /** Calls that were sent to the kernel without being looked at here. */
  fallbacks: number;
}

/** Statuses beside errno numbers: the program asks the kernel (native/common/intercept_layout.h). */
export const Fallback = {
  NotHere: 4098,
  InKernel: 4100,
  Path: 4101,
  Overloaded: 4104,
} as const;

/** Of the answer to ReadDirectory, beside its bytes: nothing follows (kListingEnds). */
export const LISTING_ENDS = 2 ** 32;

export interface InterceptOptions {
  /** Resolved. */
  mountPoint: string;
  rootInode: number;
  /** Others than this process's user may attach. */
  anyUser: boolean;
  /** Slots of the arena that are left to others. */
  keepBulkSlots: number;
  keepMessageSlots: number;
}

/** One call, read in place; valid until the handler returns. */
export class InterceptCall {
  readonly #words: Uint32Array;
  #at = 0;

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  /** @internal */
  moveTo(at: number): void {
    this.#at = at;
  }

  #word(field: number): number {
    return this.#words[(this.#at + field) >>> 2]!;
  }

  /** A value of CallKind. */
  get kind(): number {
    return this.#word(CallRecord.kind);
  }
  /** Names the call in its answer. */
  get call(): number {
    return this.#word(CallRecord.call);
  }
  get program(): number {
    return this.#word(CallRecord.program);
  }
  get flags(): number {
    return this.#word(CallRecord.flags);
  }
  get inode(): number {
    return readU53(this.#words, this.#at + CallRecord.inode);
  }
  get handle(): number {
    return readU53(this.#words, this.#at + CallRecord.handle);
  }
  get offset(): number {
    return readU53(this.#words, this.#at + CallRecord.offset);
  }
  get lengthBytes(): number {
    return this.#word(CallRecord.lengthBytes);
  }
  /** Arena offset of data or text; the host's again with the answer. */
  get slot(): number {
    return this.#word(CallRecord.slot);
  }
  /** Of calls with two paths: the directory that the second begins at. Of FileAllocate: bytes. */
  get secondInode(): number {
    return readU53(this.#words, this.#at + CallRecord.secondInode);
  }
  /** Of the path or text that lies behind the first. */
  get secondBytes(): number {
    return this.#word(CallRecord.secondBytes);
  }
  /** Of ChangeOwner and FileChangeOwner, beside the user in `offset`. */
  get gid(): number {
    return this.#word(CallRecord.gid);
  }
}

const HEADER_BYTES = 64;

export class InterceptHost {
  readonly #reactor: Reactor;
  readonly #native: NativeHost;
  readonly #answers: Uint32Array;
  readonly #versions: Uint32Array;
  readonly #call: InterceptCall;
  readonly #onCall: (call: InterceptCall) => void;
  readonly #source: number;
  #closed = false;

  /** Throws SealfsError UNSUPPORTED without the addon, Error when nobody can be listened to. */
  constructor(
    reactor: Reactor,
    arena: NativeArena,
    options: InterceptOptions,
    onCall: (call: InterceptCall) => void,
  ) {
    const addon = loadAddon<InterceptAddon>('sealfs_intercept');
    this.#reactor = reactor;
    this.#onCall = onCall;
    this.#native = new addon.Host(
      arena.handle,
      fuseAddon().mountedAt(options.mountPoint),
      options.anyUser,
      options.keepBulkSlots,
      options.keepMessageSlots,
      options.mountPoint,
      options.rootInode,
    );
    this.#answers = new Uint32Array(this.#native.answers);
    this.#versions = new Uint32Array(this.#native.versions);
    this.#call = new InterceptCall(new Uint32Array(this.#native.records));
    this.#source = reactor.addSource(this.#native.source, (count) => this.#onTurn(count));
  }

  /** Memory that programs read: src/client/leases/versions.ts. */
  get versions(): Uint32Array {
    return this.#versions;
  }

  get counters(): InterceptCounters {
    return this.#native.counters;
  }

  /** `status` 0: done; an errno, or a Fallback. */
  answer(call: number, status: number, value: number): void {
    const words = this.#answers;
    const count = words[0]!;
    const at = HEADER_BYTES + count * AnswerRecord.SIZE;
    words[(at + AnswerRecord.call) >>> 2] = call;
    words[(at + AnswerRecord.status) >>> 2] = status;
    writeU53(words, at + AnswerRecord.value, value);
    words[0] = count + 1;
    if (this.#closed) this.#native.submit();
    else if (!this.#reactor.inTurn) this.#reactor.requestTurn();
  }

  /** Programs go on with the kernel alone. Calls under way are still to be answered. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reactor.removeSource(this.#source);
    this.#native.submit();
    this.#native.close();
  }

  #onTurn(count: number): void {
    for (let i = 0; i < count && !this.#closed; i++) {
      this.#call.moveTo(HEADER_BYTES + i * CallRecord.SIZE);
      this.#onCall(this.#call);
    }
  }
}
