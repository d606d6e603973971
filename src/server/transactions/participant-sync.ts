/**
 * fsync of what has halves on other targets: once all that was decided here is done there, the participants
 * are asked to make it power-safe.
 */
import { Opcode } from '../../protocol/wire.generated.js';
import type { CoordinatorHost } from './coordinator.js';
import { NumberOperation } from './messages.js';

const RETRY_MS = 1000;

interface Waiter {
  /** Decisions that are not done everywhere. */
  numbers: Set<number>;
  done: () => void;
}

export class ParticipantSync {
  readonly #host: CoordinatorHost;
  /** Participants of decisions that no sync has covered: of which decision last, counted. */
  readonly #unsynced = new Map<string, number>();
  #decisions = 0;
  #waiters: Waiter[] = [];
  #closed = false;

  constructor(host: CoordinatorHost) {
    this.#host = host;
  }

  decided(participants: readonly string[]): void {
    this.#decisions++;
    for (const id of participants) this.#unsynced.set(id, this.#decisions);
  }

  /** This decision is done everywhere. */
  done(number: number): void {
    for (const waiter of [...this.#waiters]) {
      if (!waiter.numbers.delete(number) || waiter.numbers.size > 0) continue;
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      this.#askAll(waiter.done);
    }
  }

  /** `done` when these decisions are done everywhere and power-safe there. */
  sync(undone: Iterable<number>, done: () => void): void {
    const numbers = new Set(undone);
    if (numbers.size === 0) this.#askAll(done);
    else this.#waiters.push({ numbers, done });
  }

  close(): void {
    this.#closed = true;
  }

  #askAll(done: () => void): void {
    const asked = [...this.#unsynced];
    let left = asked.length;
    if (left === 0) done();
    for (const [id, decision] of asked) {
      this.#ask(id, () => {
        // Unless it has had another one meanwhile. Until then, syncs that overlap each ask it.
        if (this.#unsynced.get(id) === decision) this.#unsynced.delete(id);
        if (--left === 0) done();
      });
    }
  }

  #ask(targetId: string, done: () => void): void {
    if (this.#closed) return;
    const peer = this.#host.peerOfTarget(targetId);
    const again = (): void => {
      this.#host.scheduler.setTimer(RETRY_MS, () => {
        this.#ask(targetId, done);
      });
    };
    if (peer === undefined) {
      again();
      return;
    }
    const operation = new NumberOperation(this.#host.arena, Opcode.Fsync, 0);
    operation.answered = (status) => {
      if (status === 0) done();
      else again();
    };
    peer.call(operation);
  }
}
