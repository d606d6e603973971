/**
 * Directories in several partitions (docs/directories.md): the tables, the ranges, and which of the two
 * is right. Collected in the first walk; checked when all inodes and all transactions under way are known.
 *
 * The ranges of a directory's partitions, put together, are its table: where they leave no gap and do not
 * overlap, a table that is missing or says something else is made of them anew.
 */
import { FLAG_PARTITION, FLAG_SPLIT } from '../server/inode-record.js';
import { inodeKey, partitionsKey } from '../server/keys.js';
import {
  HASH_END,
  packTable,
  parseRange,
  parseTable,
  type HashRange,
  type PartitionRow,
  type PartitionTable,
} from '../server/partitions/table.js';
import type { CheckState } from './check-state.js';
import { recordEdit } from './edits.js';
import type { Edit, Evidence } from './findings.js';
import { copyOf, removal, replacement } from './findings.js';
import { MARK_DAMAGED } from './inode-book.js';

/** A value under a partitions key. */
interface Stored {
  target: number;
  value: Uint8Array;
}

const whole: HashRange = { first: 0, end: HASH_END };

export class PartitionCheck {
  readonly #state: CheckState;
  readonly #stored = new Map<number, Stored>();
  readonly #tables = new Map<number, PartitionTable>();
  readonly #ranges = new Map<number, HashRange>();
  /** Partitions by their directory, where there is any. */
  readonly #members = new Map<number, number[]>();

  constructor(state: CheckState) {
    this.#state = state;
  }

  /** In the first walk. */
  take(target: number, inode: number, value: Uint8Array): void {
    this.#stored.set(inode, { target, value: copyOf(value) });
  }

  isPartition(row: number): boolean {
    return row >= 0 && (this.#state.book.flags[row]! & FLAG_PARTITION) !== 0;
  }

  /** The directory that this inode is, or is a partition of. */
  homeOf(inode: number): number {
    const { book } = this.#state;
    const row = book.find(inode);
    return this.isPartition(row) ? book.parents[row]! : inode;
  }

  /** The hashes that this directory, or partition, holds itself. */
  rangeOf(inode: number): HashRange {
    const range = this.#ranges.get(inode);
    if (range !== undefined) return range;
    const rows = this.#tables.get(inode)?.rows;
    return rows === undefined ? whole : { first: 0, end: rows[1]?.first ?? HASH_END };
  }

  /** The partition that a name of this hash belongs to. */
  placeOf(directory: number, hash: number): number {
    const rows = this.#tables.get(this.homeOf(directory))?.rows;
    return rows?.findLast((row) => row.first <= hash)?.inode ?? this.homeOf(directory);
  }

  /** What says of a directory's table what it said in the first walk. */
  evidence(inode: number): Evidence {
    const target = this.#state.holderOfInode(inode);
    const key = partitionsKey(inode).slice();
    return { target, key, expect: this.#stored.get(inode)?.value ?? null };
  }

  /** When all inodes are known. */
  check(): void {
    const { book } = this.#state;
    for (const [inode, stored] of this.#stored) this.#parse(inode, stored);
    for (let row = 0; row < book.count; row++) {
      if (!this.isPartition(row) || book.has(row, MARK_DAMAGED)) continue;
      const directory = book.parents[row]!;
      const members = this.#members.get(directory) ?? [];
      members.push(book.inodes[row]!);
      this.#members.set(directory, members);
    }
    for (let row = 0; row < book.count; row++) {
      if (book.has(row, MARK_DAMAGED)) continue;
      if ((book.flags[row]! & FLAG_SPLIT) !== 0) this.#directory(row);
      else if (this.isPartition(row)) this.#partition(row);
    }
  }

  #isBusy(inode: number): boolean {
    const { pending } = this.#state;
    return pending.inodes.has(inode) || pending.tables.has(inode);
  }

  #parse(inode: number, { target, value }: Stored): void {
    const { book } = this.#state;
    const row = book.find(inode);
    if (row >= 0 && book.has(row, MARK_DAMAGED)) return;
    const flags = row < 0 ? 0 : book.flags[row]!;
    const key = partitionsKey(inode).slice();
    if ((flags & (FLAG_SPLIT | FLAG_PARTITION)) === 0) {
      if (this.#isBusy(inode)) return;
      const about = row < 0 ? this.#state.absent(inode) : this.#state.unchanged(row);
      this.#report(inode, target, {
        text: `a table of partitions of ${row < 0 ? 'an inode that is not there' : 'what has none'}`,
        repair: 'remove it',
        edits: [removal(target, key)],
        evidence: [about, { target, key, expect: value }],
      });
      return;
    }
    if ((flags & FLAG_PARTITION) !== 0) {
      const range = parseRange(value);
      if (range !== undefined) this.#ranges.set(inode, range);
      else this.#malformed(inode, target, value, 'its range cannot be taken apart');
      return;
    }
    const table = parseTable(value, inode);
    if (table !== undefined) this.#tables.set(inode, table);
  }

