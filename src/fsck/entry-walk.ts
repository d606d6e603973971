/**
 * Directory entries in key order, of one target: each is held against its directory and the inode
 * that it names, and against the others of its hash, which must have the numbers 0, 1, 2, …
 */
import { nameHash44 } from '../placement/hash.js';
import { COLLISIONS, dentryKey } from '../server/keys.js';
import { Dentry, type NameHash } from '../server/dentries.js';
import { byteU64, S_IFDIR, S_IFMT } from '../server/inode-record.js';
import type { CheckState } from './check-state.js';
import type { Edit, Evidence } from './findings.js';
import { copyOf, printableName, removal, replacement } from './findings.js';
import { MARK_DAMAGED, MARK_HAS_ENTRIES } from './inode-book.js';
import { entryId } from './open-operations.js';
import type { StoreReader } from './store-reader.js';
import type { HashRange } from '../server/partitions/table.js';
import { entryProblem, typeName } from './values.js';

/** One entry, with copies of what the store lent. */
interface Entry {
  directory: number;
  cookie: number;
  inode: number;
  mode: number;
  name: Uint8Array;
  value: Uint8Array;
}

export class EntryWalk {
  readonly #state: CheckState;
  readonly #target: number;
  readonly #hash: NameHash;
  #directory = 0;
  #directoryRow = -1;
  /** The directory that it is, or is a partition of; the hashes that it holds. */
  #home = 0;
  #range: HashRange = { first: 0, end: 0 };
  /** Entries of one hash, in order. */
  #group: Entry[] = [];
  #groupHash = -1;
  /** Entries that no look-up finds: their place is found when the walk is done. */
  readonly #misplaced = new Set<Entry>();
  /** Entries that belong to another partition. */
  readonly #outside: Entry[] = [];

  constructor(state: CheckState, target: number) {
    this.#state = state;
    this.#target = target;
    this.#hash = state.cluster.nameHash ?? nameHash44;
  }

