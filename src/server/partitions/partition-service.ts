/** What a target has for directories that grow, as one part of it (docs/directories.md). */
import type { Target as Member } from '../../placement/cluster-map.js';
import type { CommitterOwn } from '../committer.js';
import type { LeaseService } from '../leases/lease-service.js';
import { Growth, SPLIT_ENTRIES } from './growth.js';
import { DirectorySums, type SumsHost } from './sums.js';
import { PARTITIONS_MAX } from './table.js';

/** More than one, so that their shares are alike whatever the number of targets. */
const PARTITIONS_PER_TARGET = 4;

export interface PartitionHost extends SumsHost {
  readonly lease: LeaseService;
}

/** Partitions that a directory may have in a cluster of these members. */
export function partitionsMax(members: readonly Member[], perTarget: number | undefined): number {
  const owners = members.filter((member) => member.weight > 0).length;
  // On one target pieces are of no use.
  if (perTarget === undefined && owners < 2) return 1;
  return Math.min(PARTITIONS_MAX, (perTarget ?? PARTITIONS_PER_TARGET) * owners);
}

export class PartitionService {
  readonly sums: DirectorySums;
  readonly #host: PartitionHost;
  readonly #growth: Growth;

  /** `splitEntries`: entries of a partition that is split. */
  constructor(host: PartitionHost, committer: CommitterOwn, splitEntries = SPLIT_ENTRIES) {
    this.#host = host;
    this.sums = new DirectorySums(host, host.lease.grants);
    this.#growth = new Growth(host.namespace, committer, splitEntries, (then) => {
      host.lease.grace.whenOver(then);
    });
  }

  close(): void {
    this.#growth.close();
    this.sums.close();
  }

  /** Counters by name. */
  report(): Record<string, number> {
    const { splits, merges } = this.#growth;
    return { directorySplits: splits, directoryMerges: merges };
  }

  /** `done`, never before this returns, when nobody holds a lease on the directory, or an entry of it. */
  recallAll(directory: number, done: () => void): void {
    const recalls = this.#host.lease.leases.recallAll(directory);
    let left = recalls.length + 1;
    const ended = (): void => {
      if (--left === 0) done();
    };
    for (const recall of recalls) recall.waiters.push(ended);
    this.#host.namespace.host.scheduler.setTimer(0, ended);
  }
}
