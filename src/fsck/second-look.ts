/**
 * In a cluster that runs, a walk sees each pair at another moment, so half of what looks wrong is only
 * being changed. What a finding rests on is therefore read again, twice, after a pause:
 *
 *   evidence ── cuts and transactions under way ── evidence
 *
 * A finding stands if every piece of its evidence is unchanged both times. That is proof: inode numbers
 * are never used again, an inode's ctime changes with each of its names, and a cut is on record
 * until the last chunk is gone. The sums of a target (blocks, counts) rest on too many pairs: they are
 * made anew, from a walk during which the target has committed nothing.
 */
import { Dentry } from '../server/dentries.js';
import { byteU64, InodeRecord } from '../server/inode-record.js';
import { CheckState } from './check-state.js';
import { walkContents } from './content-walk.js';
import type { Evidence, Finding } from './findings.js';
import { InodePass } from './inode-pass.js';
import { openOperations } from './open-operations.js';
import { KEY, ParsedKey } from './parsed-key.js';
import { END_OF_KEYS, START_OF_KEYS } from './store-reader.js';
import { viewOf } from './values.js';

/** Operations across targets, and cuts of small files, are done by then. */
const PAUSE_MS = 1500;
/** How often a target is walked in the hope that nothing is committed meanwhile. */
const RECOUNTS = 4;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export async function confirm(state: CheckState): Promise<Finding[]> {
  if (state.findings.length === 0) return [];
  await (state.cluster.pause ?? sleep)(PAUSE_MS);
  let standing = await unchanged(state, state.findings);
  const open = await openOperations(state.cluster);
  standing = standing.filter(({ inode, directory = 0, kind }) => {
    if (open.busy.has(inode) || open.busy.has(directory)) return false;
    return !(open.cuts.has(inode) && (kind === 'stray-chunk' || kind === 'beyond-size'));
  });
  standing = await unchanged(state, standing);
  return recount(state, await countNames(state, standing));
}

/** Those whose evidence is as it was. */
async function unchanged(state: CheckState, findings: readonly Finding[]): Promise<Finding[]> {
  const standing: Finding[] = [];
  for (const finding of findings) {
    let holds = true;
    for (const evidence of finding.evidence ?? []) {
      const { reader } = state.cluster.targets[evidence.target]!;
      holds &&= isAsExpected(await reader.get(evidence.key), evidence.expect);
    }
    if (holds) standing.push(finding);
  }
  return standing;
}

function isAsExpected(value: Uint8Array | undefined, expect: Evidence['expect']): boolean {
  if (expect === null) return value === undefined;
  if (value === undefined) return false;
  if (expect === 'there') return true;
  if (expect instanceof Uint8Array) return Buffer.compare(value, expect) === 0;
  if (value.length !== InodeRecord.SIZE) return false;
  const view = viewOf(value);
  const seconds = Number(view.getBigInt64(InodeRecord.ctimeSeconds, true));
  const nanoseconds = view.getUint32(InodeRecord.ctimeNanoseconds, true);
  return seconds === expect.ctimeSeconds && nanoseconds === expect.ctimeNanoseconds;
}

/**
 * An entry that moves to another partition of its directory is met twice, or never, and changes nothing of what
 * it names. So the names of what seems to have too many or too few are counted once more.
 */
async function countNames(state: CheckState, findings: readonly Finding[]): Promise<Finding[]> {
  const { book, cluster } = state;
  const names = new Map<number, number>();
  for (const { kind, inode } of findings) {
    const isCounted = kind === 'link-count' && !book.isDirectory(book.find(inode));
    if (isCounted || kind === 'orphan-inode') names.set(inode, 0);
  }
  if (names.size === 0) return [...findings];
  const parsed = new ParsedKey();
  for (const { reader } of cluster.targets) {
    await reader.scan(START_OF_KEYS, END_OF_KEYS, (key, value) => {
      parsed.parse(key);
      if (parsed.kind !== KEY.entry || value.length < Dentry.name) return;
      const inode = byteU64(value, Dentry.inode);
      const counted = names.get(inode);
      if (counted !== undefined) names.set(inode, counted + 1);
    });
  }
  return findings.filter(({ kind, inode }) => {
    const counted = names.get(inode);
    if (counted === undefined) return true;
    return kind === 'orphan-inode' ? counted === 0 : counted !== book.links[book.find(inode)];
  });
}

/**
 * The sums of the targets that have suspicious ones, made anew from a walk during which the target
 * committed nothing. Where there is no such walk, nothing is known of them.
 */
async function recount(state: CheckState, findings: readonly Finding[]): Promise<Finding[]> {
  const proved = findings.filter((finding) => !isSum(finding));
  for (const target of new Set(findings.filter(isSum).map((finding) => finding.target))) {
    const sums = await sumsAtRest(state, target);
    if (sums === undefined) state.counts.busyTargets++;
    else proved.push(...sums);
  }
  return proved;
}

async function sumsAtRest(state: CheckState, target: number): Promise<Finding[] | undefined> {
  const { reader } = state.cluster.targets[target]!;
  for (let attempt = 0; attempt < RECOUNTS; attempt++) {
    const before = await reader.version?.();
    const again = new CheckState({ ...state.cluster, running: false });
    await new InodePass(again, target).run();
    await walkContents(again, target);
    await again.spaces[target]!.finish(again);
    if ((await reader.version?.()) === before) return again.findings.filter(isSum);
    await (state.cluster.pause ?? sleep)(PAUSE_MS);
  }
  return undefined;
}

function isSum(finding: Finding): boolean {
  return finding.evidence === undefined;
}
