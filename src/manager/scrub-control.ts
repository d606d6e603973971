/**
 * What the manager wants of scrubs. The wish is kept in the store and handed to servers in the
 * answers to their heartbeats; targets tell how far they are in the heartbeats themselves, which
 * is only remembered while the manager runs.
 */
import type { ScrubStatus, ScrubWish } from '../common/manager-api.js';
import { scrubRateDefault } from '../common/manager-api.js';
import type { ClusterStore } from './cluster-store.js';
import { scrubKey } from './records.js';

type Targets = ScrubStatus['targets'];

export class ScrubControl {
  private readonly store: ClusterStore;
  private readonly wallMs: () => number;
  private current: ScrubWish | undefined;

  constructor(store: ClusterStore, wish: ScrubWish | undefined, wallMs: () => number) {
    this.store = store;
    this.wallMs = wallMs;
    this.current = wish;
  }

  /** Undefined until the first scrub: servers need not hear of it. */
  get wish(): ScrubWish | undefined {
    return this.current;
  }

  /**
   * `underWay`: the pass goes on, with another rate if one is given. A new pass is named by the time,
   * so that targets know it as new even from a manager that lost its store.
   */
  async start(underWay: boolean, bytesPerSecond?: number): Promise<void> {
    const before = this.current;
    const next = Math.max((before?.run ?? 0) + 1, Math.floor(this.wallMs() / 1000));
    const run = underWay && before !== undefined ? before.run : next;
    const kept = underWay ? before?.bytesPerSecond : undefined;
    const rate = bytesPerSecond ?? kept ?? scrubRateDefault;
    await this.take({ run, running: true, bytesPerSecond: rate });
  }

  /** The pass ends where it is. */
  async stop(): Promise<void> {
    if (this.current?.running !== true) return;
    await this.take({ ...this.current, running: false });
  }

  status(targets: Targets): ScrubStatus {
    const wish = this.current ?? { run: 0, running: false, bytesPerSecond: scrubRateDefault };
    const sum = (name: 'checkedBytes' | 'checkedExtents' | 'damagedExtents' | 'skippedExtents') =>
      targets.reduce((total, { scrub }) => {
        return total + (scrub?.run === wish.run ? scrub[name] : 0);
      }, 0);
    return {
      ...wish,
      state: stateOf(wish, targets),
      checkedBytes: sum('checkedBytes'),
      checkedExtents: sum('checkedExtents'),
      damagedExtents: sum('damagedExtents'),
      skippedExtents: sum('skippedExtents'),
      targets,
    };
  }

  private async take(wish: ScrubWish): Promise<void> {
    await this.store.commit([{ key: scrubKey, value: wish }]);
    this.current = wish;
  }
}

function stateOf(wish: ScrubWish, targets: Targets): ScrubStatus['state'] {
  if (wish.run === 0) return 'idle';
  const finished = targets.every(
    ({ scrub }) => scrub?.run === wish.run && scrub.state === 'finished',
  );
  if (finished && targets.length > 0) return 'finished';
  return wish.running ? 'running' : 'stopped';
}
