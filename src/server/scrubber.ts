/**
 * Verifies the checksums of all that a target stores, in the background, when the manager wants it
 * (docs/scrub.md): every chunk once a pass, in the order of their keys, at a bounded rate, slower
 * while clients read and write.
 *
 *   idle ── wish of another run ──> running ── all chunks ──> finished
 *                                     │ ^                        │ another run: from the start
 *                         not wanted  v │ another run            v
 *                                   stopped                   running
 *
 * How far it is, and what it found, is kept in the store: after a restart it goes on a few seconds
 * behind where it was, whether or not the manager is there.
 */
import { maxScrubDamage, scrubRateDefault } from '../common/manager-api.js';
import type { ScrubDamage, ScrubReport, ScrubWish } from '../common/manager-api.js';
import type { Scheduler } from '../common/scheduler.js';
import { bucketCount } from '../protocol/limits.generated.js';
import { ChunkVerifier, type VerifierContext, type VerifierSink } from './data/chunk-verifier.js';
import { afterChunk, FIRST_CHUNK, isBehind, nextChunks } from './data/chunk-walk.js';
import type { ChunkPlace } from './data/chunk-walk.js';
import { propertyKey } from './keys.js';
import { Pace } from './pace.js';

/** Property of the store: a `Saved` as JSON. */
const STATE_KEY = propertyKey('scrub');
const SAVE_MS = 5000;
/** Chunks whose keys are read at a time. */
const CHUNKS_AHEAD = 64;
/** What a look at a chunk counts at least, against the rate. */
const COST_OF_CHUNK = 16 * 1024;
/** While clients read or write, everything counts so many times. */
const BUSY_FACTOR = 4;
/** Chunks without data on a device that are looked at in one turn. */
const CHUNKS_PER_TURN = 32;

interface Saved extends Omit<ScrubReport, 'progress'> {
  bytesPerSecond: number;
  /** Where to go on. */
  cursor: ChunkPlace;
}

export interface ScrubberOptions extends VerifierContext {
  readonly scheduler: Scheduler;
  /** How many reads and writes of clients there have been. */
  foreground(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
  log(level: 'info' | 'error', message: string): void;
}

export class Scrubber implements VerifierSink {
  readonly #options: ScrubberOptions;
  readonly #verifier: ChunkVerifier;
  readonly #pace: Pace;
  #saved: Saved;
  /** Chunks to be verified, the first of them now; #cursor of #saved is behind those that are done. */
  #ahead: ChunkPlace[] = [];
  #next: ChunkPlace = { ...FIRST_CHUNK };
  #verifying = false;
  #stepping = false;
  #timerSet = false;
  #savedAtMs = 0;
  #foreground = 0;
  #closed = false;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.#verifier = new ChunkVerifier(options, this);
    this.#saved = load(options);
    this.#pace = new Pace(options.scheduler, this.#saved.bytesPerSecond);
  }

  /** Goes on with what an earlier process did not finish. */
  open(): void {
    if (this.#saved.state === 'running') this.#resume();
  }

  setWish({ run, running, bytesPerSecond }: ScrubWish): void {
    const saved = this.#saved;
    if (saved.bytesPerSecond !== bytesPerSecond) {
      saved.bytesPerSecond = bytesPerSecond;
      this.#pace.bytesPerSecond = bytesPerSecond;
    }
    if (run !== saved.run) {
      if (running) this.#begin(run, bytesPerSecond);
    } else if (!running && saved.state === 'running') {
      saved.state = 'stopped';
      this.#save();
    } else if (running && saved.state === 'stopped') {
      saved.state = 'running';
      this.#resume();
    }
  }

  report(): ScrubReport {
    const saved = this.#saved;
    return {
      run: saved.run,
      state: saved.state,
      progress: saved.state === 'finished' ? 1 : saved.cursor.bucket / bucketCount,
      checkedBytes: saved.checkedBytes,
      checkedExtents: saved.checkedExtents,
      damagedExtents: saved.damagedExtents,
      skippedExtents: saved.skippedExtents,
      startedAt: saved.startedAt,
      finishedAt: saved.finishedAt,
      damage: [...saved.damage],
    };
  }

  /** The store is not used any more. */
  close(): void {
    if (this.#saved.state === 'running') this.#save();
    this.#closed = true;
    this.#verifier.close();
  }

  // ---------------------------------------------------------------- of the verifier

  damaged(
    place: ChunkPlace,
    offset: number,
    lengthBytes: number,
    device: number,
    block: number,
    reason: string,
  ): void {
    const { inode, chunk } = place;
    const saved = this.#saved;
    const known = saved.damage.some(
      (one) => one.inode === inode && one.chunk === chunk && one.offset === offset,
    );
    // After a restart a few chunks are looked at again.
    if (known) return;
    saved.damagedExtents++;
    const damage: ScrubDamage = { inode, chunk, offset, lengthBytes, device, block, reason };
    if (saved.damage.length < maxScrubDamage) saved.damage.push(damage);
    const where = device < 0 ? '' : `: block ${block} of device ${device}`;
    const what = `inode ${inode} chunk ${chunk} offset ${offset}${where} ${reason}`;
    this.#options.log('error', `scrub: damage in ${what}`);
    this.#savedAtMs = -Infinity;
  }

  verified(readBytes: number, extents: number, skipped: number): void {
    const saved = this.#saved;
    this.#verifying = false;
    const foreground = this.#options.foreground();
    const busy = foreground !== this.#foreground;
    this.#foreground = foreground;
    this.#pace.spend(Math.max(readBytes, COST_OF_CHUNK) * (busy ? BUSY_FACTOR : 1));
    const done = this.#ahead.shift();
    // None: another pass has begun meanwhile.
    if (done !== undefined) {
      saved.cursor = afterChunk(done);
      saved.checkedBytes += readBytes;
      saved.checkedExtents += extents;
      saved.skippedExtents += skipped;
    }
    if (!this.#stepping) this.#step();
  }

  // ---------------------------------------------------------------- passes

  #begin(run: number, bytesPerSecond: number): void {
    this.#saved = {
      ...emptyState(bytesPerSecond),
      run,
      state: 'running',
      startedAt: this.#now(),
    };
    this.#options.log('info', `scrub: pass ${run} begins`);
    this.#save();
    this.#resume();
  }

  /** From the cursor on. A chunk that is being verified is verified again. */
  #resume(): void {
    this.#ahead = [];
    this.#next = { ...this.#saved.cursor };
    this.#later(0);
  }

