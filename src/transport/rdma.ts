/** The rdma transport: `EngineTransport` over the rdma engine (native/rdma). */
import type { NativeArena } from '../native/arena.js';
import { createRdmaEngine, type NativeRdmaEngine } from '../native/rdma.js';
import type { Reactor } from '../native/reactor.js';
import { EngineTransport, type EngineTransportOptions } from './engine-transport.js';

export type RdmaOptions = EngineTransportOptions;

export class RdmaTransport extends EngineTransport {
  readonly kind = 'rdma';
  readonly #engine: NativeRdmaEngine;

  /**
   * Takes the receive areas that are left in the arena; there must be one. Throws SealfsError
   * UNSUPPORTED where rdma cannot be had; the message says why.
   */
  constructor(arena: NativeArena, reactor: Reactor, options: RdmaOptions = {}) {
    const engine = createRdmaEngine(arena.handle);
    super(engine, arena, reactor, options);
    this.#engine = engine;
  }

  /** For tests: breaks a connection as a failing network would; `onClose` follows. */
  breakQueuePair(connection: number): void {
    this.#engine.breakQueuePair(connection);
  }
}
