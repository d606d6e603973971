/**
 * The byte ranges of one file that one owner has locked, as fcntl(2) keeps them: a new lock replaces
 * what this owner had there, so an older one is cut, split in two, or merged with its equal
 * neighbours. Four arrays sorted by position; ranges never overlap. Positions are of bytes, both ends
 * included; whatever lies at `LOCK_LAST` or beyond is one byte here (larger than any file).
 */

export const LOCK_NONE = 0;
export const LOCK_READ = 1;
export const LOCK_WRITE = 2;
/** To the end of the file, however long it gets. */
export const LOCK_LAST = Number.MAX_SAFE_INTEGER;

/** Two owners: may they not have both at once? */
export function kindsConflict(a: number, b: number): boolean {
  return a === LOCK_WRITE || b === LOCK_WRITE;
}

export class LockRanges {
  readonly starts: number[] = [];
  readonly lasts: number[] = [];
  readonly kinds: number[] = [];
  readonly pids: number[] = [];

  get count(): number {
    return this.starts.length;
  }

  /** Index of the first range that ends at or behind `byte`; `count`: there is none. */
  indexOf(byte: number): number {
    let low = 0;
    let high = this.lasts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.lasts[middle]! < byte) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Index of the first range that a lock of another owner could not stand beside; -1: none. */
  conflict(start: number, last: number, kind: number): number {
    for (let i = this.indexOf(start); i < this.count && this.starts[i]! <= last; i++) {
      if (kindsConflict(kind, this.kinds[i]!)) return i;
    }
    return -1;
  }

  /** Every byte is locked at least so strongly. */
  covers(start: number, last: number, kind: number): boolean {
    let next = start;
    for (let i = this.indexOf(start); i < this.count && this.starts[i]! <= next; i++) {
      if (this.kinds[i]! < kind) return false;
      if (this.lasts[i]! >= last) return true;
      next = this.lasts[i]! + 1;
    }
    return false;
  }

  /** `kind` LOCK_NONE: unlocks. True: ranges were given up, or made weaker. */
  set(start: number, last: number, kind: number, pid: number): boolean {
    let from = start;
    let to = last;
    // Neighbours that only touch are looked at, too: an equal one is merged.
    const first = this.indexOf(start === 0 ? 0 : start - 1);
    let end = first;
    let weakened = false;
    const before = { start: 0, last: -1, kind: 0, pid: 0 };
    const behind = { start: 0, last: -1, kind: 0, pid: 0 };
    for (; end < this.count && this.starts[end]! - 1 <= last; end++) {
      const [s, l] = [this.starts[end]!, this.lasts[end]!];
      const [k, p] = [this.kinds[end]!, this.pids[end]!];
      if (k === kind) {
        from = Math.min(from, s);
        to = Math.max(to, l);
        continue;
      }
      if (k > kind && l >= start && s <= last) weakened = true;
      if (s < start)
        Object.assign(before, { start: s, last: Math.min(l, start - 1), kind: k, pid: p });
      if (l > last)
        Object.assign(behind, { start: Math.max(s, last + 1), last: l, kind: k, pid: p });
    }
    const pieces = [before, { start: from, last: kind === LOCK_NONE ? -1 : to, kind, pid }, behind];
    this.#replace(
      first,
      end,
      pieces.filter((piece) => piece.last >= piece.start),
    );
    return weakened;
  }

  #replace(
    first: number,
    end: number,
    pieces: { start: number; last: number; kind: number; pid: number }[],
  ): void {
    const count = end - first;
    this.starts.splice(first, count, ...pieces.map((piece) => piece.start));
    this.lasts.splice(first, count, ...pieces.map((piece) => piece.last));
    this.kinds.splice(first, count, ...pieces.map((piece) => piece.kind));
    this.pids.splice(first, count, ...pieces.map((piece) => piece.pid));
  }
}
