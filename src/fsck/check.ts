/**
 * One check of a whole cluster: two walks over all pairs of all targets, then the sums.
 *
 *   walk 1   inodes, what hangs on them, own records of the targets
 *   walk 2   entries and chunks, held against the inodes; extents against the bitmaps
 *   sums     link counts, parents, orphans, loops
 *
 * A store that stands still is read as it is. In a cluster that runs, what looks wrong is looked at
 * again (second-look.ts) before it is a finding.
 */
import { CheckState } from './check-state.js';
import { walkContents } from './content-walk.js';
import type { CheckResult } from './findings.js';
import { checkInodes, InodePass } from './inode-pass.js';
import { fillPaths } from './paths.js';
import { confirm } from './second-look.js';
import type { FsckCluster } from './store-reader.js';
import { TreeCheck } from './tree-check.js';

/** Reads everything, changes nothing. */
export async function checkCluster(cluster: FsckCluster): Promise<CheckResult> {
  const state = new CheckState(cluster);
  for (const target of cluster.targets.keys()) await new InodePass(state, target).run();
  checkInodes(state);
  for (const target of cluster.targets.keys()) {
    await walkContents(state, target);
    await state.spaces[target]!.finish(state);
  }
  await new TreeCheck(state).run();
  const findings = cluster.running ? await confirm(state) : state.findings;
  await fillPaths(state, findings);
  return { findings, counts: state.counts };
}