  #finish(): void {
    const saved = this.#saved;
    saved.state = 'finished';
    saved.finishedAt = this.#now();
    this.#save();
    const { checkedBytes, checkedExtents, damagedExtents } = saved;
    const what = `${checkedExtents} extents, ${checkedBytes} bytes, ${damagedExtents} damaged`;
    this.#options.log('info', `scrub: pass ${saved.run} is finished: ${what}`);
  }

  #later(waitMs: number): void {
    if (this.#timerSet) return;
    this.#timerSet = true;
    this.#options.scheduler.setTimer(waitMs, () => {
      this.#timerSet = false;
      this.#step();
    });
  }

  /** Begins the next chunk when it is time; `verified` comes back here. */
  #step(): void {
    this.#stepping = true;
    for (let turn = 0; this.#mayGoOn(); turn++) {
      const waitMs = this.#pace.waitMs();
      if (waitMs > 0 || turn === CHUNKS_PER_TURN) {
        this.#later(waitMs);
        break;
      }
      if (this.#ahead.length === 0) {
        if (isBehind(this.#next)) {
          this.#finish();
          break;
        }
        const { store } = this.#options;
        this.#next = nextChunks(store, this.#next, CHUNKS_AHEAD, this.#ahead);
        if (this.#ahead.length === 0) this.#saved.cursor = { ...this.#next };
        continue;
      }
      this.#verifying = true;
      this.#verifier.verify(this.#ahead[0]!);
    }
    this.#stepping = false;
  }

  #mayGoOn(): boolean {
    if (this.#closed || this.#saved.state !== 'running') return false;
    if (this.#options.scheduler.nowMs() - this.#savedAtMs > SAVE_MS) this.#save();
    return !this.#verifying;
  }

  #now(): string {
    return new Date(this.#options.wallMs()).toISOString();
  }

  /** Without room in the store the pass goes on; after a restart it goes on from further behind. */
  #save(): void {
    if (this.#closed) return;
    this.#savedAtMs = this.#options.scheduler.nowMs();
    const { store } = this.#options;
    const value = Buffer.from(JSON.stringify(this.#saved));
    try {
      store.transaction(() => {
        store.put(STATE_KEY, value);
      });
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
      this.#options.log('info', 'scrub: no room to store how far it is');
    }
  }
}

function load(options: ScrubberOptions): Saved {
  const value = options.store.get(STATE_KEY);
  if (value === undefined) return emptyState(scrubRateDefault);
  try {
    return JSON.parse(Buffer.from(value).toString()) as Saved;
  } catch (error) {
    const reason = String(error);
    options.log('error', `scrub: what was stored of it is damaged, it is forgotten: ${reason}`);
    return emptyState(scrubRateDefault);
  }
}

function emptyState(bytesPerSecond: number): Saved {
  return {
    run: 0,
    state: 'idle',
    bytesPerSecond,
    cursor: { ...FIRST_CHUNK },
    checkedBytes: 0,
    checkedExtents: 0,
    damagedExtents: 0,
    skippedExtents: 0,
    startedAt: '',
    finishedAt: '',
    damage: [],
  };
}
