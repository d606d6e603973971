/**
 * The first walk over a target's pairs: inodes with what hangs on them, and the target's own
 * records. Entries and chunks come in the second walk, when all inodes of the cluster are known.
 */
import { bucketOfInode, isInode, sequenceOfInode } from '../placement/inode-number.js';
import { firstSequence } from '../protocol/limits.generated.js';
import {
  byteU64,
  DIRECTORY_BYTES,
  FLAG_ACCESS_ACL,
  FLAG_CAPABILITY,
  FLAG_DEFAULT_ACL,
  FLAG_XATTRS,
  InodeRecord,
  S_IFLNK,
  S_IFMT,
} from '../server/inode-record.js';
import { linkTargetKey, nextSequenceKey, xattrsKey } from '../server/keys.js';
import type { CheckState } from './check-state.js';
import { recordEdit } from './edits.js';
import { copyOf, removal, replacement } from './findings.js';
import { MARK_ATTRIBUTES, MARK_DAMAGED, MARK_LINK_TARGET } from './inode-book.js';
import { decisionId, parsePrepared } from './open-operations.js';
import { hexOf, KEY, ParsedKey } from './parsed-key.js';
import { END_OF_KEYS, START_OF_KEYS } from './store-reader.js';
import { TargetSpace } from './target-space.js';
import {
  attributeFlags,
  batchStatusesProblem,
  cutProblem,
  inodeProblem,
  linkTargetProblem,
  numberProblem,
  sessionProblem,
  storedNumber,
  viewOf,
} from './values.js';

const ATTRIBUTE_FLAGS = FLAG_XATTRS | FLAG_ACCESS_ACL | FLAG_DEFAULT_ACL | FLAG_CAPABILITY;
const SEQUENCES_RESERVED = 1024;
const SESSION_ID_BYTES = 16;
const ABSENCE_BYTES = 2;

export class InodePass {
  readonly #state: CheckState;
  readonly #target: number;
  readonly #key = new ParsedKey();
  readonly #space: TargetSpace;
  /** Buckets that this target does not hold: how many keys they have here. */
  readonly #foreign = new Map<number, number>();
  #pairs = 0;

  constructor(state: CheckState, target: number) {
    this.#state = state;
    this.#target = target;
    this.#space = new TargetSpace(target);
    state.spaces[target] = this.#space;
  }

  async run(): Promise<void> {
    const { reader } = this.#state.cluster.targets[this.#target]!;
    await reader.scan(START_OF_KEYS, END_OF_KEYS, (key, value) => {
      this.#state.counted('inodes', this.#target, ++this.#pairs);
      this.#visit(key, value);
    });
    this.#state.counts.pairs += this.#pairs;
    this.#reportForeign();
  }