  /** In key order. */
  visit(directory: number, cookie: number, value: Uint8Array): void {
    const { book } = this.#state;
    if (directory !== this.#directory) {
      this.#endGroup();
      this.#directory = directory;
      this.#directoryRow = book.find(directory);
      this.#home = this.#state.partitions.homeOf(directory);
      this.#range = this.#state.partitions.rangeOf(directory);
      if (this.#directoryRow >= 0) book.mark(this.#directoryRow, MARK_HAS_ENTRIES);
      const home = book.find(this.#home);
      if (home >= 0) book.mark(home, MARK_HAS_ENTRIES);
    }
    const hash = Math.floor(cookie / COLLISIONS);
    if (hash !== this.#groupHash) {
      this.#endGroup();
      this.#groupHash = hash;
    }
    const copies = this.#state.pending.copies.get(directory);
    // What a partition that is being made has got so far is still another's.
    if (copies !== undefined && hash >= copies.first && hash < copies.end) return;
    this.#state.counts.entries++;
    const entry = {
      directory,
      cookie,
      inode: value.length < Dentry.name ? 0 : byteU64(value, Dentry.inode),
      mode: value.length < Dentry.name ? 0 : value[Dentry.mode]! | (value[Dentry.mode + 1]! << 8),
      name: copyOf(value.subarray(Dentry.name)),
      value: copyOf(value),
    };
    this.#group.push(entry);
    const problem = entryProblem(value);
    if (problem !== '') {
      const key = dentryKey(directory, cookie);
      const text = `an entry of directory ${directory} ${problem}`;
      this.#state.reportMalformed(this.#target, key, value, text, { directory });
      return;
    }
    this.#checkEntry(entry);
  }

  #checkEntry(entry: Entry): void {
    const { book, pending } = this.#state;
    const { directory, inode, name } = entry;
    const parent = this.#directoryRow;
    const first = this.#hash(name, 0, name.length) || 1;
    if (first !== this.#groupHash) this.#misplaced.add(entry);
    else if (
      (first < this.#range.first || first >= this.#range.end) &&
      !pending.tables.has(directory)
    ) {
      this.#outside.push(entry);
    }
    const row = book.find(inode);
    if (parent < 0 || !(book.isDirectory(parent) || book.has(parent, MARK_DAMAGED))) {
      this.#stray(entry, parent, row);
    }
    const becomes = pending.entries.get(entryId(directory, name));
    if (becomes !== undefined) {
      this.#becomes(entry, row, becomes);
      return;
    }
    if (row < 0) {
      this.#count(entry.mode, -1);
      this.#report(entry, 'dangling-entry', {
        text: `it names inode ${inode}, which is not there`,
        repair: 'remove the entry',
        edits: [removal(this.#target, dentryKey(directory, entry.cookie))],
        evidence: [this.#evidence(entry), this.#state.absent(inode)],
      });
      return;
    }
    this.#count(book.has(row, MARK_DAMAGED) ? entry.mode : book.modes[row]!, row);
    this.#addName(entry, row);
    if (book.has(row, MARK_DAMAGED)) return;
    this.#checkType(entry, row);
    this.#checkDirectoryName(entry, row);
  }

  #addName({ directory, cookie }: Entry, row: number): void {
    const { book } = this.#state;
    if (book.names[row] === 0) {
      book.entryDirectories[row] = directory;
      book.entryCookies[row] = cookie;
    }
    book.names[row]!++;
  }

  /** The directory's record still counts what it names; its inodes are judged by what it will name. */
  #becomes(entry: Entry, row: number, inode: number): void {
    this.#count(row < 0 ? entry.mode : this.#state.book.modes[row]!, row);
    const named = inode === 0 ? -1 : this.#state.book.find(inode);
    if (named >= 0) this.#addName(entry, named);
  }

  #count(mode: number, row: number): void {
    if ((mode & S_IFMT) !== S_IFDIR || this.#directoryRow < 0) return;
    // A root's name is removed, and counted by nobody.
    if (row >= 0 && this.#state.book.isRoot(row)) return;
    this.#state.book.subdirectories[this.#directoryRow]!++;
  }

  #checkType(entry: Entry, row: number): void {
    const type = this.#state.book.modes[row]! & S_IFMT;
    if (type === entry.mode) return;
    const value = copyOf(entry.value);
    value[Dentry.mode] = type & 0xff;
    value[Dentry.mode + 1] = type >>> 8;
    const key = dentryKey(entry.directory, entry.cookie);
    this.#report(entry, 'entry-type', {
      text: `it says ${typeName(entry.mode)}, but inode ${entry.inode} is ${typeName(type)}`,
      repair: `make it say ${typeName(type)}`,
      edits: [replacement(this.#target, key, value)],
      evidence: [this.#evidence(entry), this.#state.unchanged(row)],
    });
  }

  /** A directory has one name, a root none. */
  #checkDirectoryName(entry: Entry, row: number): void {
    const { book } = this.#state;
    if (!book.isDirectory(row)) return;
    if (book.isRoot(row)) {
      this.#report(entry, 'doubled-entry', {
        text: `it names inode ${entry.inode}, the root of a volume`,
        repair: 'remove the entry',
        edits: [removal(this.#target, dentryKey(entry.directory, entry.cookie))],
        evidence: [this.#evidence(entry), this.#state.unchanged(row)],
      });
    } else {
      const known = this.#state.directoryEntries.get(entry.inode);
      if (known !== undefined) known.push(this.#place(entry));
      else if (book.names[row]! > 1 || book.parents[row] !== this.#home) {
        this.#state.directoryEntries.set(entry.inode, [this.#place(entry)]);
      }
    }
  }

  #place(entry: Entry): DirectoryEntry {
    const { directory, cookie, name } = entry;
    return {
      target: this.#target,
      directory,
      cookie,
      name: printableName(name),
      value: entry.value,
    };
  }

  #stray(entry: Entry, parent: number, row: number): void {
    const key = dentryKey(entry.directory, entry.cookie);
    const about = parent < 0 ? this.#state.absent(entry.directory) : this.#state.unchanged(parent);
    // What it names goes on living under another name, or is not there either: nothing is lost.
    const edits = row < 0 ? [removal(this.#target, key)] : [];
    this.#report(entry, 'stray-entry', {
      text:
        parent < 0
          ? `it stands in directory ${entry.directory}, which is not there`
          : `it stands in inode ${entry.directory}, which is no directory`,
      repair: row < 0 ? 'remove the entry' : '',
      edits,
      evidence: [about, this.#evidence(entry)],
    });
  }

  #evidence(entry: Entry): Evidence {
    const key = dentryKey(entry.directory, entry.cookie).slice();
    return { target: this.#target, key, expect: entry.value };
  }

  #report(
    entry: Entry,
    kind:
      | 'dangling-entry'
      | 'stray-entry'
      | 'entry-type'
      | 'doubled-entry'
      | 'doubled-name'
      | 'collision-gap'
      | 'misplaced-entry'
      | 'outside-range',
    given: { text: string; repair: string; edits: Edit[]; evidence: Evidence[] },
  ): void {
    this.#state.report({
      ...given,
      kind,
      target: this.#target,
      inode: entry.inode,
      directory: entry.directory,
      name: printableName(entry.name),
    });
  }

  // ---------------------------------------------------------------- names of one hash

