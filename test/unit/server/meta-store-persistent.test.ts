/**
 * LmdbMetaStore on persistent memory: a commit and `flushNow` survive the power, wherever the store is
 * opened next. The mode needs no such memory, so any folder will do. A power loss is a copy of the
 * files in mid-life with both of LMDB's own meta pages destroyed (stores to persistent memory reach
 * it in any order, 8 bytes at a time), opened under another boot id.
 */
import assert from 'node:assert/strict';
import { closeSync, cpSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CHECKPOINT_SLOT_BYTES,
  decodeCheckpoint,
  META_PAGE_BYTES,
} from '../../../src/server/checkpoint.js';
import { LmdbMetaStore, type LmdbMetaStoreOptions } from '../../../src/server/meta-store.js';

const key = (text: string): Uint8Array => Buffer.from(text);

function contents(store: LmdbMetaStore): Map<string, string> {
  const found = new Map<string, string>();
  store.scan(key(' '), key('~'), (k, v) => {
    found.set(Buffer.from(k).toString(), Buffer.from(v).toString());
    return true;
  });
  return found;
}

function sorted(map: Map<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Generation in each of the two slots; undefined where there is none. */
function generations(directory: string): (number | undefined)[] {
  const file = readFileSync(join(directory, 'checkpoint'));
  return [0, 1].map(
    (slot) => decodeCheckpoint(file.subarray(slot * CHECKPOINT_SLOT_BYTES))?.generation,
  );
}

describe('LmdbMetaStore on persistent memory', function () {
  // Stores are copied whole; a busy machine takes long.
  this.timeout(20_000);
  let root = '';
  const opened: LmdbMetaStore[] = [];

  function openStore(name: string, options: Partial<LmdbMetaStoreOptions> = {}): LmdbMetaStore {
    const store = new LmdbMetaStore({
      directory: join(root, name),
      mapBytes: 2 ** 30,
      flushIntervalMs: 0,
      persistentMemory: true,
      ...options,
    });
    opened.push(store);
    return store;
  }

  /** What a store's folder would be after a power loss now. */
  function losePower(store: LmdbMetaStore, name: string): void {
    const copy = join(root, name);
    cpSync(store.directory, copy, { recursive: true });
    const fd = openSync(join(copy, 'data.mdb'), 'r+');
    writeSync(fd, Buffer.alloc(2 * META_PAGE_BYTES, 0xee), 0, 2 * META_PAGE_BYTES, 0);
    closeSync(fd);
  }

  function set(store: LmdbMetaStore, name: string, value: string): void {
    store.transaction(() => {
      store.put(key(name), key(value));
    });
  }

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'sealfs-server-'));
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    rmSync(root, { recursive: true });
  });

  it('makes a commit power-safe before flushNow returns', () => {
    const store = openStore('a', { bootId: 'boot-1' });
    set(store, 'one', '1');
    assert.equal(store.flushNow(), true);
    assert.equal(store.durableSequence, store.commitSequence);
    losePower(store, 'first');
    set(store, 'two', '2');
    losePower(store, 'second');
    assert.deepEqual(sorted(contents(openStore('first', { bootId: 'boot-2' }))), [['one', '1']]);
    assert.deepEqual(sorted(contents(openStore('second', { bootId: 'boot-2' }))), [['one', '1']]);
    assert.equal(store.flushNow(), true);
    losePower(store, 'third');
    assert.equal(contents(openStore('third', { bootId: 'boot-2' })).size, 2);
  });

  it('leaves what needs a device to flush, and what a flush is about', async () => {
    const store = openStore('a');
    let dirty = true;
    let finish: ((error: Error | undefined) => void) | undefined;
    store.setFlushBarrier(
      (done) => {
        finish = done;
      },
      () => !dirty,
    );
    set(store, 'a', '1');
    assert.equal(store.flushNow(), false);
    const flushed = new Promise<void>((resolve, reject) => {
      store.flush((error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
    await Promise.resolve();
    // The device is being synced: what is committed now may point at data that is not safe yet.
    dirty = false;
    set(store, 'b', '2');
    assert.equal(store.flushNow(), false);
    finish!(undefined);
    await flushed;
    assert.equal(store.durableSequence, 1);
    assert.equal(store.flushNow(), true);
    assert.equal(store.durableSequence, 2);
    store.setFlushBarrier((done) => {
      done(undefined);
    });
  });

  it('is not for stores elsewhere', () => {
    const store = openStore('a', { persistentMemory: false });
    set(store, 'a', '1');
    assert.equal(store.flushNow(), false);
    assert.equal(store.durableSequence, 0);
  });

  it('never writes over the newest checkpoint, however often a flush fails', async () => {
    for (const persistentMemory of [false, true]) {
      const store = openStore(`s${persistentMemory}`, { persistentMemory });
      let error: Error | undefined;
      store.setFlushBarrier((done) => {
        done(error);
      });
      const flush = (): Promise<Error | undefined> =>
        new Promise((resolve) => {
          store.flush(resolve);
        });
      for (let round = 0; round < 6; round++) {
        set(store, 'a', String(round));
        error = round % 2 === 0 ? new Error('device') : undefined;
        const before = Math.max(...generations(store.directory).map((g) => g ?? 0));
        assert.equal(await flush(), error);
        const after = generations(store.directory);
        assert.ok(after.includes(before), `${before} is gone: ${after.join(', ')}`);
      }
    }
  });

  // With LMDB's writable map this ends the process (mdb_freelist_save).
  it('removes most of a young store', () => {
    const store = openStore('a');
    const change = (change: (name: Uint8Array) => void): void => {
      store.transaction(() => {
        for (let i = 0; i < 1000; i++) change(key(`k${i}`));
      });
      assert.equal(store.flushNow(), true);
    };
    for (let round = 0; round < 3; round++) {
      change((name) => {
        store.put(name, Buffer.alloc(200));
      });
      change((name) => {
        store.remove(name);
      });
    }
    assert.equal(contents(store).size, 0);
  });

  for (const seed of [1, 2, 3, 4]) {
    it(`agrees with a model over power losses and changes of mode (seed ${seed})`, () => {
      let state = seed * 2654435761;
      const random = (below: number): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      let boot = 1;
      let store = openStore('boot1', { bootId: 'boot1' });
      let model = new Map<string, string>();
      let durable = new Map<string, string>();
      for (let round = 0; round < 500; round++) {
        const removes = random(3) === 0;
        store.transaction(() => {
          for (let i = random(60); i >= 0; i--) {
            const name = `k${random(1500)}`;
            if (removes || random(4) === 0) {
              assert.equal(store.remove(key(name)), model.delete(name));
            } else {
              const value = String(round).padEnd(random(20) === 0 ? 6000 : 200);
              store.put(key(name), key(value));
              model.set(name, value);
            }
          }
        });
        // Now and then several commits pass before one is made safe.
        if (random(4) !== 0 && store.flushNow()) durable = new Map(model);
        if (random(60) !== 0) continue;
        const next = `boot${++boot}`;
        losePower(store, next);
        store = openStore(next, { bootId: next, persistentMemory: random(3) !== 0 });
        model = new Map(durable);
        assert.deepEqual(sorted(contents(store)), sorted(model), `round ${round}`);
      }
      assert.deepEqual(sorted(contents(store)), sorted(model));
    });
  }
});
