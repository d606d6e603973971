/**
 * What the entries say of the inodes, when both walks are done: link counts, parents, inodes without
 * a name, directories with several, directories that no root leads to.
 */
import { nameHash44 } from '../placement/hash.js';
import { FLAG_SPLIT, FLAG_XATTRS, S_IFLNK, S_IFMT } from '../server/inode-record.js';
import {
  inodeKey,
  linkTargetKey,
  orphanKey,
  partitionsKey,
  xattrsKey,
  dentryKey,
} from '../server/keys.js';
import { Dentry } from '../server/dentries.js';
import type { CheckState } from './check-state.js';
import { recordEdit } from './edits.js';
import type { RecordChange } from './edits.js';
import { findPlace } from './entry-walk.js';
import type { DirectoryEntry } from './entry-walk.js';
import type { Edit } from './findings.js';
import { printableName, removal, replacement } from './findings.js';
import { MARK_DAMAGED, MARK_HAS_ENTRIES } from './inode-book.js';
import { storedNumber, viewOf } from './values.js';

const WAY_UNKNOWN = 0;
const WAY_BEING_WALKED = 1;
/** It ends at a root, or at something that is reported for itself. */
const WAY_KNOWN = 2;

export class TreeCheck {
  readonly #state: CheckState;
  /** Rows of the volumes' roots. */
  readonly #roots: number[] = [];

  constructor(state: CheckState) {
    this.#state = state;
  }

  async run(): Promise<void> {
    await this.#doubledDirectories();
    const { book } = this.#state;
    for (let row = 0; row < book.count; row++) {
      if (this.#isRoot(row) && !book.has(row, MARK_DAMAGED)) this.#roots.push(row);
    }
    for (let row = 0; row < book.count; row++) {
      if (book.has(row, MARK_DAMAGED) || this.#isBusy(book.inodes[row]!)) continue;
      if (this.#state.partitions.isPartition(row)) {
        this.#partition(row);
        continue;
      }
      if (this.#isRoot(row)) this.#root(row);
      else if (book.names[row] === 0) await this.#nameless(row);
      else this.#named(row);
    }
    this.#orphanList();
    this.#loops();
  }

  /** A transaction that is decided is about to change its record. */
  #isBusy(inode: number): boolean {
    return this.#state.pending.inodes.has(inode);
  }

  #isRoot(row: number): boolean {
    return this.#state.book.isRoot(row) && this.#state.book.isDirectory(row);
  }

  #edit(row: number, change: RecordChange): Edit {
    const holderOf = (bucket: number): number => this.#state.cluster.holderOf(bucket);
    return recordEdit(holderOf, this.#state.book.inodes[row]!, change);
  }

  /** A partition counts as a directory does; nothing names it but its directory's table. */
  #partition(row: number): void {
    const { book, strayPartitions, partitions } = this.#state;
    this.#linkCount(row, 2 + book.subdirectories[row]!);
    if (!strayPartitions.has(row) || book.has(row, MARK_HAS_ENTRIES)) return;
    const inode = book.inodes[row]!;
    for (const finding of this.#state.ofKind('stray-partition')) {
      if (finding.inode !== inode) continue;
      finding.repair = 'remove it: it is empty';
      finding.edits = partitions.dropEmpty(row);
    }
  }

