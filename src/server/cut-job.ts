/** One file whose data goes, and the request that has a peer do its part. */
import { readU53, writeU53 } from '../protocol/u53.js';
import { CutRequest, Opcode } from '../protocol/wire.generated.js';
import { RpcOperation } from '../transport/rpc-client.js';

/** Value of an intent (formats/metadata.md): five u64. */
const INTENT_BYTES = 40;
/** Flag of an intent: the file has its first chunk alone. */
const ONE_CHUNK = 1;
/** CutRequest.flags */
const CUT_DELETED = 1;

const NONE: number[] = [];

/** What is kept of a cut. */
export interface Cut {
  readonly inode: number;
  readonly layout: number;
  readonly fromByte: number;
  /** Of the file, behind `fromByte`: holes and clones count, too. */
  readonly bytes: number;
  /** The file was never striped: it has its first chunk alone. */
  readonly oneChunk: boolean;
}

export class CutJob implements Cut {
  readonly inode: number;
  readonly layout: number;
  readonly fromByte: number;
  readonly bytes: number;
  readonly oneChunk: boolean;
  /** Number of its intent; 0: a peer's request. */
  readonly intent: number;
  /** The file goes on living: what changes its size waits for this. */
  readonly blocks: boolean;
  /** Somebody waits for it: it goes before the others, at once. */
  readonly urgent: boolean;
  waiters: (() => void)[] | undefined;
  /** Of `bytes`, what nobody has given back yet. */
  bytesLeft: number;
  /** Its buckets here that are not known to be empty; undefined: all that there are. */
  buckets: number[] | undefined;
  /** Of its last piece: how many are left, what was freed, the buckets that it looked into. */
  left = 1;
  freedBytes = 0;
  emptied = 0;
  pieceBuckets: number[] = NONE;
  localDone = false;
  peersPending = 0;
  started = false;
  discarded = false;

  constructor(cut: Cut, intent: number, blocks: boolean, urgent: boolean) {
    this.inode = cut.inode;
    this.layout = cut.layout;
    this.fromByte = cut.fromByte;
    this.bytes = cut.bytes;
    this.oneChunk = cut.oneChunk;
    this.bytesLeft = cut.bytes;
    this.intent = intent;
    this.blocks = blocks;
    this.urgent = urgent;
  }

  addWaiter(waiter: () => void): void {
    (this.waiters ??= []).push(waiter);
  }
}

/** Packs and unpacks intents; the buffer is valid until the next call. */
export class IntentCodec {
  readonly #value = new Uint8Array(INTENT_BYTES);
  readonly #words = new Uint32Array(this.#value.buffer);

  encode(cut: Cut): Uint8Array {
    writeU53(this.#words, 0, cut.inode);
    writeU53(this.#words, 8, cut.fromByte);
    writeU53(this.#words, 16, cut.layout);
    writeU53(this.#words, 24, cut.bytes);
    writeU53(this.#words, 32, cut.oneChunk ? ONE_CHUNK : 0);
    return this.#value;
  }

  /** A value that ends earlier, as those of earlier versions do, has zeros there. */
  decode(value: Uint8Array): Cut {
    this.#value.fill(0);
    this.#value.set(value.subarray(0, INTENT_BYTES));
    return {
      inode: readU53(this.#words, 0),
      fromByte: readU53(this.#words, 8),
      layout: readU53(this.#words, 16),
      bytes: readU53(this.#words, 24),
      oneChunk: readU53(this.#words, 32) === ONE_CHUNK,
    };
  }
}

export class CutOperation extends RpcOperation {
  override opcode = Opcode.Cut;
  override bodyBytes = CutRequest.SIZE;
  readonly #job: CutJob;
  readonly #words: Uint32Array;
  readonly #ended: (status: number) => void;

  constructor(job: CutJob, words: Uint32Array, ended: (status: number) => void) {
    super();
    this.#job = job;
    this.#words = words;
    this.#ended = ended;
  }

  override encode(body: number): number {
    writeU53(this.#words, body + CutRequest.inode, this.#job.inode);
    writeU53(this.#words, body + CutRequest.layout, this.#job.layout);
    writeU53(this.#words, body + CutRequest.fromByte, this.#job.fromByte);
    this.#words[(body + CutRequest.flags) >>> 2] = this.#job.blocks ? 0 : CUT_DELETED;
    this.#words[(body + CutRequest.reserved) >>> 2] = 0;
    return CutRequest.SIZE;
  }

  override done(status: number): void {
    this.#ended(status);
  }
}