  #malformed(inode: number, target: number, value: Uint8Array, text: string): void {
    this.#state.reportMalformed(target, partitionsKey(inode), value, text, { inode });
  }

  /** A split directory: its table against its partitions. */
  #directory(row: number): void {
    const { book } = this.#state;
    const inode = book.inodes[row]!;
    if (this.#isBusy(inode)) return;
    const table = this.#tables.get(inode);
    const { copies, tables } = this.#state.pending;
    const members = (this.#members.get(inode) ?? []).filter((one) => {
      return !copies.has(one) && !tables.has(one);
    });
    const isMoving = [...members, ...(table?.rows ?? []).map((each) => each.inode)];
    if ((this.#members.get(inode) ?? []).some((one) => tables.has(one))) return;
    if (isMoving.some((one) => tables.has(one))) return;
    const isRight =
      table?.rows.slice(1).every((each, i) => {
        const end = table.rows[i + 2]?.first ?? HASH_END;
        const range = this.#ranges.get(each.inode);
        return members.includes(each.inode) && range?.first === each.first && range.end === end;
      }) ?? false;
    if (isRight) return;
    const lost = table?.rows.slice(1).filter((each) => book.find(each.inode) < 0) ?? [];
    for (const { first, inode: partition } of lost) this.#lost(inode, first, partition);
    // A table without it would hide that it was there.
    if (lost.length > 0) return;
    const rebuilt = this.#rebuilt(inode, members);
    const key = partitionsKey(inode).slice();
    const target = book.targets[row]!;
    const stored = this.#stored.get(inode);
    const made = { setSeconds: 0, setNanoseconds: 0, ...table, rows: rebuilt ?? [] };
    this.#report(inode, target, {
      text:
        stored === undefined
          ? 'it has no table of its partitions'
          : `its table of partitions ${table === undefined ? 'cannot be taken apart' : 'is not what they say'}`,
      repair: rebuilt === undefined ? '' : 'make it anew of their ranges',
      edits: rebuilt === undefined ? [] : this.#tableEdits(inode, target, made),
      evidence: [
        { target, key, expect: stored?.value ?? null },
        ...[...members, ...(table?.rows.slice(1) ?? []).map((each) => each.inode)].map((each) =>
          this.evidence(each),
        ),
      ],
    });
    if (rebuilt !== undefined) this.#tables.set(inode, made);
  }

  #tableEdits(inode: number, target: number, table: PartitionTable): Edit[] {
    if (table.rows.length > 1) {
      return [replacement(target, partitionsKey(inode), packTable(table))];
    }
    const holderOf = (bucket: number): number => this.#state.cluster.holderOf(bucket);
    return [
      removal(target, partitionsKey(inode)),
      recordEdit(holderOf, inode, { flagMask: FLAG_SPLIT, flags: 0 }),
    ];
  }

  /** The table that the partitions' ranges make; undefined: they do not fit together. */
  #rebuilt(directory: number, members: readonly number[]): PartitionRow[] | undefined {
    const rows: PartitionRow[] = [{ first: 0, inode: directory }];
    const ranged = members.map((inode) => ({ inode, range: this.#ranges.get(inode) }));
    ranged.sort((a, b) => (a.range?.first ?? 0) - (b.range?.first ?? 0));
    for (const [i, { inode, range }] of ranged.entries()) {
      const next = ranged[i + 1]?.range?.first ?? HASH_END;
      if (range === undefined || range.first === 0 || range.end !== next) return undefined;
      rows.push({ first: range.first, inode });
    }
    return rows;
  }

  #lost(directory: number, first: number, partition: number): void {
    const target = this.#state.holderOfInode(directory);
    this.#state.report({
      kind: 'lost-partition',
      target,
      inode: directory,
      text: `its partition ${partition}, from hash ${first} on, is not there`,
      evidence: [this.evidence(directory), this.#state.absent(partition)],
    });
  }

  /** A partition that its directory does not know. */
  #partition(row: number): void {
    const { book } = this.#state;
    const inode = book.inodes[row]!;
    const directory = book.parents[row]!;
    if (this.#isBusy(inode) || this.#isBusy(directory)) return;
    const rows = this.#tables.get(directory)?.rows ?? [];
    const home = book.find(directory);
    const isKnown = home >= 0 && rows.some((each) => each.inode === inode);
    if (isKnown || (home >= 0 && (book.flags[home]! & FLAG_SPLIT) !== 0 && rows.length === 0))
      return;
    const target = book.targets[row]!;
    this.#state.strayPartitions.add(row);
    this.#state.report({
      kind: 'stray-partition',
      target,
      inode,
      text: `a partition that directory ${directory} does not know`,
      evidence: [this.#state.present(inode), this.evidence(directory)],
    });
  }

  /** After the second walk: those of `strayPartitions` without entries can go. */
  dropEmpty(row: number): Edit[] {
    const inode = this.#state.book.inodes[row]!;
    const target = this.#state.book.targets[row]!;
    return [removal(target, inodeKey(inode)), removal(target, partitionsKey(inode))];
  }

  #report(
    inode: number,
    target: number,
    given: { text: string; repair: string; edits: Edit[]; evidence: Evidence[] },
  ): void {
    this.#state.report({ kind: 'partition-table', target, inode, ...given });
  }
}
