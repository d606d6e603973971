/** Fixtures of transports over native engines: both ends on one reactor of this thread. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeArena } from '../../../src/native/arena.js';
import { Reactor } from '../../../src/native/reactor.js';
import { TcpTransport } from '../../../src/transport/tcp.js';
import type { Transport } from '../../../src/transport/transport.js';
import { SHAPE, type Side, type TransportFixture } from './endpoint.js';

const RETRY_MS = 2;

type MakeTransport = (arena: NativeArena, reactor: Reactor, role: 'server' | 'client') => Transport;

export class ReactorFixture implements TransportFixture {
  readonly reactor = new Reactor();
  readonly host: string;
  readonly #receiveAreas: number;
  readonly #make: MakeTransport;

  constructor(host: string, receiveAreas: number, make: MakeTransport) {
    this.host = host;
    this.#receiveAreas = receiveAreas;
    this.#make = make;
  }

  side(role: 'server' | 'client'): Side {
    const arena = new NativeArena({ ...SHAPE, receiveAreas: this.#receiveAreas });
    const transport = this.#make(arena, this.reactor, role);
    return { arena, transport, scheduler: this.reactor };
  }

  async runUntil(condition: () => boolean, forMs: number): Promise<boolean> {
    const deadline = performance.now() + forMs;
    while (!condition()) {
      if (performance.now() >= deadline) return false;
      await sleep(RETRY_MS);
    }
    return true;
  }

  close(): void {
    this.reactor.close();
  }
}

/** tcp over loopback. */
export function makeFixture(): ReactorFixture {
  return new ReactorFixture(
    '127.0.0.1',
    1,
    (arena, reactor) => new TcpTransport(arena, reactor, { connectTimeoutMs: 2000 }),
  );
}
