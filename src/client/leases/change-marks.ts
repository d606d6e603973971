/**
 * What this client itself is changing. Its own changes do not recall its own leases, so a copy must
 * not be believed while a change of the same thing is under way, and an answer must not be kept that may be
 * older than such a change: one whose request was sent before the change began or while it was under way.
 *
 *   clock  1    2    3    4    5
 *          ask ───────────────────> answer: not kept, the mark (5) is later than its stamp (1)
 *               begin ──────> end
 *               mark 2, busy  mark 5
 *
 * Things are marked by hash in a table of fixed size: a collision costs a request, never a wrong answer.
 *
 * Changes whose inode is not known beforehand (an unlink of a name that is not held) make the cache
 * blind for attributes while they last; so does a recall of a name that is just being changed here,
 * because the change then meets another inode than it was begun for.
 */
import { mixInode, mixPair } from '../../placement/hash.js';
import { Versions } from './versions.js';

const CELLS = 16_384;
/** Of versions alone: attributes of whatever inode. */
export const ANY_ATTRIBUTES = CELLS;
const SALT_INODE = 1;
const SALT_NAMES = 2;
const SALT_DELEGATION = 3;
const SALT_PERMISSIONS = 4;

export function inodeCell(inode: number): number {
  return mixInode(inode, SALT_INODE) & (CELLS - 1);
}

/** What permissions in a directory are made of. */
export function permissionsCell(directory: number): number {
  return mixInode(directory, SALT_PERMISSIONS) & (CELLS - 1);
}

/** All names of a directory together. */
export function namesCell(directory: number): number {
  return mixInode(directory, SALT_NAMES) & (CELLS - 1);
}

/** All names of a directory are recalled together. */
export function delegationCell(directory: number): number {
  return mixInode(directory, SALT_DELEGATION) & (CELLS - 1);
}

export function nameCell(directory: number, hash: number): number {
  const high = (hash / 4294967296) | 0;
  return mixPair(mixInode(directory, SALT_NAMES), (hash | 0) ^ high) & (CELLS - 1);
}

export class ChangeMarks {
  readonly versions = new Versions();
  /** Grows with each event. */
  #clock = 1;
  readonly #changed = new Float64Array(CELLS);
  readonly #busy = new Uint16Array(CELLS);
  #nameChanges = 0;
  #blindChanges = 0;
  #confused = false;

  /** The time of what is sent now. */
  get stamp(): number {
    return this.#clock;
  }

  /** A time that is later than all before. */
  tick(): number {
    return ++this.#clock;
  }

  /** No attributes are to be believed. */
  get blind(): boolean {
    return this.#blindChanges > 0 || this.#confused;
  }

  isBusy(cell: number): boolean {
    return this.#busy[cell] !== 0;
  }

  /** Nothing but `own` changes of the asker has concerned it since `stamp`. */
  isQuiet(cell: number, stamp: number, own: number): boolean {
    return this.#busy[cell] === own && this.#changed[cell]! <= stamp;
  }

  /** Answers that were asked for before are not to be kept. */
  mark(cell: number): void {
    this.#changed[cell] = ++this.#clock;
    this.versions.bump(cell);
  }

  /** The same for everything. */
  markAll(): void {
    this.#changed.fill(++this.#clock);
    this.versions.bumpAll();
  }

  begin(cell: number): void {
    this.#busy[cell]!++;
    this.mark(cell);
  }

  end(cell: number): void {
    this.#busy[cell]!--;
    this.mark(cell);
  }

