/**
 * What a simulated cluster has to bear: targets that are killed (or lose power) and start again,
 * nodes that are cut off from each other for a while.
 */
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import type { SimCluster } from './cluster.js';

/** Breaks, cuts and kills until told to stop, then leaves everything running and connected. */
export class Trouble {
  readonly #cluster: SimCluster;
  readonly #random: SimRandom;
  readonly #power: boolean;
  readonly #pauseMs: number;
  #strikes: number;
  #stopped = false;

  /** `power`: targets lose power. `pauseMs`: the longest time between two strikes. */
  constructor(
    cluster: SimCluster,
    seed: number,
    power: boolean,
    pauseMs = 300,
    strikes = Infinity,
  ) {
    this.#cluster = cluster;
    this.#strikes = strikes;
    this.#random = new SimRandom(seed);
    this.#power = power;
    this.#pauseMs = pauseMs;
    this.#next();
  }

  stop(): void {
    this.#stopped = true;
    this.#cluster.network.breakRate = 0;
  }

  #next(): void {
    this.#cluster.world.schedule(5 + this.#random.below(this.#pauseMs), () => {
      if (this.#stopped || this.#strikes-- <= 0) return;
      this.#strike();
      this.#next();
    });
  }

  #strike(): void {
    const { world, network, targets, clients } = this.#cluster;
    const target = targets[this.#random.below(targets.length)]!;
    const node = [...clients, ...targets][this.#random.below(clients.length + targets.length)]!;
    const forMs = 1 + this.#random.below(400);
    if (this.#random.chance(0.4)) {
      if (!target.running) return;
      if (this.#power) target.losePower();
      else target.kill();
      target.startAfter(forMs);
    } else if (node !== target) {
      network.partition(node.name, target.name);
      world.schedule(forMs, () => network.heal(node.name, target.name));
    }
  }
}
