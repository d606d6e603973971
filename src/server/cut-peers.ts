/**
 * Asks peers to cut their parts of files. A peer does that at its own bounded rate, so few requests
 * of those that can wait are with it at a time: its other requests find their slots free.
 *
 *   ask ─┬─ urgent ──────────────────────────> Cut ─┬─ done
 *        └─ queue of the peer ─ up to IN_FLIGHT ──> │
 *                    ^──────── later, once more ────┘ an errno, or no peer
 */
import type { Scheduler } from '../common/scheduler.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import { CutOperation, type CutJob } from './cut-job.js';

const RETRY_MS = 1000;
/** Of one peer, of those that nobody waits for. */
const IN_FLIGHT = 8;

export interface CutPeersHost {
  readonly scheduler: Scheduler;
  readonly arena: { readonly words: Uint32Array };
  peerOf(member: number): RpcPeer | undefined;
  log(message: string): void;
}

interface Queue {
  /** In order of arrival. */
  readonly waiting: Set<CutJob>;
  inFlight: number;
}

export class CutPeers {
  readonly #host: CutPeersHost;
  readonly #done: (job: CutJob) => void;
  readonly #queues = new Map<number, Queue>();
  #closed = false;

  /** `done` is called once for each peer that has done its part of a job. */
  constructor(host: CutPeersHost, done: (job: CutJob) => void) {
    this.#host = host;
    this.#done = done;
  }

  /** `member`: its index in the cluster map. */
  ask(job: CutJob, member: number): void {
    if (job.urgent) {
      this.#send(job, member, undefined);
      return;
    }
    let queue = this.#queues.get(member);
    if (queue === undefined) {
      queue = { waiting: new Set(), inFlight: 0 };
      this.#queues.set(member, queue);
    }
    queue.waiting.add(job);
    this.#next(member, queue);
  }

  close(): void {
    this.#closed = true;
  }

  #next(member: number, queue: Queue): void {
    for (const job of queue.waiting) {
      if (queue.inFlight >= IN_FLIGHT) return;
      queue.waiting.delete(job);
      queue.inFlight++;
      this.#send(job, member, queue);
    }
  }

  /** Until it is done: a peer that is away is asked again, and keeps its place. */
  #send(job: CutJob, member: number, queue: Queue | undefined): void {
    if (this.#closed) return;
    const retry = (): void => {
      this.#host.scheduler.setTimer(RETRY_MS, () => {
        this.#send(job, member, queue);
      });
    };
    const peer = this.#host.peerOf(member);
    if (peer === undefined) {
      retry();
      return;
    }
    const operation = new CutOperation(job, this.#host.arena.words, (status) => {
      if (status !== 0) {
        if (this.#closed) return;
        const what = `cut of inode ${job.inode} at ${peer.targetId}`;
        this.#host.log(`${what}: errno ${status}, tried again`);
        retry();
        return;
      }
      this.#done(job);
      if (queue === undefined) return;
      queue.inFlight--;
      this.#next(member, queue);
    });
    peer.call(operation);
  }
}
