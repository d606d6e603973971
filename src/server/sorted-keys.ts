/**
 * A sorted set of strings in memory: blocks of at most BLOCK_KEYS keys, the blocks sorted among
 * themselves. Adding, removing and seeking cost a search and a move of one block.
 */
const BLOCK_KEYS = 512;

export interface KeyCursor {
  /** The next key, undefined at the end. */
  next(): string | undefined;
}

export class SortedKeys {
  /** Never empty; only a lone block has no keys. */
  readonly #blocks: string[][] = [[]];

  /** The key must not be there. */
  add(key: string): void {
    const index = this.#blockOf(key);
    const block = this.#blocks[index]!;
    block.splice(lowerBound(block, key), 0, key);
    if (block.length <= BLOCK_KEYS) return;
    // In a run of ascending keys blocks are left full, not half full.
    const cut = block[block.length - 1] === key ? BLOCK_KEYS : BLOCK_KEYS / 2;
    this.#blocks.splice(index + 1, 0, block.splice(cut));
  }

  remove(key: string): void {
    const index = this.#blockOf(key);
    const block = this.#blocks[index]!;
    const at = lowerBound(block, key);
    if (block[at] !== key) return;
    block.splice(at, 1);
    if (block.length === 0 && this.#blocks.length > 1) this.#blocks.splice(index, 1);
  }

  /** From the first key >= `start` on. The set must not change while the cursor is used. */
  seek(start: string): KeyCursor {
    let index = this.#blockOf(start);
    let at = lowerBound(this.#blocks[index]!, start);
    return {
      next: () => {
        while (index < this.#blocks.length && at >= this.#blocks[index]!.length) {
          index++;
          at = 0;
        }
        return this.#blocks[index]?.[at++];
      },
    };
  }

  /** The last block whose first key is <= `key`. */
  #blockOf(key: string): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#blocks[middle]![0]! <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
