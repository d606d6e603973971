/**
 * Repairs: in rounds, each of which takes the edits of everything that has one right answer, under the
 * changes of the rounds before. What a round leaves behind (blocks of a chunk that went, the link count of
 * a directory that lost an entry) the next one finds. Nothing is written before the last round has
 * found nothing more to do; then each target's changes are one transaction.
 */
import { checkCluster } from './check.js';
import type { CheckResult, Finding } from './findings.js';
import { OverlayStore } from './overlay.js';
import type { FsckCluster } from './store-reader.js';

/** Each round mends what the one before left behind; a chain as long has not been seen. */
const ROUNDS_MAX = 12;

export interface RepairPlan {
  /** Of the first check: what was found. */
  first: CheckResult;
  /** What is left when all is written. */
  remaining: Finding[];
  /** By target: keys to put (or, undefined, to remove). */
  changes: [Uint8Array, Uint8Array | undefined][][];
}

/** Decides on all repairs; writes nothing. */
export async function planRepair(cluster: FsckCluster): Promise<RepairPlan> {
  const stores = cluster.targets.map(({ reader }) => new OverlayStore(reader));
  const targets = cluster.targets.map((target, i) => ({ ...target, reader: stores[i]! }));
  let result = await checkCluster({ ...cluster, targets });
  const first = result;
  // Checksums do not change with the metadata: they are read once.
  const later = targets.map(({ id, label, reader }) => ({ id, label, reader }));
  const unmended = first.findings.filter(
    ({ kind }) => kind === 'checksum' || kind === 'unreadable',
  );
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const edits = result.findings.flatMap((finding) => finding.edits);
    if (edits.length === 0) break;
    for (const edit of edits) await stores[edit.target]!.apply(edit);
    result = await checkCluster({ ...cluster, targets: later });
  }
  const remaining = result === first ? result.findings : [...unmended, ...result.findings];
  return { first, remaining, changes: stores.map((store) => store.changes()) };
}
