/**
 * LmdbMetaStore, and LMDB's list of free pages while it grows by a level under load. Protects: an entry in its right half that
 * splits its root damages nothing. The binary that the package lmdb brings ends this test by an assertion, or by a listing of
 * what is damaged (native/lmdb/mend.cmake).
 */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LmdbMetaStore } from '../../../src/server/meta-store.js';
import { flushed } from './flushed.js';
import { SimRandom } from '../../../src/transport/sim/sim-random.js';

const ENTRIES = 60_000;
const META_PAGE_BYTES = 4096;
/** A branch page of it has room for 227 leaves; at how many the snapshot is let go, so that the list is worked on in its middle. */
const LEAVES = [224, 225, 226];

/** Of the free list, as the newer of the two meta pages says: levels of its tree, and leaves. */
function freeList(descriptor: number): { levels: number; leaves: number } {
  let newest = -1;
  let found = { levels: 0, leaves: 0 };
  const page = Buffer.alloc(160);
  for (const at of [0, META_PAGE_BYTES]) {
    readSync(descriptor, page, 0, page.length, at);
    const transaction = Number(page.readBigUInt64LE(152));
    if (transaction < newest) continue;
    newest = transaction;
    found = { levels: page.readUInt16LE(54), leaves: Number(page.readBigUInt64LE(64)) };
  }
  return found;
}

describe('LmdbMetaStore, its free pages', function () {
  this.timeout(60_000);
  let root = '';
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'sealfs-free-list-'));
  });
  after(() => {
    rmSync(root, { recursive: true, force: true });
  });

  for (const leaves of LEAVES) {
    it(`are listed right when their list grows by a level, from ${leaves} leaves on`, async () => {
      const directory = join(root, `at-${leaves}`);
      const store = new LmdbMetaStore({ directory, flushIntervalMs: 1e9, mapBytes: 2 ** 30 });
      const descriptor = openSync(join(directory, 'data.mdb'), 'r');
      const random = new SimRandom(leaves);
      const model = new Map<number, number>();
      const key = (number: number): Uint8Array => {
        const bytes = Buffer.alloc(16);
        bytes[0] = 0x50;
        bytes.writeUInt32BE(Math.imul(number, 2654435761) >>> 0, 4);
        bytes.writeUInt32BE(number, 8);
        return bytes;
      };
      const change = (number: number): void => {
        const value = random.below(256);
        store.put(key(number), Buffer.alloc(60, value));
        model.set(number, value);
      };
      const transaction = (): void => {
        store.transaction(() => {
          for (let n = 3 + random.below(6); n > 0; n--) change(random.below(ENTRIES));
        });
      };
      store.transaction(() => {
        for (let i = 0; i < ENTRIES; i++) change(i);
      });
      await flushed(store);
      let list = freeList(descriptor);
      while (list.levels < 2 || list.leaves < leaves) {
        transaction();
        list = freeList(descriptor);
      }
      assert.equal(list.levels, 2);
      // The next snapshot makes most of what is listed free to be used.
      for (let rounds = 0; list.levels === 2; rounds++) {
        assert.ok(rounds < 50, 'it grows by a level');
        await flushed(store);
        for (let i = 0; i < 400; i++) transaction();
        list = freeList(descriptor);
      }
      for (let i = 0; i < 2000; i++) transaction();
      for (const [number, value] of model) {
        assert.equal(store.get(key(number))?.[59], value, `entry ${number}`);
      }
      closeSync(descriptor);
      await store.close();
    });
  }
});