  #root(row: number): void {
    const { book } = this.#state;
    if (book.parents[row] !== 0) this.#wrongParent(row, 0, "the root's");
    this.#linkCount(row, 2 + book.subdirectories[row]!);
  }

  #named(row: number): void {
    const { book } = this.#state;
    if (!book.isDirectory(row)) {
      this.#linkCount(row, book.names[row]!);
      return;
    }
    const parent = this.#state.partitions.homeOf(book.entryDirectories[row]!);
    const isThere = book.find(parent) >= 0;
    if (book.names[row] === 1 && book.parents[row] !== parent && isThere) {
      this.#wrongParent(row, parent, 'its');
    }
    this.#linkCount(row, 2 + book.subdirectories[row]!);
  }

  #wrongParent(row: number, parent: number, whose: string): void {
    const { book } = this.#state;
    this.#state.report({
      kind: 'wrong-parent',
      target: book.targets[row]!,
      inode: book.inodes[row]!,
      text: `${whose} record says that it stands in ${book.parents[row]}, but it stands in ${parent}`,
      repair: `set it to ${parent}`,
      edits: [this.#edit(row, { parent })],
      evidence: [this.#state.unchanged(row)],
    });
  }

  #linkCount(row: number, wanted: number): void {
    const { book } = this.#state;
    const stored = book.links[row]!;
    if (stored === wanted) return;
    this.#state.report({
      kind: 'link-count',
      target: book.targets[row]!,
      inode: book.inodes[row]!,
      text: `link count ${stored} instead of ${wanted}`,
      repair: `set it to ${wanted}`,
      edits: [this.#edit(row, { linkCount: wanted })],
      evidence: [this.#state.unchanged(row)],
    });
  }

  // ---------------------------------------------------------------- inodes without a name

  async #nameless(row: number): Promise<void> {
    const { book, orphans } = this.#state;
    const inode = book.inodes[row]!;
    if (orphans.has(inode)) {
      this.#linkCount(row, 0);
      return;
    }
    const target = book.targets[row]!;
    this.#state.report({
      kind: 'orphan-inode',
      target,
      inode,
      text: `${this.#describe(row)} without a name`,
      ...(this.#isWorthless(row) ? this.#drop(row) : await this.#giveName(row)),
      evidence: [
        this.#state.unchanged(row),
        { target, key: orphanKey(inode).slice(), expect: null },
      ],
    });
  }

  #describe(row: number): string {
    const { book } = this.#state;
    if (!book.isDirectory(row)) {
      return `a file of ${book.sizes[row]} bytes, link count ${book.links[row]},`;
    }
    return this.#isWorthless(row) ? 'an empty directory' : 'a directory with entries';
  }

  /** Nothing is lost with it. */
  #isWorthless(row: number): boolean {
    const { book } = this.#state;
    return book.isDirectory(row) ? !book.has(row, MARK_HAS_ENTRIES) : book.links[row] === 0;
  }

  #drop(row: number): { repair: string; edits: Edit[] } {
    const { book } = this.#state;
    const inode = book.inodes[row]!;
    const target = book.targets[row]!;
    const edits = [removal(target, inodeKey(inode))];
    if ((book.modes[row]! & S_IFMT) === S_IFLNK) edits.push(removal(target, linkTargetKey(inode)));
    if ((book.flags[row]! & FLAG_XATTRS) !== 0) edits.push(removal(target, xattrsKey(inode)));
    if ((book.flags[row]! & FLAG_SPLIT) !== 0) edits.push(removal(target, partitionsKey(inode)));
    return { repair: 'remove it: nothing is lost', edits };
  }

  /** Its own is lost: it gets one in the root of its volume, where its owner finds it. */
  async #giveName(row: number): Promise<{ repair: string; edits: Edit[] }> {
    const { book, cluster } = this.#state;
    const root = this.#rootFor(row);
    if (root < 0) return { repair: '', edits: [] };
    const name = Buffer.from(`lost+found.${book.inodes[row]}`);
    const hash = cluster.nameHash ?? nameHash44;
    const nameHash = hash(name, 0, name.length) || 1;
    const directory = this.#state.partitions.placeOf(book.inodes[root]!, nameHash);
    const target = this.#state.holderOfInode(directory);
    const { reader } = cluster.targets[target]!;
    const { cookie } = await findPlace(reader, hash, directory, name);
    if (cookie === 0) return { repair: '', edits: [] };
    const value = new Uint8Array(Dentry.name + name.length);
    value.set(storedNumber(book.inodes[row]!), Dentry.inode);
    viewOf(value).setUint16(Dentry.mode, book.modes[row]! & S_IFMT, true);
    value.set(name, Dentry.name);
    const edit = replacement(target, dentryKey(directory, cookie), value);
    return { repair: `name it /${name.toString()}`, edits: [edit] };
  }

  /** The root that its recorded parents lead to, else the only one there is; -1: not known. */
  #rootFor(row: number): number {
    const { book } = this.#state;
    const seen = new Set<number>();
    for (let at = row; at >= 0 && !seen.has(at); at = book.find(book.parents[at]!)) {
      if (this.#isRoot(at)) return at;
      if (!book.isDirectory(at)) break;
      seen.add(at);
    }
    return this.#roots.length === 1 ? this.#roots[0]! : -1;
  }

  #orphanList(): void {
    const { book, orphans } = this.#state;
    for (const [inode, target] of orphans) {
      const row = book.find(inode);
      if (this.#isBusy(inode) || (row >= 0 && book.names[row] === 0)) continue;
      if (row >= 0 && book.has(row, MARK_DAMAGED)) continue;
      const key = orphanKey(inode).slice();
      const about = row < 0 ? this.#state.absent(inode) : this.#state.unchanged(row);
      this.#state.report({
        kind: 'orphan-list',
        target,
        inode,
        text: `the orphan list names it, but it ${row < 0 ? 'is not there' : 'has a name'}`,
        repair: 'take it off the list',
        edits: [removal(target, key)],
        evidence: [about, { target, key, expect: 'there' }],
      });
    }
  }

  // ---------------------------------------------------------------- directories

  async #doubledDirectories(): Promise<void> {
    const { book, directoryEntries } = this.#state;
    for (const [inode, others] of directoryEntries) {
      const row = book.find(inode);
      if (row < 0 || book.names[row]! < 2 || this.#isBusy(inode)) continue;
      const entries = await this.#allEntries(row, others);
      const right = entries.filter((entry) => {
        return this.#state.partitions.homeOf(entry.directory) === book.parents[row];
      });
      const keep = right.length === 1 ? right[0]! : entries[0]!;
      for (const entry of entries) {
        if (entry !== keep) this.#doubled(row, entry, keep, right.length === 1);
      }
      book.entryDirectories[row] = keep.directory;
      book.entryCookies[row] = keep.cookie;
    }
  }

  /** The first one is kept as a place only. */
  async #allEntries(row: number, others: readonly DirectoryEntry[]): Promise<DirectoryEntry[]> {
    const { book, cluster } = this.#state;
    const directory = book.entryDirectories[row]!;
    const cookie = book.entryCookies[row]!;
    const isKnown = others.some((each) => each.directory === directory && each.cookie === cookie);
    if (isKnown) return [...others];
    const target = this.#state.holderOfInode(directory);
    const value = await cluster.targets[target]!.reader.get(dentryKey(directory, cookie));
    if (value === undefined) return [...others];
    const name = printableName(value.subarray(Dentry.name));
    return [{ target, directory, cookie, name, value }, ...others];
  }

  #doubled(row: number, entry: DirectoryEntry, keep: DirectoryEntry, removes: boolean): void {
    const inode = this.#state.book.inodes[row]!;
    const key = dentryKey(entry.directory, entry.cookie).slice();
    const other = dentryKey(keep.directory, keep.cookie).slice();
    const where = `entry ${keep.name} of directory ${keep.directory}`;
    this.#state.report({
      kind: 'doubled-entry',
      target: entry.target,
      inode,
      directory: entry.directory,
      name: entry.name,
      text: removes
        ? `directory ${inode} stands elsewhere, as its record says: ${where}`
        : `directory ${inode} has another name: ${where}`,
      repair: removes ? 'remove this entry' : '',
      edits: removes ? [removal(entry.target, key)] : [],
      evidence: [
        { target: entry.target, key, expect: entry.value },
        { target: keep.target, key: other, expect: keep.value },
        this.#state.unchanged(row),
      ],
    });
  }

  /** Directories that stand in one another. Each way up is walked once. */
  #loops(): void {
    const { book } = this.#state;
    const ways = new Uint8Array(book.count);
    for (let start = 0; start < book.count; start++) {
      if (!book.isDirectory(start) || ways[start] !== WAY_UNKNOWN) continue;
      const walked: number[] = [];
      let row = start;
      while (row >= 0 && ways[row] === WAY_UNKNOWN) {
        ways[row] = WAY_BEING_WALKED;
        walked.push(row);
        const ends = this.#isRoot(row) || book.names[row] === 0 || book.has(row, MARK_DAMAGED);
        const above = this.#state.partitions.homeOf(book.entryDirectories[row]!);
        row = ends ? -1 : book.find(above);
      }
      if (row >= 0 && ways[row] === WAY_BEING_WALKED) this.#loop(walked.slice(walked.indexOf(row)));
      for (const each of walked) ways[each] = WAY_KNOWN;
    }
  }

  #loop(rows: readonly number[]): void {
    const { book } = this.#state;
    const inodes = rows.map((row) => book.inodes[row]!);
    if (inodes.some((inode) => this.#isBusy(inode))) return;
    this.#state.report({
      kind: 'loop',
      target: book.targets[rows[0]!]!,
      inode: inodes[0]!,
      text: `directories that stand in one another, reached from no root: ${inodes.join(' in ')}`,
      id: `loop ${[...inodes].sort((a, b) => a - b).join(' ')}`,
      evidence: rows.map((row) => this.#state.unchanged(row)),
    });
  }
}
