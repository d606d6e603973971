/**
 * One step of a transaction at a participant: what is asked, and how it is written as the body of a
 * Prepare, which is also the record that the participant keeps (docs/transactions.md).
 */
import { PrepareRequest } from '../../protocol/wire.generated.js';
import {
  isU53,
  readI53,
  readU16,
  readU53,
  writeI53,
  writeU16,
  writeU53,
} from '../../protocol/u53.js';
import type { WireMemory } from '../namespace.js';

export const STEP_REMOVE_ENTRY = 1;
export const STEP_REPLACE_ENTRY = 2;
export const STEP_MAKE_DIR = 3;
export const STEP_DROP_DIR = 4;
export const STEP_ADD_LINK = 5;
export const STEP_DROP_LINK = 6;
export const STEP_SET_PARENT = 7;
export const STEP_TOUCH = 8;
export const STEP_TOKEN = 9;
export const STEP_MAKE_PARTITION = 11;
export const STEP_ADD_RANGE = 12;
export const STEP_INHERIT = 13;
export const STEP_ABSORB = 14;
export const STEP_REMOVE_RANGE = 15;
/** Not steps of a participant's. The coordinator asks upwards from a directory. */
export const STEP_WALK = 10;
/** The coordinator asks for a directory's table of partitions. */
export const STEP_TABLE = 16;
/** The coordinator has all leases on a directory and its entries here recalled. */
export const STEP_RECALL = 18;
/** The coordinator sends entries to a partition. */
export const STEP_MOVE = 17;
/** The coordinator asks a directory's partitions when they were last changed. */
export const STEP_CHANGED = 19;

/** What the client's marks of its own change cover, as if all of it lay on one target. */
export function isClientsOwn(step: number): boolean {
  return step <= STEP_TOUCH && step !== STEP_MAKE_DIR;
}

/** What an operation answers, below zero, when it can't be executed now; nothing has changed then. */
export const PENDING = -1;
/** Something is locked: `Namespace.blockedBy`. */
export const BLOCKED = -2;
/** What was prepared is no longer what is needed. */
export const AGAIN = -3;

/** Goes on when the disk is full. */
export function isFreeingStep(step: number): boolean {
  return step === STEP_REMOVE_ENTRY || step === STEP_DROP_DIR || step === STEP_DROP_LINK;
}

const noBytes: Uint8Array = new Uint8Array(0);

/** What a participant is asked; fields that a step does not use are 0 or empty. */
export class StepRequest {
  readonly step: number;
  /** The directory of an entry, or the inode itself. */
  readonly inode: number;
  /** The new inode of an entry; the parent of a directory; of a walk, the directory that moves. */
  other = 0;
  seconds = 0;
  nanoseconds = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  bucket = 0;
  /** Of a partition: its hashes are [first, end). */
  first = 0;
  end = 0;
  /** Whose request it is part of (Hello), where its own leases need no recall; else 0. */
  client = 0;
  name = noBytes;
  accessAcl = noBytes;
  defaultAcl = noBytes;

  constructor(step: number, inode: number) {
    this.step = step;
    this.inode = inode;
  }

  get bytes(): number {
    const { name, accessAcl, defaultAcl } = this;
    return PrepareRequest.SIZE + name.length + accessAcl.length + defaultAcl.length;
  }

  /** Whether the other one asks for the same, for whomever; times do not count. */
  equals(other: StepRequest): boolean {
    return (
      this.step === other.step &&
      this.inode === other.inode &&
      this.other === other.other &&
      this.mode === other.mode &&
      this.uid === other.uid &&
      this.gid === other.gid &&
      this.bucket === other.bucket &&
      this.first === other.first &&
      this.end === other.end &&
      Buffer.compare(this.name, other.name) === 0 &&
      Buffer.compare(this.accessAcl, other.accessAcl) === 0 &&
      Buffer.compare(this.defaultAcl, other.defaultAcl) === 0
    );
  }
}

