/** The main thread's end of a target's worker: starts it, hears of its state, stops it. */
import { Worker } from 'node:worker_threads';
import { SealfsError } from '../common/errors.js';
import type { ScrubWish } from '../common/manager-api.js';
import type { PlannedKind } from '../transport/select.js';
import type { ClusterMap } from '../placement/cluster-map.js';
import type {
  FromWorker,
  LogLevel,
  TargetState,
  ToWorker,
  WorkerStart,
} from './worker-messages.js';

export interface TargetThreadEvents {
  log(level: LogLevel, message: string): void;
  /** The thread ended without being asked to. */
  died(reason: string): void;
}

type Phase = 'starting' | 'listening' | 'running' | 'stopping' | 'gone';

interface Waiter {
  kind: FromWorker['kind'];
  resolve: (message: FromWorker) => void;
  reject: (error: Error) => void;
}

export class TargetThread {
  readonly start: WorkerStart;
  /** Where it listens, once it does; the preferred transport first. */
  endpoints: { kind: PlannedKind; port: number }[] = [];
  state: TargetState | undefined;
  readonly #worker: Worker;
  readonly #events: TargetThreadEvents;
  #phase: Phase = 'starting';
  #waiter: Waiter | undefined;
  #failure: Error | undefined;
  #scrubWish = '';

  constructor(start: WorkerStart, events: TargetThreadEvents) {
    this.start = start;
    this.#events = events;
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: start });
    this.#worker.on('message', (message: FromWorker) => {
      this.#onMessage(message);
    });
    this.#worker.on('error', (error) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#failure ??= new SealfsError('FAILED', `target ${start.index}: ${text}`);
    });
    this.#worker.on('exit', (code) => {
      this.#onExit(code);
    });
  }

  /** Resolves when it listens. Rejects with SealfsError. */
  async listening(): Promise<void> {
    const message = await this.#expect('listening');
    if (message.kind === 'listening') this.endpoints = message.endpoints;
    this.#phase = 'listening';
  }

  /** Opens stores and devices, and serves. Rejects with SealfsError. */
  async run(clusterId: string, map: ClusterMap | undefined): Promise<void> {
    const started = this.#expect('started');
    this.#send({ kind: 'start', clusterId, map });
    await started;
    this.#phase = 'running';
  }

  setMap(map: ClusterMap): void {
    if (this.#phase === 'running') this.#send({ kind: 'map', map });
  }

  /** What the manager wants of scrubs; said again when it was not heard. */
  setScrub(wish: ScrubWish): void {
    if (this.#phase !== 'running') return;
    const text = JSON.stringify(wish);
    if (text === this.#scrubWish) return;
    this.#scrubWish = text;
    this.#send({ kind: 'scrub', wish });
  }

  /** Resolves when everything is flushed and the thread is gone. Rejects when a flush failed. */
  async stop(): Promise<void> {
    if (this.#phase === 'gone') return;
    this.#phase = 'stopping';
    const stopped = this.#expect('stopped');
    this.#send({ kind: 'stop' });
    await stopped;
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #expect(kind: FromWorker['kind']): Promise<FromWorker> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) reject(this.#failure);
      else this.#waiter = { kind, resolve, reject };
    });
  }

  #onMessage(message: FromWorker): void {
    switch (message.kind) {
      case 'log':
        this.#events.log(message.level, message.message);
        return;
      case 'state':
        this.state = message.state;
        return;
      case 'failed':
        this.#failure ??= new SealfsError(message.code, message.message);
        this.#waiter?.reject(this.#failure);
        this.#waiter = undefined;
        return;
      case 'started':
        this.state = message.state;
        break;
      default:
        break;
    }
    if (this.#waiter?.kind !== message.kind) return;
    this.#waiter.resolve(message);
    this.#waiter = undefined;
  }

  #onExit(code: number): void {
    const asked = this.#phase === 'stopping';
    const running = this.#phase === 'running';
    this.#phase = 'gone';
    const reason = this.#failure?.message ?? `its thread ended with ${code}`;
    this.#failure ??= new SealfsError('FAILED', `target ${this.start.index}: ${reason}`);
    this.#waiter?.reject(this.#failure);
    this.#waiter = undefined;
    if (running && !asked) this.#events.died(reason);
  }
}
