/**
 * Stores under changes that are not written yet: what a repair has decided so far. The checker reads
 * through it, so that every repair is judged by another check before anything is written.
 */
import { copyOf } from './findings.js';
import type { Edit } from './findings.js';
import type { StoreReader } from './store-reader.js';

export class OverlayStore implements StoreReader {
  readonly #below: StoreReader;
  /** By key as latin1 text, which is ordered as its bytes are; undefined: removed. */
  readonly #changes = new Map<string, Uint8Array | undefined>();

  constructor(below: StoreReader) {
    this.#below = below;
  }

  /** Keys and values to put, or to remove where the value is undefined; in order of keys. */
  changes(): [Uint8Array, Uint8Array | undefined][] {
    return this.#sorted('', '\xff\xff\xff').map(([key, value]) => [bytesOf(key), value]);
  }

  async apply(edit: Edit): Promise<void> {
    const key = textOf(edit.key);
    const before = await this.get(edit.key);
    const after = edit.apply(before);
    if (after === before) return;
    this.#changes.set(key, after === undefined ? undefined : copyOf(after));
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const text = textOf(key);
    if (this.#changes.has(text)) return this.#changes.get(text)?.slice();
    return this.#below.get(key);
  }

  async scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => void,
  ): Promise<void> {
    const changed = this.#sorted(textOf(start), textOf(end));
    if (changed.length === 0) {
      await this.#below.scan(start, end, visit);
      return;
    }
    let next = 0;
    const visitChanged = (): void => {
      const [key, value] = changed[next++]!;
      if (value !== undefined) visit(bytesOf(key), value);
    };
    await this.#below.scan(start, end, (key, value) => {
      const text = textOf(key);
      while (next < changed.length && changed[next]![0] < text) visitChanged();
      if (changed[next]?.[0] === text) visitChanged();
      else visit(key, value);
    });
    while (next < changed.length) visitChanged();
  }

  #sorted(start: string, end: string): [string, Uint8Array | undefined][] {
    const found = [...this.#changes].filter(([key]) => key >= start && key < end);
    return found.sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

function bytesOf(key: string): Uint8Array {
  return Buffer.from(key, 'latin1');
}
