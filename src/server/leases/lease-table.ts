/**
 * Which session holds which lease: an open-addressing hash table of 16 bytes a lease, at most half full. An
 * object's holders do not stand together: each is found by (object, session), so that one that
 * thousands hold makes no long runs. Whether anybody holds an object is first asked of a counting filter,
 * which is wrong at times, and then only costs a look for each session.
 *
 *   word 0: inode, low 32 bits      word 2: hash, low 32 bits
 *   word 1: inode's 21 high bits,   word 3: hash's 12 high bits, session (12 bits, 0: empty)
 *           kind
 */
const TWO_32 = 4294967296;
const KIND_SHIFT = 21;
const HIGH_MASK = (1 << KIND_SHIFT) - 1;
const SESSION_BITS = 12;
/** Sessions are numbered 1 to this. */
export const SESSIONS_MAX = (1 << SESSION_BITS) - 1;
const WORDS = 4;
const FIRST_SLOTS = 1024;
/** A count that has come so far is never taken back: what it counts is lost. */
const STICKY = 0xffff;

/** One lease, as it is found. Reused by its owner. */
export class HeldLease {
  session = 0;
  kind = 0;
  inode = 0;
  hash = 0;
}

export class LeaseTable {
  readonly #leasesMax: number;
  #slots = FIRST_SLOTS;
  #words = new Uint32Array(FIRST_SLOTS * WORDS);
  #filter = new Uint16Array(FIRST_SLOTS);
  #size = 0;
  #hand = 0;

