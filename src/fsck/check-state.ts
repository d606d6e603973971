/** What the parts of one check share: the cluster, its inodes, and what has been found so far. */
import { bucketCount } from '../protocol/limits.generated.js';
import { bucketOfInode } from '../placement/inode-number.js';
import { inodeKey, propertyKey } from '../server/keys.js';
import type { DirectoryEntry } from './entry-walk.js';
import type { Evidence, Finding, FindingKind } from './findings.js';
import { copyOf, newCounts, replacement } from './findings.js';
import { InodeBook } from './inode-book.js';
import { decisionId, PendingSteps } from './open-operations.js';
import type { PreparedStep } from './open-operations.js';
import { PartitionCheck } from './partition-check.js';
import type { FsckCluster } from './store-reader.js';
import type { TargetSpace } from './target-space.js';
import { storedNumber } from './values.js';

/** What `report` fills in where it is left out. */
type Given = Pick<Finding, 'kind' | 'target' | 'text'> &
  Partial<Omit<Finding, 'evidence'>> & { evidence?: Evidence[] | undefined };

const PROGRESS_PAIRS = 65_536;
/** Where a counter of transactions is set anew: of those before it records may be lost. */
const NUMBERS_AHEAD = 65_536;

export class CheckState {
  readonly cluster: FsckCluster;
  readonly book = new InodeBook();
  readonly findings: Finding[] = [];
  readonly counts = newCounts();
  /** Inodes of the orphan lists. */
  readonly orphans = new Map<number, number>();
  /** Of files whose data is being cut: from which byte on. */
  readonly cuts = new Map<number, number>();
  /** By bucket: the stored next sequence, and the greatest one in use. */
  readonly nextSequences = new Float64Array(bucketCount);
  readonly usedSequences = new Float64Array(bucketCount);
  readonly spaces: TargetSpace[] = [];
  /** Entries of directories that have several names, or one where their record does not say. */
  readonly directoryEntries = new Map<number, DirectoryEntry[]>();
  /** Steps of transactions under way, and the transactions that are decided. */
  readonly prepared: PreparedStep[] = [];
  readonly decisions = new Set<string>();
  /** By target's id: the number of its next transaction. */
  readonly nextTransactions = new Map<string, number>();
  /** What they explain. */
  readonly pending = new PendingSteps();
  readonly partitions = new PartitionCheck(this);
  /** Rows of partitions that no table names: with entries, or to be removed. */
  readonly strayPartitions = new Set<number>();

  constructor(cluster: FsckCluster) {
    this.cluster = cluster;
  }

  /** After the first walk: what transactions under way will have done. */
  settle(): void {
    for (const step of this.prepared) {
      const id = decisionId(step.coordinator, step.transaction);
      this.pending.add(step, this.decisions.has(id));
    }
    this.counts.openTransactions = this.prepared.length;
    for (const [target, { id }] of this.cluster.targets.entries()) this.#checkNumbers(target, id);
  }

  /** A number that came again would let a step of an old transaction be taken for one of a new. */
  #checkNumbers(target: number, id: string): void {
    const next = this.nextTransactions.get(id) ?? 0;
    let used = 0;
    for (const { coordinator, transaction } of this.prepared) {
      if (coordinator === id) used = Math.max(used, transaction);
    }
    for (const decision of this.decisions) {
      const [decider, number] = decision.split(' ');
      if (decider === id) used = Math.max(used, Number(number));
    }
    // Not a number: the property is damaged.
    if (next > used || (used === 0 && next === 0)) return;
    const key = propertyKey('transactions');
    const wanted = used + NUMBERS_AHEAD;
    this.report({
      kind: 'next-sequence',
      target,
      text: `the next transaction is ${next}, but ${used} is in use`,
      repair: `set it to ${wanted}`,
      edits: [replacement(target, key, storedNumber(wanted))],
      evidence: [{ target, key, expect: next === 0 ? null : storedNumber(next) }],
    });
  }

  report(given: Given): void {
    const { inode = 0, repair = '', edits = [], name = '' } = given;
    const id =
      given.id ??
      [given.kind, given.target, inode, given.directory ?? 0, name, given.text].join(' ');
    this.findings.push({
      ...given,
      inode,
      id,
      repair,
      edits,
      evidence: 'evidence' in given ? given.evidence : [],
    });
  }

  /** A value that is not what its format says. */
  reportMalformed(
    target: number,
    key: Uint8Array,
    value: Uint8Array,
    text: string,
    more: Partial<Finding> = {},
  ): void {
    const evidence = [{ target, key: copyOf(key), expect: copyOf(value) }];
    this.report({ kind: 'malformed', target, text, ...more, evidence });
  }

  holderOfInode(inode: number): number {
    return this.cluster.holderOf(bucketOfInode(inode));
  }

  /** The inode's record is absent. */
  absent(inode: number): Evidence {
    return this.#ofInode(inode, null);
  }

  /** The inode's record is there, whatever is in it. */
  present(inode: number): Evidence {
    return this.#ofInode(inode, 'there');
  }

  /** Nothing of the inode's names has changed since its row was read. */
  unchanged(row: number): Evidence {
    return this.#ofInode(this.book.inodes[row]!, {
      ctimeSeconds: this.book.ctimeSeconds[row]!,
      ctimeNanoseconds: this.book.ctimeNanoseconds[row]!,
    });
  }

  #ofInode(inode: number, expect: Evidence['expect']): Evidence {
    return { target: this.holderOfInode(inode), key: inodeKey(inode).slice(), expect };
  }

  counted(phase: string, target: number, pairs: number): void {
    if (pairs % PROGRESS_PAIRS === 0) this.cluster.onProgress?.(phase, target, pairs);
  }

  ofKind(kind: FindingKind): Finding[] {
    return this.findings.filter((finding) => finding.kind === kind);
  }
}
