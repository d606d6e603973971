/**
 * What is under way in a cluster and explains what looks wrong: cuts of files, and transactions across
 * targets (docs/transactions.md). A prepared step whose coordinator has a decision record has happened,
 * only not here yet; one without has not happened, and leaves nothing but a new directory's inode.
 */
import { nameHash44 } from '../placement/hash.js';
import { PrepareRequest } from '../protocol/wire.generated.js';
import { COLLISIONS, dentryKey, ownRange } from '../server/keys.js';
import { Dentry } from '../server/dentries.js';
import { byteU64 } from '../server/inode-record.js';
import {
  decodeStep,
  STEP_ABSORB,
  STEP_ADD_RANGE,
  STEP_MAKE_DIR,
  STEP_MAKE_PARTITION,
  STEP_REMOVE_ENTRY,
  STEP_REPLACE_ENTRY,
  STEP_TOKEN,
  STEP_TOUCH,
} from '../server/transactions/step.js';
import type { FsckCluster } from './store-reader.js';
import { cutProblem } from './values.js';

/** A prepared step, as a target keeps it. */
export interface PreparedStep {
  /** Target's id and number: whose decision record says that it is done. */
  coordinator: string;
  transaction: number;
  step: number;
  /** Of its entry, or itself. */
  inode: number;
  /** The new inode of a replaced entry. */
  other: number;
  /** The inode that a MakeDir has made. */
  made: number;
  /** Of a partition: its hashes are [first, end). */
  first: number;
  end: number;
  name: Uint8Array;
}

/** Before the step: the inode that it made, u64. */
const RESULT_BYTES = 8;

/** The step in a prepared step's value; undefined: it is none. */
export function parsePrepared(value: Uint8Array): PreparedStep | undefined {
  if (value.length < RESULT_BYTES + PrepareRequest.SIZE) return undefined;
  const bytes = new Uint8Array(Math.ceil(value.length / 8) * 8);
  bytes.set(value);
  const memory = { bytes, words: new Uint32Array(bytes.buffer) };
  const decoded = decodeStep(memory, RESULT_BYTES, value.length - RESULT_BYTES);
  if (decoded === undefined) return undefined;
  const { coordinator, transaction, request } = decoded;
  const { step, inode, other, first, end, name } = request;
  const made = byteU64(value, 0);
  return { coordinator, transaction, step, inode, other, made, first, end, name };
}

export function isEntryStep({ step }: PreparedStep): boolean {
  return step === STEP_REMOVE_ENTRY || step === STEP_REPLACE_ENTRY;
}

/** Names an entry, and a decision: directory and name, target and number. */
export function entryId(directory: number, name: Uint8Array): string {
  return `${directory} ${Buffer.from(name).toString('latin1')}`;
}

export function decisionId(targetId: string, transaction: number): string {
  return `${targetId} ${transaction}`;
}

/** What decided steps will have done, and what undecided ones have made, in a store at rest. */
export class PendingSteps {
  /** Entries that are removed (0), or name this inode, as soon as their target is told. */
  readonly entries = new Map<string, number>();
  /** Inodes whose record is about to change, or go. */
  readonly inodes = new Set<number>();
  /** Directories, and partitions of theirs, whose table or range is about to change. */
  readonly tables = new Set<number>();
  /** By partition: from and up to which hash its entries are copies of another's, that do not count. */
  readonly copies = new Map<number, { first: number; end: number }>();

  add(prepared: PreparedStep, isDecided: boolean): void {
    const { step, inode, other, made, first, end, name } = prepared;
    if (step === STEP_MAKE_PARTITION || step === STEP_MAKE_DIR) {
      if (isDecided) return;
      this.inodes.add(made);
      if (step === STEP_MAKE_PARTITION) this.copies.set(made, { first, end });
    } else if (step === STEP_ABSORB) {
      this.tables.add(inode);
      if (isDecided) this.inodes.add(inode);
      else this.copies.set(inode, { first, end });
    } else if (isDecided && step === STEP_ADD_RANGE) {
      this.inodes.add(inode);
      this.tables.add(other);
    } else if (isDecided && isEntryStep(prepared)) {
      this.entries.set(entryId(inode, name), step === STEP_REPLACE_ENTRY ? other : 0);
    } else if (isDecided && step !== STEP_TOUCH && step !== STEP_TOKEN) this.inodes.add(inode);
  }
}

export interface OpenOperations {
  /** Files whose data is being cut. */
  cuts: Set<number>;
  /** Inodes that a prepared step concerns in any way. */
  busy: Set<number>;
}

/** At this moment of a cluster that runs. */
export async function openOperations(cluster: FsckCluster): Promise<OpenOperations> {
  const cuts = new Set<number>();
  const busy = new Set<number>();
  for (const { reader } of cluster.targets) {
    const steps: PreparedStep[] = [];
    const cutRange = ownRange('reclaim');
    await reader.scan(cutRange.start, cutRange.end, (_key, value) => {
      if (cutProblem(value) === '') cuts.add(byteU64(value, 0));
    });
    const { start, end } = ownRange('intent');
    await reader.scan(start, end, (_key, value) => {
      const step = parsePrepared(value);
      if (step !== undefined) steps.push(step);
    });
    for (const step of steps) {
      for (const inode of [step.inode, step.other, step.made]) if (inode !== 0) busy.add(inode);
      if (!isEntryStep(step)) continue;
      const hash = (cluster.nameHash ?? nameHash44)(step.name, 0, step.name.length) || 1;
      for (let i = 0; i < COLLISIONS; i++) {
        const value = await reader.get(dentryKey(step.inode, hash * COLLISIONS + i));
        if (value === undefined) break;
        if (value.length > Dentry.name) busy.add(byteU64(value, Dentry.inode));
      }
    }
  }
  return { cuts, busy };
}