  #visit(key: Uint8Array, value: Uint8Array): void {
    const parsed = this.#key;
    parsed.parse(key);
    const { kind } = parsed;
    if (kind === 0) {
      const text = `the key ${hexOf(key)} is none of this format`;
      this.#state.reportMalformed(this.#target, key, value, text, { id: `key ${hexOf(key)}` });
      return;
    }
    if (parsed.bucket >= 0 && !this.#holds(parsed.bucket)) {
      this.#foreign.set(parsed.bucket, (this.#foreign.get(parsed.bucket) ?? 0) + 1);
      return;
    }
    switch (kind) {
      case KEY.inode:
        this.#inode(key, value);
        return;
      case KEY.linkTarget:
        this.#linkTarget(key, value);
        return;
      case KEY.attributes:
        this.#attributes(key, value);
        return;
      case KEY.partitions:
        this.#state.partitions.take(this.#target, parsed.inode, value);
        return;
      case KEY.entry:
      case KEY.chunk:
        return;
      default:
        this.#own(key, value);
    }
  }

  #holds(bucket: number): boolean {
    return this.#state.cluster.holderOf(bucket) === this.#target;
  }

  #reportForeign(): void {
    for (const [bucket, keys] of this.#foreign) {
      const holder = this.#state.cluster.holderOf(bucket);
      const label = this.#state.cluster.targets[holder]?.label ?? 'another target';
      const text = `${keys} keys of bucket ${bucket}, which belongs to ${label}`;
      const id = `foreign ${this.#target} ${bucket}`;
      this.#state.report({ kind: 'foreign-key', target: this.#target, text, id });
    }
  }

  // ---------------------------------------------------------------- inodes

  #inode(key: Uint8Array, value: Uint8Array): void {
    const { book, usedSequences, counts } = this.#state;
    const { inode, bucket } = this.#key;
    const row = book.add(inode);
    book.targets[row] = this.#target;
    this.#space.inodeRecords++;
    counts.inodes++;
    const sequence = sequenceOfInode(inode);
    if (sequence > usedSequences[bucket]!) usedSequences[bucket] = sequence;
    const problem = inodeProblem(value, inode);
    if (problem !== '') {
      book.mark(row, MARK_DAMAGED);
      this.#state.reportMalformed(this.#target, key, value, `the record ${problem}`, { inode });
      return;
    }
    const view = viewOf(value);
    book.modes[row] = view.getUint32(InodeRecord.mode, true);
    book.flags[row] = view.getUint32(InodeRecord.flags, true);
    book.links[row] = view.getUint32(InodeRecord.linkCount, true);
    book.sizes[row] = byteU64(value, InodeRecord.sizeBytes);
    book.parents[row] = byteU64(value, InodeRecord.parent);
    book.ctimeSeconds[row] = Number(view.getBigInt64(InodeRecord.ctimeSeconds, true));
    book.ctimeNanoseconds[row] = view.getUint32(InodeRecord.ctimeNanoseconds, true);
    if (book.isDirectory(row) && !this.#state.partitions.isPartition(row)) counts.directories++;
    this.#checkSize(row, byteU64(value, InodeRecord.blocks));
  }

  #checkSize(row: number, blocks: number): void {
    const { book } = this.#state;
    const size = book.sizes[row]!;
    const isDirectory = book.isDirectory(row);
    const wanted = isDirectory ? DIRECTORY_BYTES : size;
    if (size === wanted && blocks === Math.ceil(wanted / 512)) return;
    const inode = book.inodes[row]!;
    this.#state.report({
      kind: 'inode-size',
      target: this.#target,
      inode,
      text: isDirectory
        ? `a directory of ${size} bytes in ${blocks} blocks instead of ${DIRECTORY_BYTES} bytes`
        : `${blocks} blocks of 512 bytes for ${size} bytes`,
      repair: isDirectory ? `set it to ${DIRECTORY_BYTES} bytes` : 'set the blocks by the size',
      edits: [this.#recordEdit(inode, { sizeBytes: wanted })],
      evidence: [this.#state.unchanged(row)],
    });
  }

  #recordEdit(
    inode: number,
    change: Parameters<typeof recordEdit>[2],
  ): ReturnType<typeof recordEdit> {
    return recordEdit((bucket) => this.#state.cluster.holderOf(bucket), inode, change);
  }

  /** Keys of a bucket are in order of their kinds, so its inodes are known here. */
  #linkTarget(key: Uint8Array, value: Uint8Array): void {
    const { book } = this.#state;
    const { inode } = this.#key;
    const row = book.find(inode);
    if (row >= 0 && book.has(row, MARK_DAMAGED)) return;
    if (row < 0 || (book.modes[row]! & S_IFMT) !== S_IFLNK) {
      this.#leftover(key, 'symlink', 'the target of a symbolic link that is not there');
      return;
    }
    book.mark(row, MARK_LINK_TARGET);
    const problem = linkTargetProblem(value);
    if (problem !== '') {
      this.#state.reportMalformed(this.#target, key, value, `the link's target ${problem}`, {
        inode,
      });
      return;
    }
    if (book.sizes[row] === value.length) return;
    this.#state.report({
      kind: 'symlink',
      target: this.#target,
      inode,
      text: `size ${book.sizes[row]}, but the link's target has ${value.length} bytes`,
      repair: `set the size to ${value.length}`,
      edits: [this.#recordEdit(inode, { sizeBytes: value.length })],
      evidence: [
        this.#state.unchanged(row),
        { target: this.#target, key: copyOf(key), expect: copyOf(value) },
      ],
    });
  }

  /** A key beside an inode that is not there, or is another thing. */
  #leftover(key: Uint8Array, kind: 'symlink' | 'attributes', text: string): void {
    const { inode } = this.#key;
    const { book } = this.#state;
    const row = book.find(inode);
    const about = row < 0 ? this.#state.absent(inode) : this.#state.unchanged(row);
    this.#state.report({
      kind,
      target: this.#target,
      inode,
      text,
      repair: 'remove it',
      edits: [removal(this.#target, key)],
      evidence: [about, { target: this.#target, key: copyOf(key), expect: 'there' }],
    });
  }

  #attributes(key: Uint8Array, value: Uint8Array): void {
    const { book } = this.#state;
    const { inode } = this.#key;
    const row = book.find(inode);
    if (row < 0) {
      this.#leftover(key, 'attributes', 'extended attributes of an inode that is not there');
      return;
    }
    if (book.has(row, MARK_DAMAGED)) return;
    book.mark(row, MARK_ATTRIBUTES);
    const flags = attributeFlags(value);
    if (typeof flags === 'string') {
      const text = `the extended attributes' value ${flags}`;
      this.#state.reportMalformed(this.#target, key, value, text, { inode });
      return;
    }
    if ((book.flags[row]! & ATTRIBUTE_FLAGS) !== flags) {
      this.#reportFlags(row, flags, 'the flags are not those of its extended attributes');
    }
  }

  #reportFlags(row: number, flags: number, text: string): void {
    const { book } = this.#state;
    const inode = book.inodes[row]!;
    this.#state.report({
      kind: 'attributes',
      target: this.#target,
      inode,
      text,
      repair: 'set the flags by what is there',
      edits: [this.#recordEdit(inode, { flagMask: ATTRIBUTE_FLAGS, flags })],
      evidence: [this.#state.unchanged(row)],
    });
  }

  // ---------------------------------------------------------------- the target's own keys

  #own(key: Uint8Array, value: Uint8Array): void {
    switch (this.#key.kind) {
      case KEY.orphan:
        this.#orphan(key, value);
        return;
      case KEY.cut:
        this.#cut(key, value);
        return;
      case KEY.sequence:
        this.#sequence(key, value);
        return;
      case KEY.session:
        this.#ofSession(key, value, 'record', sessionProblem(value));
        return;
      case KEY.batchStatuses:
        this.#ofSession(key, value, "last batch's statuses", batchStatusesProblem(value));
        return;
      case KEY.holder:
        this.#holder(key, value);
        return;
      case KEY.prepared:
        this.#prepared(key, value);
        return;
      case KEY.decision: {
        const { id } = this.#state.cluster.targets[this.#target]!;
        this.#state.decisions.add(decisionId(id, this.#key.inode));
        return;
      }
      case KEY.region:
      case KEY.shared:
      case KEY.property:
        this.#space.takeOwn(this.#state, this.#key, key, value);
        return;
    }
  }

  #orphan(key: Uint8Array, value: Uint8Array): void {
    const { inode } = this.#key;
    if (value.length !== 0 || !isInode(inode) || !this.#holds(bucketOfInode(inode))) {
      const edits = [removal(this.#target, key)];
      const text = `the orphan list names inode ${inode}, which cannot be`;
      const more = { inode, repair: 'remove it from the list', edits };
      this.#state.reportMalformed(this.#target, key, value, text, more);
      return;
    }
    this.#state.orphans.set(inode, this.#target);
  }

  #cut(key: Uint8Array, value: Uint8Array): void {
    const problem = cutProblem(value);
    if (problem !== '') {
      const text = `cut intent ${this.#key.inode} ${problem}`;
      this.#state.reportMalformed(this.#target, key, value, text);
      return;
    }
    const inode = byteU64(value, 0);
    const fromByte = byteU64(value, 8);
    const known = this.#state.cuts.get(inode) ?? Infinity;
    this.#state.cuts.set(inode, Math.min(known, fromByte));
  }

  #prepared(key: Uint8Array, value: Uint8Array): void {
    const step = parsePrepared(value);
    if (step !== undefined) {
      this.#state.prepared.push(step);
      return;
    }
    const text = `prepared step ${this.#key.inode} cannot be taken apart`;
    const edits = [removal(this.#target, key)];
    const repair = 'remove it: it cannot be carried out';
    this.#state.reportMalformed(this.#target, key, value, text, { repair, edits });
  }

  #sequence(key: Uint8Array, value: Uint8Array): void {
    const { bucket } = this.#key;
    if (numberProblem(value) === '') {
      this.#state.nextSequences[bucket] = byteU64(value, 0);
      return;
    }
    const text = `the next sequence of bucket ${bucket} ${numberProblem(value)}`;
    const next = sequenceBeyond(this.#state.usedSequences[bucket]!);
    // Counted as what it is repaired to, so that it is not reported a second time.
    this.#state.nextSequences[bucket] = next;
    const edits = [replacement(this.#target, key, storedNumber(next))];
    this.#state.reportMalformed(this.#target, key, value, text, {
      repair: `set it to ${next}`,
      edits,
    });
  }

  #holder(key: Uint8Array, value: Uint8Array): void {
    if (value.length === 0 || value.length === ABSENCE_BYTES) return;
    const edits = [replacement(this.#target, key, new Uint8Array(0))];
    const session = `session ${hexOf(key.subarray(3))}, which may hold leases`;
    const text = `${session}, has an absence of ${value.length} bytes`;
    this.#state.reportMalformed(this.#target, key, value, text, { repair: 'empty it', edits });
  }

  #ofSession(key: Uint8Array, value: Uint8Array, what: string, problem: string): void {
    if (problem === '') return;
    const id = hexOf(key.subarray(3, 3 + SESSION_ID_BYTES));
    const edits = [removal(this.#target, key)];
    const repair = 'remove it: it answers no retransmission';
    const text = `the ${what} of session ${id} ${problem}`;
    this.#state.reportMalformed(this.#target, key, value, text, { repair, edits });
  }
}

/** The first number of a reservation that nothing up to `used` came from. */
function sequenceBeyond(used: number): number {
  const beyond = Math.max(0, used + 1 - firstSequence);
  return firstSequence + Math.ceil(beyond / SEQUENCES_RESERVED) * SEQUENCES_RESERVED;
}

/** After all targets: what should hang on an inode and does not; sequences that would come again. */
export function checkInodes(state: CheckState): void {
  const { book } = state;
  state.settle();
  state.partitions.check();
  for (let row = 0; row < book.count; row++) {
    if (book.has(row, MARK_DAMAGED)) continue;
    const inode = book.inodes[row]!;
    const target = book.targets[row]!;
    if ((book.modes[row]! & S_IFMT) === S_IFLNK && !book.has(row, MARK_LINK_TARGET)) {
      const missing = { target, key: linkTargetKey(inode).slice(), expect: null };
      const evidence = [state.present(inode), missing];
      const text = 'a symbolic link without a target';
      state.report({ kind: 'symlink', target, inode, text, evidence });
    }
    const flagged = (book.flags[row]! & ATTRIBUTE_FLAGS) !== 0;
    if (flagged && !book.has(row, MARK_ATTRIBUTES)) {
      const key = xattrsKey(inode).slice();
      state.report({
        kind: 'attributes',
        target,
        inode,
        text: 'its flags say that it has extended attributes, and there are none',
        repair: 'clear the flags',
        edits: [
          recordEdit((bucket) => state.cluster.holderOf(bucket), inode, {
            flagMask: ATTRIBUTE_FLAGS,
            flags: 0,
          }),
        ],
        evidence: [state.unchanged(row), { target, key, expect: null }],
      });
    }
  }
  checkSequences(state);
}

function checkSequences(state: CheckState): void {
  const { nextSequences, usedSequences, cluster } = state;
  for (let bucket = 0; bucket < usedSequences.length; bucket++) {
    const used = usedSequences[bucket]!;
    if (used < firstSequence || nextSequences[bucket]! > used) continue;
    const next = sequenceBeyond(used);
    const target = cluster.holderOf(bucket);
    const key = nextSequenceKey(bucket).slice();
    const stored = nextSequences[bucket]!;
    const found = stored === 0 ? 'not stored' : `${stored}`;
    state.report({
      kind: 'next-sequence',
      target,
      text: `the next sequence of bucket ${bucket} is ${found}, but ${used} is in use`,
      repair: `set it to ${next}`,
      edits: [replacement(target, key, storedNumber(next))],
      evidence: [{ target, key, expect: stored === 0 ? null : storedNumber(stored) }],
    });
  }
}
