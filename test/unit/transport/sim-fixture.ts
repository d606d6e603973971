/** The simulator as a fixture of the transport suite: two nodes of a world without faults. */
import { createPlainArena } from '../../../src/native/arena-memory.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';
import { SHAPE, type Side, type TransportFixture } from './endpoint.js';

export class SimFixture implements TransportFixture {
  readonly host = 'server';
  readonly #world = new SimWorld(1);
  readonly #network = new SimNetwork(this.#world);

  side(role: 'server' | 'client'): Side {
    const scheduler = new SimScheduler(this.#world, role);
    // The transport keeps one slot to receive in.
    const arena = createPlainArena({ ...SHAPE, messageSlots: SHAPE.messageSlots + 1 });
    const transport = new SimTransport(this.#network, role, scheduler, arena);
    return { arena, transport, scheduler };
  }

  runUntil(condition: () => boolean, forMs: number): Promise<boolean> {
    return this.#world.runAsync(condition, forMs);
  }

  close(): void {
    // Nothing outside the process's heap.
  }
}
