/**
 * What is prepared here and not resolved for a while: the coordinator is asked what became of it, again
 * and again until it answers. A coordinator that knows nothing of a transaction has not decided it and
 * never will (presumed abort).
 */
import type { Timer } from '../../common/scheduler.js';
import { Opcode, TransactionStatusReply } from '../../protocol/wire.generated.js';
import type { CoordinatorHost } from './coordinator.js';
import { NumberOperation } from './messages.js';
import type { Intent } from './participant.js';

const LOOK_MS = 250;
/** A transaction that takes longer is asked about. */
const OLD_MS = 1000;
const STATE_UNDER_WAY = 1;
const STATE_COMMITTED = 2;

export class IntentRecovery {
  readonly #host: CoordinatorHost;
  /** Asked about now: coordinator and number. */
  readonly #asked = new Set<string>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(host: CoordinatorHost) {
    this.#host = host;
  }

  start(): void {
    if (this.#timer === undefined && !this.#closed) this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #look(): void {
    const now = this.#host.scheduler.nowMs();
    for (const intent of this.#host.namespace.participant.intents) {
      if (now - intent.sinceMs >= OLD_MS) this.#ask(intent);
    }
    this.#timer = this.#host.scheduler.setTimer(LOOK_MS, () => {
      this.#look();
    });
  }

  #ask(intent: Intent): void {
    const { coordinator, transaction } = intent;
    const key = `${coordinator} ${transaction}`;
    if (this.#asked.has(key)) return;
    const peer = this.#host.peerOfTarget(coordinator);
    if (peer === undefined) return;
    this.#asked.add(key);
    const { arena } = this.#host;
    const operation = new NumberOperation(arena, Opcode.TransactionStatus, transaction);
    operation.answered = (status, body, bodyBytes) => {
      this.#asked.delete(key);
      if (this.#closed || status !== 0 || bodyBytes < TransactionStatusReply.SIZE) return;
      const state = arena.words[(body + TransactionStatusReply.state) >>> 2]!;
      if (state === STATE_UNDER_WAY) return;
      this.#host.enqueue(
        () => {
          const { participant } = this.#host.namespace;
          participant.resolve(coordinator, transaction, state === STATE_COMMITTED);
        },
        () => undefined,
      );
    };
    peer.call(operation);
  }
}
