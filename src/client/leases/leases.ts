/**
 * What targets have granted this client, and what may be answered from it (docs/leases.md). Policy over the two
 * tables (inode-cache.ts, name-cache.ts) and over the marks of own changes (change-marks.ts).
 *
 *   reply with a grant ── no own change near it ──> kept ── recall, own change, no room ──> forgotten
 *                                                     │
 *                     trusted (an Await was answered lately) ──> answers, and the kernel's validity
 *
 * Nothing here is ever wrong to forget: the target then recalls what is not held, and is answered all the same.
 */
import type { Scheduler } from '../../common/scheduler.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import {
  LEASE_DIRECTORY,
  LEASE_ENTRY,
  LEASE_INODE,
  LEASE_PERMISSIONS,
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
  NOTICE_PERMISSIONS,
} from '../../protocol/leases.js';
import { readU53 } from '../../protocol/u53.js';
import { Attributes } from '../../protocol/wire.generated.js';
import type { RpcPeer } from '../../transport/rpc-client.js';
import { ATTRIBUTES_WORDS, FLAG_SPLIT, S_IFDIR, S_IFMT, S_ISVTX } from '../attributes.js';
import {
  ANY_ATTRIBUTES,
  ChangeMarks,
  delegationCell,
  inodeCell,
  nameCell,
  namesCell,
  permissionsCell,
} from './change-marks.js';
import type { OwnChange } from './change-marks.js';
import { NONE } from './clock-table.js';
import type { Dependencies } from './dependencies.js';
import {
  INODE_COMPLETE,
  INODE_CURRENT,
  INODE_LEASED,
  INODE_PERMISSIONS,
  INODE_PERMITTED,
  InodeCache,
} from './inode-cache.js';
import { NameCache } from './name-cache.js';
import { VALID_AS_OPTIONS } from '../request.js';
import type { NameText } from './name-text.js';
import { SplitAttributes } from './split-attributes.js';

/** The kernel may answer itself for so long at most. */
export const KERNEL_TRUST_MS = 6000;
/** A directory whose inode could not be leased is not asked for sooner by who can do without. */
const SHARED_MS = 1000;
/** A change that was given up here may still happen there for so long. */
const ABANDONED_MS = 600_000;

export interface LeasesOptions {
  enabled: boolean;
  /** Records of each table; powers of two. */
  inodesMax: number;
  namesMax: number;
  scheduler: Scheduler;
  arena: ArenaMemory;
  peerOfInode(inode: number): RpcPeer;
  /** The partition of the directory that has names of this hash, as far as is known; else the directory. */
  homeOf(directory: number, hash: number): number;
}

export class LeaseCounters {
  /** Answers that cost no request. */
  attributesAnswered = 0;
  namesAnswered = 0;
  absentAnswered = 0;
  permissionsAnswered = 0;
  recalls = 0;
  /** Held now. */
  inodes = 0;
  names = 0;
  /** Of inodes: directories in partitions. */
  splitDirectories = 0;
}

/** Answer of `find`: ask the target. */
export const UNKNOWN = -1;
/** Of stickyOwnerOf: names are removed by whoever may write to the directory. */
export const NOT_STICKY = -2;

export class Leases {
  readonly enabled: boolean;
  readonly marks = new ChangeMarks();
  readonly counters = new LeaseCounters();
  /** The front end is about to believe a name for so long, by a lease of this partition of its directory. */
  onPartitionName: (home: number, forMs: number) => void = () => undefined;
  /** Directories in partitions whose attributes are held. */
  readonly splits: SplitAttributes;
  readonly #options: LeasesOptions;
  readonly #inodes: InodeCache;
  readonly #names: NameCache;
  #generations = 0;