  #endGroup(): void {
    const group = this.#group;
    if (group.length === 0) return;
    const first = group[0]!.cookie - (group[0]!.cookie % COLLISIONS);
    if (group[group.length - 1]!.cookie !== first + group.length - 1) this.#gap(group, first);
    if (group.length > 1) this.#twice(group);
    this.#group = [];
  }

  /** Look-ups end at the gap; a misplaced name is moved to where it belongs, which may end it, too. */
  #gap(group: Entry[], first: number): void {
    const edits: Edit[] = [];
    const evidence: Evidence[] = [];
    const moved = group.filter((entry, index) => entry.cookie !== first + index);
    for (const entry of moved) {
      edits.push(removal(this.#target, dentryKey(entry.directory, entry.cookie)));
      evidence.push(this.#evidence(entry));
    }
    for (const [index, entry] of group.entries()) {
      if (entry.cookie === first + index) continue;
      const key = dentryKey(entry.directory, first + index);
      edits.push(replacement(this.#target, key, entry.value));
    }
    // What is misplaced leaves first: moved here, it would stand twice.
    const settles = !group.some((entry) => this.#misplaced.has(entry));
    const missing = group.findIndex((entry, index) => entry.cookie !== first + index);
    const gap = dentryKey(group[0]!.directory, first + missing).slice();
    evidence.push({ target: this.#target, key: gap, expect: null });
    this.#report(moved[0]!, 'collision-gap', {
      text: `collision number ${missing} of its hash is not there, so it is not found`,
      repair: 'close the gap',
      edits: settles ? edits : [],
      evidence,
    });
  }

  /** Look-ups find the first of two equal names. */
  #twice(group: Entry[]): void {
    const names = new Map<string, Entry>();
    for (const entry of group) {
      const name = Buffer.from(entry.name).toString('latin1');
      const other = names.get(name);
      if (other === undefined) {
        names.set(name, entry);
        continue;
      }
      const same = other.inode === entry.inode;
      const edits = same ? [removal(this.#target, dentryKey(entry.directory, entry.cookie))] : [];
      this.#report(entry, 'doubled-name', {
        text: same
          ? `the name stands twice, both times for inode ${entry.inode}`
          : `the name stands twice, for inodes ${other.inode} and ${entry.inode}; the second is hidden`,
        repair: same ? 'remove the second' : '',
        edits,
        evidence: [this.#evidence(other), this.#evidence(entry)],
      });
    }
  }

  /** No look-up comes here for this name: it is asked for in the partition that holds its hash. */
  async #reportOutside(entry: Entry): Promise<void> {
    const { partitions, cluster } = this.#state;
    const { directory, name, cookie } = entry;
    const hash = Math.floor(cookie / COLLISIONS);
    const place = partitions.placeOf(directory, hash);
    const target = this.#state.holderOfInode(place);
    const found = await findPlace(cluster.targets[target]!.reader, this.#hash, place, name);
    const isDouble = found.inode === entry.inode;
    const moves = found.cookie > 0 && place !== directory;
    const edits: Edit[] = [];
    if (moves || isDouble) edits.push(removal(this.#target, dentryKey(directory, cookie)));
    if (moves) edits.push(replacement(target, dentryKey(place, found.cookie), entry.value));
    this.#report(entry, 'outside-range', {
      text: `it stands in partition ${directory}, but its name is looked for in ${place}`,
      repair: moves ? 'move it there' : isDouble ? 'remove it' : '',
      edits,
      evidence: [this.#evidence(entry), partitions.evidence(directory)],
    });
  }

  /** After the walk: where the misplaced ones belong. */
  async finish(): Promise<void> {
    this.#endGroup();
    const { reader } = this.#state.cluster.targets[this.#target]!;
    for (const entry of this.#outside) await this.#reportOutside(entry);
    // Two for one place: the second goes to the next one in the next round.
    const taken = new Set<string>();
    for (const entry of this.#misplaced) {
      const { directory, name } = entry;
      const place = await findPlace(reader, this.#hash, directory, name);
      const isDouble = place.inode === entry.inode;
      const moves = place.cookie > 0 && !taken.has(`${directory} ${place.cookie}`);
      taken.add(`${directory} ${place.cookie}`);
      const edits: Edit[] = [];
      if (moves || isDouble) edits.push(removal(this.#target, dentryKey(directory, entry.cookie)));
      if (moves) {
        edits.push(replacement(this.#target, dentryKey(directory, place.cookie), entry.value));
      }
      const repair = place.cookie > 0 ? 'move it there' : isDouble ? 'remove it' : '';
      this.#report(entry, 'misplaced-entry', {
        text: 'it does not stand where its name is looked for',
        repair,
        edits,
        evidence: [this.#evidence(entry)],
      });
    }
  }
}

/** An entry of a directory that may have several, or another parent. */
export interface DirectoryEntry {
  target: number;
  directory: number;
  cookie: number;
  name: string;
  value: Uint8Array;
}

/** Where this name would go: a cookie, or 0 and the inode of the entry that has the name (0: no room). */
export async function findPlace(
  reader: StoreReader,
  hash: NameHash,
  directory: number,
  name: Uint8Array,
): Promise<{ cookie: number; inode: number }> {
  const first = (hash(name, 0, name.length) || 1) * COLLISIONS;
  for (let cookie = first; cookie < first + COLLISIONS; cookie++) {
    const value = await reader.get(dentryKey(directory, cookie));
    if (value === undefined) return { cookie, inode: 0 };
    if (Buffer.compare(value.subarray(Dentry.name), name) === 0) {
      return { cookie: 0, inode: byteU64(value, Dentry.inode) };
    }
  }
  return { cookie: 0, inode: 0 };
}