/** Writes the body at `body`; its length. */
export function encodeStep(
  memory: WireMemory,
  body: number,
  transaction: number,
  coordinator: Uint8Array,
  step: StepRequest,
): number {
  const { words, bytes } = memory;
  writeU53(words, body + PrepareRequest.transaction, transaction);
  writeU53(words, body + PrepareRequest.inode, step.inode);
  writeU53(words, body + PrepareRequest.other, step.other);
  writeI53(words, body + PrepareRequest.seconds, step.seconds);
  words[(body + PrepareRequest.nanoseconds) >>> 2] = step.nanoseconds;
  words[(body + PrepareRequest.mode) >>> 2] = step.mode;
  words[(body + PrepareRequest.uid) >>> 2] = step.uid;
  words[(body + PrepareRequest.gid) >>> 2] = step.gid;
  words[(body + PrepareRequest.bucket) >>> 2] = step.bucket;
  writeU16(words, body + PrepareRequest.step, step.step);
  writeU16(words, body + PrepareRequest.coordinatorBytes, coordinator.length);
  writeU16(words, body + PrepareRequest.nameBytes, step.name.length);
  writeU16(words, body + PrepareRequest.accessAclBytes, step.accessAcl.length);
  writeU16(words, body + PrepareRequest.defaultAclBytes, step.defaultAcl.length);
  writeU16(words, body + PrepareRequest.reserved, 0);
  writeU53(words, body + PrepareRequest.first, step.first);
  writeU53(words, body + PrepareRequest.end, step.end);
  writeU53(words, body + PrepareRequest.client, step.client);
  let at = body + PrepareRequest.SIZE;
  for (const part of [coordinator, step.name, step.accessAcl, step.defaultAcl]) {
    bytes.set(part, at);
    at += part.length;
  }
  return at - body;
}

export interface DecodedStep {
  transaction: number;
  coordinator: string;
  request: StepRequest;
}

/** The step in these bytes, copied; undefined when they are not one. */
export function decodeStep(
  memory: WireMemory,
  body: number,
  bodyBytes: number,
): DecodedStep | undefined {
  const { words, bytes } = memory;
  if (bodyBytes < PrepareRequest.SIZE) return undefined;
  const { transaction, inode, other, first, end: rangeEnd, client } = PrepareRequest;
  for (const field of [transaction, inode, other, first, rangeEnd, client]) {
    if (!isU53(words, body + field)) return undefined;
  }
  const request = new StepRequest(
    readU16(words, body + PrepareRequest.step),
    readU53(words, body + inode),
  );
  request.other = readU53(words, body + other);
  request.seconds = readI53(words, body + PrepareRequest.seconds);
  request.nanoseconds = words[(body + PrepareRequest.nanoseconds) >>> 2]!;
  request.mode = words[(body + PrepareRequest.mode) >>> 2]!;
  request.uid = words[(body + PrepareRequest.uid) >>> 2]!;
  request.gid = words[(body + PrepareRequest.gid) >>> 2]!;
  request.bucket = words[(body + PrepareRequest.bucket) >>> 2]!;
  request.first = readU53(words, body + first);
  request.end = readU53(words, body + rangeEnd);
  request.client = readU53(words, body + client);
  let at = body + PrepareRequest.SIZE;
  const end = body + bodyBytes;
  const take = (field: number): Uint8Array => {
    const length = readU16(words, body + field);
    at += length;
    return bytes.slice(at - length, Math.min(at, end));
  };
  const coordinator = Buffer.from(take(PrepareRequest.coordinatorBytes)).toString('latin1');
  request.name = take(PrepareRequest.nameBytes);
  request.accessAcl = take(PrepareRequest.accessAclBytes);
  request.defaultAcl = take(PrepareRequest.defaultAclBytes);
  if (at > end || coordinator === '') return undefined;
  return { transaction: readU53(words, body + transaction), coordinator, request };
}