  constructor(options: LeasesOptions) {
    this.enabled = options.enabled;
    this.#options = options;
    this.splits = new SplitAttributes({
      nowMs: () => options.scheduler.nowMs(),
      peerOfInode: (inode) => options.peerOfInode(inode),
      tick: () => this.marks.tick(),
    });
    this.#inodes = new InodeCache(options.inodesMax);
    this.#names = new NameCache(options.namesMax);
    this.#names.onEvicted = (slot) => {
      this.#nameEvicted(slot);
    };
  }

  /** With the numbers of what is held now. */
  report(): LeaseCounters {
    this.counters.inodes = this.#inodes.size;
    this.counters.names = this.#names.size;
    this.counters.splitDirectories = this.splits.size;
    return this.counters;
  }

  // ---------------------------------------------------------------- answers

  /** Milliseconds for which what this inode's target granted is believed; 0: not at all. */
  #trustMs(inode: number): number {
    const { trustedUntilMs } = this.#options.peerOfInode(inode);
    const until = Math.min(trustedUntilMs, this.splits.trustedUntilMs(inode));
    const left = until - this.#options.scheduler.nowMs();
    return left > 0 ? left : 0;
  }

  /** What is held of this inode, and of names in it, may be believed. */
  isTrusted(inode: number): boolean {
    return this.#trustMs(inode) > 0;
  }

  /** The inode of this name, 0: there is none, UNKNOWN: ask. */
  find(directory: number, name: NameText): number {
    if (!this.enabled) return UNKNOWN;
    const hash = name.hash44();
    const home = this.#options.homeOf(directory, hash);
    const at = this.#inodes.use(home);
    if (at === NONE) return UNKNOWN;
    const generation = this.#inodes.generation(at);
    if (generation === 0 || this.#trustMs(home) === 0) return UNKNOWN;
    const { marks } = this;
    if (marks.isBusy(nameCell(directory, hash))) return UNKNOWN;
    if (home !== directory && marks.isBusy(nameCell(home, hash))) return UNKNOWN;
    const slot = this.#names.find(home, hash, name.bytes, name.offset, name.lengthBytes);
    if (slot !== NONE && this.#names.generation(slot) === generation) {
      return this.#names.inode(slot);
    }
    return (this.#inodes.flags(at) & INODE_COMPLETE) !== 0 ? 0 : UNKNOWN;
  }

  /** Every name of the directory that is not known here does not exist, as far as is held. */
  holdsAllNames(directory: number): boolean {
    const slot = this.#inodes.find(directory);
    return slot !== NONE && (this.#inodes.flags(slot) & INODE_COMPLETE) !== 0;
  }

  /** Where the inode's attributes lie in `attributeWords` (bytes), if they may be believed; or NONE. */
  attributes(inode: number): number {
    const slot = this.#believed(inode, INODE_LEASED | INODE_CURRENT);
    return slot === NONE || this.marks.blind ? NONE : this.#inodes.attributes(slot);
  }

  /**
   * Where attributes of the directory lie of which only mode, owner, group and flags may be believed; or
   * NONE. Entries that come and go, whoever's, change nothing of those.
   */
  permissions(directory: number): number {
    const at = this.#permissionsOf(directory);
    if (at === NONE) return NONE;
    const mode = this.#inodes.words[(at + Attributes.mode) >>> 2]!;
    return (mode & S_IFMT) === S_IFDIR ? at : NONE;
  }

  /** The same of an inode of any kind: writes, whosever, change nothing of those. */
  #permissionsOf(inode: number): number {
    if (!this.enabled) return NONE;
    const slot = this.#inodes.use(inode);
    if (slot === NONE) return NONE;
    const flags = this.#inodes.flags(slot);
    const isHeld = (flags & (INODE_LEASED | INODE_PERMITTED)) !== 0;
    if (!isHeld || (flags & INODE_PERMISSIONS) === 0) return NONE;
    if (this.marks.isBusy(permissionsCell(inode))) return NONE;
    return this.#trustMs(inode) === 0 ? NONE : this.#inodes.attributes(slot);
  }

  /** Who owns the inode; UNKNOWN. */
  ownerOf(inode: number): number {
    const at = this.#permissionsOf(inode);
    return at === NONE ? UNKNOWN : this.#inodes.words[(at + Attributes.uid) >>> 2]!;
  }

  /** Who owns the directory if it is sticky: nobody else removes others' names; NOT_STICKY; UNKNOWN. */
  stickyOwnerOf(directory: number): number {
    const at = this.permissions(directory);
    if (at === NONE) return UNKNOWN;
    const { words } = this.#inodes;
    const isSticky = (words[(at + Attributes.mode) >>> 2]! & S_ISVTX) !== 0;
    return isSticky ? words[(at + Attributes.uid) >>> 2]! : NOT_STICKY;
  }

  /** S_IFMT bits of the inode, 0: not known here. They are the same for ever. */
  typeOf(inode: number): number {
    const slot = this.enabled ? this.#inodes.find(inode) : NONE;
    if (slot === NONE || (this.#inodes.flags(slot) & INODE_PERMISSIONS) === 0) return 0;
    return this.#inodes.words[(this.#inodes.attributes(slot) + Attributes.mode) >>> 2]! & S_IFMT;
  }

  /** Whether attributes that are asked for now may well be leased as a whole. */
  mayLeaseWhole(directory: number): boolean {
    const slot = this.#inodes.find(directory);
    if (slot === NONE || this.marks.blind || this.marks.isBusy(inodeCell(directory))) return false;
    if ((this.#inodes.flags(slot) & INODE_LEASED) !== 0) return true;
    const { scheduler } = this.#options;
    return scheduler.nowMs() - this.#inodes.permittedMs(slot) > SHARED_MS;
  }

  get attributeWords(): Uint32Array {
    return this.#inodes.words;
  }

  /** Nobody else changes the inode: what was learnt of it, and what was changed here, is true. */
  isLeased(inode: number): boolean {
    if (!this.enabled) return false;
    const slot = this.#inodes.use(inode);
    if (slot === NONE || (this.#inodes.flags(slot) & INODE_LEASED) === 0) return false;
    return this.#trustMs(inode) > 0;
  }

  #believed(inode: number, needed: number): number {
    if (!this.enabled) return NONE;
    const slot = this.#inodes.use(inode);
    if (slot === NONE || (this.#inodes.flags(slot) & needed) !== needed) return NONE;
    return this.marks.isBusy(inodeCell(inode)) || this.#trustMs(inode) === 0 ? NONE : slot;
  }

  /** `entryValidMs` of an answer that this name has this inode, or (0) that it is absent. */
  nameMs(directory: number, name: NameText, inode: number): number {
    if (!this.enabled) return VALID_AS_OPTIONS;
    return this.find(directory, name) === inode ? this.heldNameMs(directory, name) : 0;
  }

  /** The same of an answer that `find` has given just now. */
  heldNameMs(directory: number, name: NameText): number {
    const home = this.#options.homeOf(directory, name.hash44());
    const forMs = this.kernelMs(home);
    if (home !== directory) this.onPartitionName(home, forMs);
    return forMs;
  }

  /** `attributesValidMs` of an answer with attributes that are `held` or not. */
  attributesMs(inode: number, held: boolean): number {
    if (!this.enabled) return VALID_AS_OPTIONS;
    return held ? this.kernelMs(inode) : 0;
  }

  /** For how long the kernel may believe what is held of this inode, or of a name in it. */
  kernelMs(inode: number): number {
    return Math.min(KERNEL_TRUST_MS, this.#trustMs(inode));
  }

  // ---------------------------------------------------------------- who remembers answers

  /** Adds what the answer of `find` depends on, in one turn with it. */
  nameDependsOn(directory: number, name: NameText, to: Dependencies): void {
    const { versions } = this.marks;
    const hash = name.hash44();
    const home = this.#options.homeOf(directory, hash);
    if (this.find(directory, name) === UNKNOWN) to.spoil();
    to.add(nameCell(home, hash), versions);
    to.add(delegationCell(home), versions);
    to.limit(this.kernelMs(home));
  }

  /** The same of `permissions`. */
  permissionsDependOn(directory: number, to: Dependencies): void {
    const { versions } = this.marks;
    const slot = this.#inodes.find(directory);
    if (slot === NONE || this.permissions(directory) === NONE) {
      to.spoil();
      return;
    }
    to.add(permissionsCell(directory), versions);
    // Where they are leased with the inode they are recalled with it.
    if ((this.#inodes.flags(slot) & INODE_PERMITTED) === 0) to.add(inodeCell(directory), versions);
    to.limit(this.kernelMs(directory));
  }

  /** The same of `attributes`. */
  attributesDependOn(inode: number, to: Dependencies): void {
    const { versions } = this.marks;
    const at = this.attributes(inode);
    // Those of a directory in partitions depend on more than there is room for.
    const isSplit =
      at === NONE || (this.#inodes.words[(at + Attributes.flags) >>> 2]! & FLAG_SPLIT) !== 0;
    if (isSplit) {
      to.spoil();
      return;
    }
    to.add(inodeCell(inode), versions);
    to.add(ANY_ATTRIBUTES, versions);
    to.limit(this.kernelMs(inode));
  }

  /** What is shown of the inode's attributes is about to be something else, though no lease was lost. */
  shownAnew(inode: number): void {
    this.marks.versions.bump(inodeCell(inode));
  }

  // ---------------------------------------------------------------- learning

  /**
   * From a reply with the attributes at arena offset `at` and these lease flags, to a request sent at `stamp`.
   * `change`: the asker's own. True: held now.
   */
  learnInode(at: number, flags: number, stamp: number, change: OwnChange | null): boolean {
    if (!this.enabled) return false;
    const { words } = this.#options.arena;
    const inode = readU53(words, at + Attributes.inode);
    if ((flags & LEASE_INODE) === 0) this.forgetInode(inode);
    if ((flags & LEASE_PERMISSIONS) !== 0) this.#learnPermissions(inode, at, stamp);
    if ((flags & LEASE_INODE) === 0) return false;
    const cell = inodeCell(inode);
    const own = change === null ? 0 : change.own(cell);
    const isSplit = (words[(at + Attributes.flags) >>> 2]! & FLAG_SPLIT) !== 0;
    if (!this.marks.isQuiet(cell, stamp, own)) return false;
    if (isSplit && !this.splits.answered(inode, stamp)) return false;
    this.#keep(inode, at, INODE_LEASED | INODE_CURRENT | INODE_PERMISSIONS);
    change?.keep(inode);
    return true;
  }

  #keep(inode: number, at: number, flags: number): number {
    const slot = this.#inodes.add(inode);
    this.#inodes.setFlags(slot, this.#inodes.flags(slot) | flags);
    const to = this.#inodes.attributes(slot) >>> 2;
    const from = at >>> 2;
    const { words } = this.#options.arena;
    const kept = this.#inodes.words;
    for (let i = 0; i < ATTRIBUTES_WORDS; i++) kept[to + i] = words[from + i]!;
    return slot;
  }

  /** The directory itself is others', too. */
  #learnPermissions(directory: number, at: number, stamp: number): void {
    if (!this.marks.isQuiet(permissionsCell(directory), stamp, 0)) return;
    const known = this.#inodes.find(directory);
    const isCurrent = known !== NONE && (this.#inodes.flags(known) & INODE_CURRENT) !== 0;
    // What is known as a whole may be newer: an own change may have ended since.
    if (isCurrent) return;
    const slot = this.#keep(directory, at, INODE_PERMITTED | INODE_PERMISSIONS);
    this.#inodes.setPermittedMs(slot, this.#options.scheduler.nowMs());
  }

  /**
   * The name has this inode (0: it is absent), by a reply with these flags to a request sent at `stamp` to
   * the partition `home` (or the directory itself), whose leases they are. `change`: the asker's own, which
   * has made it so. True: held now.
   */
  learnName(
    directory: number,
    home: number,
    name: NameText,
    inode: number,
    flags: number,
    stamp: number,
    change: OwnChange | null,
  ): boolean {
    if (!this.enabled) return false;
    const hash = name.hash44();
    const quiet =
      this.#isNameQuiet(directory, hash, stamp, change) &&
      (home === directory || this.#isNameQuiet(home, hash, stamp, change)) &&
      this.#isCellQuiet(delegationCell(home), stamp, change);
    // Something newer is known, or will be: that one says what is to be forgotten.
    if (!quiet && change === null) return false;
    if (!quiet || (flags & LEASE_ENTRY) === 0) {
      this.#nameUncertain(home, name, hash);
      return false;
    }
    this.#setName(home, name, hash, inode);
    return true;
  }

  #isNameQuiet(directory: number, hash: number, stamp: number, change: OwnChange | null): boolean {
    return this.#isCellQuiet(nameCell(directory, hash), stamp, change);
  }

  /** The asker's own marks do not count: two of its cells may be the same. */
  #isCellQuiet(cell: number, stamp: number, change: OwnChange | null): boolean {
    return this.marks.isQuiet(cell, stamp, change === null ? 0 : change.own(cell));
  }

  #setName(directory: number, name: NameText, hash: number, inode: number): void {
    const at = this.#inodes.add(directory);
    let generation = this.#inodes.generation(at);
    if (generation === 0) {
      generation = ++this.#generations;
      this.#inodes.setGeneration(at, generation);
    }
    const { bytes, offset, lengthBytes } = name;
    if (inode === 0 && (this.#inodes.flags(at) & INODE_COMPLETE) !== 0) {
      const slot = this.#names.find(directory, hash, bytes, offset, lengthBytes);
      if (slot !== NONE) this.#names.remove(slot);
      return;
    }
    const slot = this.#names.add(directory, hash, bytes, offset, lengthBytes);
    this.#names.set(slot, inode, generation);
  }

  /** All names of the directory are held, and it is empty, by a reply with these flags. */
  learnEmpty(directory: number, flags: number, stamp: number): void {
    if (!this.enabled || (flags & LEASE_DIRECTORY) === 0) return;
    if (!this.#mayComplete(directory, stamp)) return;
    const at = this.#inodes.add(directory);
    this.#inodes.setGeneration(at, ++this.#generations);
    this.#inodes.setFlags(at, this.#inodes.flags(at) | INODE_COMPLETE);
  }

  #mayComplete(directory: number, stamp: number): boolean {
    const { marks } = this;
    const quiet = marks.isQuiet(namesCell(directory), stamp, 0);
    return quiet && marks.isQuiet(delegationCell(directory), stamp, 0);
  }

  // ---------------------------------------------------------------- listings

  /**
   * A listing from the beginning brings a lease on all names: returns their generation, for endListing; 0: it
   * does not.
   */
  beginListing(directory: number, flags: number, stamp: number): number {
    if (!this.enabled || (flags & LEASE_DIRECTORY) === 0) return 0;
    if (!this.#mayComplete(directory, stamp)) return 0;
    const at = this.#inodes.add(directory);
    if (this.#inodes.generation(at) === 0) this.#inodes.setGeneration(at, ++this.#generations);
    return this.#inodes.generation(at);
  }

  /**
   * The listing that began with a request sent at `stamp` has come to its end, and each name of it was learnt
   * (learnName): all names are held, if nothing of the directory was changed or recalled, and none went for
   * want of room (`evictions` as they were then).
   */
  endListing(directory: number, generation: number, stamp: number, evictions: number): void {
    const at = this.#inodes.find(directory);
    if (at === NONE || this.#inodes.generation(at) !== generation) return;
    if (evictions !== this.evictions || !this.#mayComplete(directory, stamp)) return;
    this.#inodes.setFlags(at, this.#inodes.flags(at) | INODE_COMPLETE);
  }

  /** Names that went for want of room, ever. */
  evictions = 0;

  // ---------------------------------------------------------------- own changes

  /**
   * The change is over: attributes of what it changed are old, but for what was learnt from its own
   * answer. `abandoned`: nobody knows whether and when it happens.
   */
  endChange(change: OwnChange, peer: RpcPeer | null, abandoned: boolean): void {
    if (!change.isActive) return;
    for (let i = 0; i < change.inodes.length; i++) {
      const inode = change.inodes[i]!;
      if (!change.isKept(inode)) this.outdate(inode);
    }
    for (const inode of change.permissions) {
      if (!change.isKept(inode)) this.#drop(inode, INODE_PERMISSIONS);
    }
    if (!abandoned || peer === null) {
      change.end();
      return;
    }
    // It may happen at any time: what is believed now is not to be believed when its marks are gone.
    change.forEachName((home, hash) => {
      this.#nameUnknown(home, hash);
    });
    // Also in a new session: what the target has begun on others goes on without the old one.
    const left = change.abandon();
    this.#options.scheduler.setTimer(ABANDONED_MS, () => {
      left.end();
    });
  }

  /** A name is to be given, taken away, or moved. */
  beginName(change: OwnChange, directory: number, name: NameText): void {
    const hash = name.hash44();
    change.addName(directory, this.#options.homeOf(directory, hash), hash);
  }

  /** A name is to be taken away, and with it a link of the inode that has it. */
  beginRemoval(change: OwnChange, directory: number, name: NameText): void {
    const inode = this.find(directory, name);
    change.addInode(directory);
    this.beginName(change, directory, name);
    if (inode > 0) change.addInode(inode);
    else if (inode === UNKNOWN) change.addBlind();
  }

  /** Its attributes are old; the lease on it stays. */
  outdate(inode: number): void {
    if (!this.enabled) return;
    this.shownAnew(inode);
    const slot = this.#inodes.find(inode);
    if (slot === NONE) return;
    this.#inodes.setFlags(slot, this.#inodes.flags(slot) & ~INODE_CURRENT);
  }

  /** Attributes of whatever these names had are old, if nobody knows for certain what that was. */
  outdateUnknown(change: OwnChange, isKnown: boolean): void {
    if (!this.enabled || (isKnown && change.areNamesQuiet)) return;
    this.marks.versions.bump(ANY_ATTRIBUTES);
    for (let slot = 0; slot < this.#inodes.capacity; slot++) {
      if (!this.#inodes.isUsed(slot)) continue;
      this.#inodes.setFlags(slot, this.#inodes.flags(slot) & ~INODE_CURRENT);
    }
  }

  /**
   * A directory got a name here, together with the inode whose Attributes lie at `at`: that one's
   * time of birth is the time of the directory's change.
   */
  directoryChanged(directory: number, at: number, change: OwnChange): void {
    const seconds = at + Attributes.ctimeSeconds;
    this.directoryTimes(directory, seconds, at + Attributes.ctimeNanoseconds, change);
  }

  /**
   * A directory has changed here, at the time that stands at these places, by an answer that came in its turn.
   * Other own changes of it may be under way, or have begun and ended meanwhile: answers come in the order of
   * execution, and a change whose effect is not noted here makes the attributes old.
   */
  directoryTimes(directory: number, seconds: number, nanoseconds: number, change: OwnChange): void {
    if (!this.enabled) return;
    const slot = this.#inodes.find(directory);
    if (slot === NONE) return;
    const needed = INODE_LEASED | INODE_CURRENT;
    if ((this.#inodes.flags(slot) & needed) !== needed) return;
    const from = this.#options.arena.words;
    const to = this.#inodes.words;
    const own = this.#inodes.attributes(slot);
    // Of the times of several targets the latest is shown: whatever that is now.
    if ((to[(own + Attributes.flags) >>> 2]! & FLAG_SPLIT) !== 0) return;
    change.keep(directory);
    for (const field of [Attributes.mtimeSeconds, Attributes.ctimeSeconds]) {
      to[(own + field) >>> 2] = from[seconds >>> 2]!;
      to[(own + field + 4) >>> 2] = from[(seconds + 4) >>> 2]!;
    }
    for (const field of [Attributes.mtimeNanoseconds, Attributes.ctimeNanoseconds]) {
      to[(own + field) >>> 2] = from[nanoseconds >>> 2]!;
    }
  }

  /**
   * The name was taken away, or given to another inode (null: nobody knows which), by a change of this client
   * that succeeded, in the partition `home` (or the directory itself): what is leased stays so.
   */
  nameChanged(home: number, name: NameText, inode: number | null, change: OwnChange): void {
    if (!this.enabled) return;
    const at = this.#inodes.find(home);
    const hash = name.hash44();
    const generation = at === NONE ? 0 : this.#inodes.generation(at);
    const complete = at !== NONE && (this.#inodes.flags(at) & INODE_COMPLETE) !== 0;
    const { bytes, offset, lengthBytes } = name;
    const slot = this.#names.find(home, hash, bytes, offset, lengthBytes);
    const leased = slot !== NONE && generation !== 0 && this.#names.generation(slot) === generation;
    const quiet = change.isQuiet(nameCell(home, hash));
    if (inode === null || !quiet || !(leased || complete)) this.#nameUncertain(home, name, hash);
    else this.#setName(home, name, hash, inode);
  }

  /** Nothing is known of names with this hash. */
  #nameUnknown(directory: number, hash: number): void {
    this.#forgetHash(directory, hash);
    const at = this.#inodes.find(directory);
    if (at !== NONE) this.#inodes.setFlags(at, this.#inodes.flags(at) & ~INODE_COMPLETE);
  }

  /** Nothing is known of this name; where all names are held the others still are. */
  #nameUncertain(directory: number, name: NameText, hash: number): void {
    const at = this.#inodes.find(directory);
    if (at === NONE || (this.#inodes.flags(at) & INODE_COMPLETE) === 0) {
      this.#forgetHash(directory, hash);
      return;
    }
    const slot = this.#names.add(directory, hash, name.bytes, name.offset, name.lengthBytes);
    this.#names.set(slot, UNKNOWN, this.#inodes.generation(at));
  }

  #forgetHash(directory: number, hash: number): void {
    for (;;) {
      const slot = this.#names.findHash(directory, hash);
      if (slot === NONE) return;
      this.#names.remove(slot);
    }
  }

  /** Nothing is held of the inode itself; names in it stay, and permissions. */
  forgetInode(inode: number): void {
    this.#drop(inode, INODE_LEASED | INODE_CURRENT);
  }

  #drop(inode: number, bits: number): void {
    const slot = this.#inodes.find(inode);
    if (slot === NONE) return;
    const flags = this.#inodes.flags(slot) & ~bits;
    const isNothing = (flags & ~INODE_PERMISSIONS) === 0;
    if (isNothing && this.#inodes.generation(slot) === 0) this.#inodes.remove(slot);
    else this.#inodes.setFlags(slot, flags);
  }

  // ---------------------------------------------------------------- recalls

  /** What a notice names is held no more. */
  recall(kind: number, inode: number, hash: number): void {
    this.counters.recalls++;
    if (kind === NOTICE_INODE) {
      this.marks.mark(inodeCell(inode));
      this.forgetInode(inode);
      const directory = this.splits.lost(inode);
      if (directory !== 0) this.forgetInode(directory);
    } else if (kind === NOTICE_PERMISSIONS) {
      this.marks.mark(permissionsCell(inode));
      this.#drop(inode, INODE_PERMITTED);
    } else if (kind === NOTICE_ENTRY) {
      const cell = nameCell(inode, hash);
      this.marks.nameRecalled(cell);
      this.marks.mark(cell);
      this.marks.mark(namesCell(inode));
      this.#nameUnknown(inode, hash);
    } else if (kind === NOTICE_DIRECTORY) {
      this.#recallDirectory(inode);
    }
  }

  #recallDirectory(directory: number): void {
    // Which names are being changed in it is not looked up.
    this.marks.nameRecalled(namesCell(directory));
    this.marks.mark(namesCell(directory));
    this.marks.mark(delegationCell(directory));
    const slot = this.#inodes.find(directory);
    if (slot === NONE) return;
    this.#inodes.setGeneration(slot, 0);
    const flags = this.#inodes.flags(slot) & ~INODE_COMPLETE;
    if ((flags & ~INODE_PERMISSIONS) === 0) this.#inodes.remove(slot);
    else this.#inodes.setFlags(slot, flags);
  }

  /**
   * The peer's target has forgotten this client: nothing of it is held any more. `forgotten` hears of
   * each inode whose attributes were.
   */
  newSession(peer: RpcPeer, forgotten: (inode: number) => void): void {
    this.marks.markAll();
    const inodes = this.#inodes;
    for (let slot = 0; slot < inodes.capacity; slot++) {
      if (!inodes.isUsed(slot)) continue;
      const inode = inodes.inode(slot);
      if (this.#options.peerOfInode(inode) !== peer) continue;
      if ((inodes.flags(slot) & INODE_LEASED) !== 0) forgotten(inode);
      inodes.remove(slot);
    }
    this.splits.lostOf(peer, (directory) => {
      this.forgetInode(directory);
      forgotten(directory);
    });
  }

  /** Another map: who granted what is not known any more. */
  forgetAll(): void {
    this.marks.markAll();
    this.splits.lostOf(null, () => undefined);
    for (let slot = 0; slot < this.#inodes.capacity; slot++) {
      if (this.#inodes.isUsed(slot)) this.#inodes.remove(slot);
    }
  }

  // ---------------------------------------------------------------- room

  #nameEvicted(slot: number): void {
    this.evictions++;
    const directory = this.#names.directory(slot);
    const at = this.#inodes.find(directory);
    if (at === NONE || this.#inodes.generation(at) !== this.#names.generation(slot)) return;
    this.#inodes.setFlags(at, this.#inodes.flags(at) & ~INODE_COMPLETE);
  }
}