  /** A name was recalled: if it is being changed here, nobody knows which inode that meets. */
  nameRecalled(cell: number): void {
    if (this.#busy[cell] === 0) return;
    this.#confused = true;
    this.versions.bump(ANY_ATTRIBUTES);
  }

  beginName(): void {
    this.#nameChanges++;
  }

  endName(): void {
    if (--this.#nameChanges === 0) this.#confused = false;
  }

  beginBlind(): void {
    this.#blindChanges++;
    this.versions.bump(ANY_ATTRIBUTES);
  }

  endBlind(): void {
    this.#blindChanges--;
    this.versions.bump(ANY_ATTRIBUTES);
  }
}

/**
 * One change of this client from its begin to its end: the cells that it keeps busy. Kept by pooled
 * operations; begins when something is added.
 */
export class OwnChange {
  readonly #marks: ChangeMarks;
  readonly #cells: number[] = [];
  /** Whose attributes it changes. */
  readonly inodes: number[] = [];
  /** Whose permissions. */
  readonly permissions: number[] = [];
  readonly #kept: number[] = [];
  /** Partition (or directory) and hash of each name. */
  readonly #homes: number[] = [];
  readonly #hashes: number[] = [];
  #names = 0;
  #blind = 0;
  /** Answers of requests that were sent after this know all that went before. */
  stamp = 0;

  constructor(marks: ChangeMarks) {
    this.#marks = marks;
  }

  get isActive(): boolean {
    return this.#cells.length > 0 || this.#blind > 0;
  }

  #add(cell: number): void {
    this.#marks.begin(cell);
    this.#cells.push(cell);
    this.stamp = this.#marks.stamp;
  }

  /** Before its request is sent, as the others: it changes the inode's attributes. */
  addInode(inode: number): void {
    this.inodes.push(inode);
    this.#add(inodeCell(inode));
  }

  /** It changes what permissions are made of, besides. */
  addPermissions(inode: number): void {
    this.permissions.push(inode);
    this.addInode(inode);
    this.#add(permissionsCell(inode));
  }

  /** `home`: the partition that is asked, whose number recalls of the name carry; else the directory. */
  addName(directory: number, home: number, hash: number): void {
    this.#marks.beginName();
    this.#names++;
    this.#homes.push(home);
    this.#hashes.push(hash);
    this.#add(nameCell(directory, hash));
    this.#add(namesCell(directory));
    if (home === directory) return;
    this.#add(nameCell(home, hash));
    this.#add(namesCell(home));
  }

  /**
   * It is sent again, to another partition. The stamp stays what it was: what the change was believed to
   * meet was believed before, so of a change that was sent again nothing is known.
   */
  movedTo(home: number, hash: number): void {
    const cell = nameCell(home, hash);
    if (this.#names === 0 || this.#cells.includes(cell)) return;
    this.#homes.push(home);
    this.#hashes.push(hash);
    for (const each of [cell, namesCell(home)]) {
      this.#marks.begin(each);
      this.#cells.push(each);
    }
  }

  /** The names that it gives, takes away or moves, wherever it was sent. */
  forEachName(visit: (home: number, hash: number) => void): void {
    for (let i = 0; i < this.#homes.length; i++) visit(this.#homes[i]!, this.#hashes[i]!);
  }

  /** It changes an inode that is not known. */
  addBlind(): void {
    this.#marks.beginBlind();
    this.#blind++;
  }

  /** How often this change itself has marked the cell. */
  own(cell: number): number {
    let own = 0;
    for (const each of this.#cells) if (each === cell) own++;
    return own;
  }

  /** Nobody else has touched it since the request was sent. */
  isQuiet(cell: number): boolean {
    return this.#marks.isQuiet(cell, this.stamp, this.own(cell));
  }

  /** It has met the inodes that its names were held to have: none was recalled meanwhile. */
  get areNamesQuiet(): boolean {
    if (this.#blind > 0) return false;
    for (const cell of this.#cells) if (!this.isQuiet(cell)) return false;
    return true;
  }

  /** What is known of the inode's attributes is what they are after the change. */
  keep(inode: number): void {
    this.#kept.push(inode);
  }

  isKept(inode: number): boolean {
    return this.#kept.includes(inode);
  }

  end(): void {
    const marks = this.#marks;
    for (const cell of this.#cells) marks.end(cell);
    for (; this.#names > 0; this.#names--) marks.endName();
    for (; this.#blind > 0; this.#blind--) marks.endBlind();
    this.#clear();
  }

  #clear(): void {
    this.#cells.length = 0;
    this.#homes.length = 0;
    this.#hashes.length = 0;
    this.inodes.length = 0;
    this.permissions.length = 0;
    this.#kept.length = 0;
    this.#names = 0;
    this.#blind = 0;
  }

  /** Given up without an answer: the marks are those of the change that is returned, which nobody ends but the caller. */
  abandon(): OwnChange {
    const left = new OwnChange(this.#marks);
    left.#cells.push(...this.#cells);
    left.#names = this.#names;
    left.#blind = this.#blind;
    this.#clear();
    return left;
  }
}