  constructor(leasesMax: number) {
    this.#leasesMax = leasesMax;
  }

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#words.byteLength + this.#filter.byteLength;
  }

  get isFull(): boolean {
    return this.#size >= this.#leasesMax;
  }

  /** At least as many as hold this lease; nearly always exactly. */
  holdersAtMost(kind: number, inode: number, hash: number): number {
    return this.#size === 0 ? 0 : this.#filter[this.#mix(kind, inode, hash) & (this.#slots - 1)]!;
  }

  has(session: number, kind: number, inode: number, hash: number): boolean {
    return this.#words[this.#find(session, kind, inode, hash) * WORDS + 3] !== 0;
  }

  /** The caller has made room. */
  add(session: number, kind: number, inode: number, hash: number): void {
    let slot = this.#find(session, kind, inode, hash);
    if (this.#words[slot * WORDS + 3] !== 0) return;
    if ((this.#size + 1) * 2 > this.#slots) {
      this.#grow();
      slot = this.#find(session, kind, inode, hash);
    }
    this.#put(slot, session, kind, inode, hash);
    this.#size++;
  }

  remove(session: number, kind: number, inode: number, hash: number): boolean {
    const slot = this.#find(session, kind, inode, hash);
    if (this.#words[slot * WORDS + 3] === 0) return false;
    this.#removeSlot(slot);
    return true;
  }

  /** Of a session that has ended: everything. */
  removeSession(session: number): void {
    for (let slot = 0; slot < this.#slots;) {
      // What moves into the gap is looked at next. What wraps into one at the end was looked at before.
      if ((this.#words[slot * WORDS + 3]! & SESSIONS_MAX) === session) this.#removeSlot(slot);
      else slot++;
    }
  }

  /** Leases on this inode, and on entries of this directory: a look at the whole table. */
  ofInode(inode: number): HeldLease[] {
    const held: HeldLease[] = [];
    const words = this.#words;
    const low = inode >>> 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      if (words[slot * WORDS] !== low || words[slot * WORDS + 3] === 0) continue;
      const lease = new HeldLease();
      this.#read(slot, lease);
      if (lease.inode === inode) held.push(lease);
    }
    return held;
  }

  /** Some lease, another one with each call: what goes when there is no room. False: there is none. */
  next(found: HeldLease): boolean {
    if (this.#size === 0) return false;
    for (;;) {
      this.#hand = (this.#hand + 1) & (this.#slots - 1);
      if (this.#words[this.#hand * WORDS + 3] === 0) continue;
      this.#read(this.#hand, found);
      return true;
    }
  }

  #read(slot: number, found: HeldLease): void {
    const at = slot * WORDS;
    const words = this.#words;
    found.inode = (words[at + 1]! & HIGH_MASK) * TWO_32 + words[at]!;
    found.kind = words[at + 1]! >>> KIND_SHIFT;
    found.hash = (words[at + 3]! >>> SESSION_BITS) * TWO_32 + words[at + 2]!;
    found.session = words[at + 3]! & SESSIONS_MAX;
  }

  #put(slot: number, session: number, kind: number, inode: number, hash: number): void {
    const at = slot * WORDS;
    const words = this.#words;
    words[at] = inode >>> 0;
    words[at + 1] = Math.floor(inode / TWO_32) | (kind << KIND_SHIFT);
    words[at + 2] = hash >>> 0;
    words[at + 3] = (Math.floor(hash / TWO_32) << SESSION_BITS) | session;
    const place = this.#mix(kind, inode, hash) & (this.#slots - 1);
    if (this.#filter[place]! < STICKY) this.#filter[place]!++;
  }

  #mix(kind: number, inode: number, hash: number): number {
    let mixed = Math.imul(inode | 0, 0x9e3779b1) ^ Math.imul((inode / TWO_32) | 0, 0x85ebca6b);
    mixed ^= Math.imul((hash | 0) + kind, 0xc2b2ae35) ^ ((hash / TWO_32) | 0);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
    return (mixed ^ (mixed >>> 13)) >>> 0;
  }

  #home(session: number, kind: number, inode: number, hash: number): number {
    const mixed = this.#mix(kind, inode, hash) ^ Math.imul(session, 0x27d4eb2f);
    return (mixed ^ (mixed >>> 16)) & (this.#slots - 1);
  }

  /** Where it is, or the empty slot where it would go. */
  #find(session: number, kind: number, inode: number, hash: number): number {
    const words = this.#words;
    const mask = this.#slots - 1;
    const low = inode >>> 0;
    const high = Math.floor(inode / TWO_32) | (kind << KIND_SHIFT);
    const last = ((Math.floor(hash / TWO_32) << SESSION_BITS) | session) >>> 0;
    let slot = this.#home(session, kind, inode, hash);
    for (;;) {
      const at = slot * WORDS;
      if (words[at + 3] === 0) return slot;
      if (
        words[at] === low &&
        words[at + 1] === high &&
        words[at + 2] === hash >>> 0 &&
        words[at + 3] === last
      ) {
        return slot;
      }
      slot = (slot + 1) & mask;
    }
  }

  readonly #moving = new HeldLease();

  /** Closes the gap: what stands behind it moves up as far as its home allows. */
  #removeSlot(slot: number): void {
    const words = this.#words;
    const mask = this.#slots - 1;
    const moving = this.#moving;
    this.#read(slot, moving);
    const place = this.#mix(moving.kind, moving.inode, moving.hash) & mask;
    if (this.#filter[place]! < STICKY) this.#filter[place]!--;
    this.#size--;
    let gap = slot;
    for (let at = (slot + 1) & mask; words[at * WORDS + 3] !== 0; at = (at + 1) & mask) {
      this.#read(at, moving);
      const home = this.#home(moving.session, moving.kind, moving.inode, moving.hash);
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      words.copyWithin(gap * WORDS, at * WORDS, (at + 1) * WORDS);
      gap = at;
    }
    words.fill(0, gap * WORDS, (gap + 1) * WORDS);
  }

  #grow(): void {
    const old = this.#words;
    this.#slots *= 2;
    this.#words = new Uint32Array(this.#slots * WORDS);
    this.#filter = new Uint16Array(this.#slots);
    const lease = new HeldLease();
    for (let at = 0; at < old.length; at += WORDS) {
      if (old[at + 3] === 0) continue;
      lease.inode = (old[at + 1]! & HIGH_MASK) * TWO_32 + old[at]!;
      lease.kind = old[at + 1]! >>> KIND_SHIFT;
      lease.hash = (old[at + 3]! >>> SESSION_BITS) * TWO_32 + old[at + 2]!;
      lease.session = old[at + 3]! & SESSIONS_MAX;
      const { session, kind, inode, hash } = lease;
      this.#put(this.#find(session, kind, inode, hash), session, kind, inode, hash);
    }
  }
}
