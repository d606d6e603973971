/**
 * LmdbMetaStore: what a commit, a SIGKILL, a power loss and a full disk leave behind. A power loss
 * is simulated by what the kernel may do to unsynced pages: everything that was written after the
 * last checkpoint is replaced by garbage, and the machine has another boot id.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readSync,
  openSync,
  closeSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
  mkdirSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHECKPOINT_SLOT_BYTES, newestCheckpoint } from '../../../src/server/checkpoint.js';
import { LmdbMetaStore, type LmdbMetaStoreOptions } from '../../../src/server/meta-store.js';
import { flushed } from './flushed.js';
import { allocateByWriting, MapFullError } from '../../../src/server/page-space.js';

const key = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString();

/** What of data.mdb is there: the file is sparse and far larger than its blocks. */
function copyData(from: string, to: string, bytes: number): void {
  const source = openSync(from, 'r');
  const buffer = Buffer.alloc(bytes);
  readSync(source, buffer, 0, bytes, 0);
  closeSync(source);
  writeFileSync(to, buffer);
}

function usedBytes(directory: string): number {
  return statSync(join(directory, 'data.mdb')).blocks * 512;
}

describe('LmdbMetaStore', function () {
  // Stores are copied whole; a busy machine takes long.
  this.timeout(20_000);
  let root = '';
  const opened: LmdbMetaStore[] = [];

  function openStore(name: string, options: Partial<LmdbMetaStoreOptions> = {}): LmdbMetaStore {
    const store = new LmdbMetaStore({
      directory: join(root, name),
      mapBytes: 2 ** 30,
      flushIntervalMs: 0,
      ...options,
    });
    opened.push(store);
    return store;
  }

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'sealfs-server-'));
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    rmSync(root, { recursive: true });
  });

  it('reads what a transaction wrote, inside it and after', () => {
    const store = openStore('a');
    store.transaction(() => {
      store.put(key('a'), key('one'));
      store.put(key('bb'), key('three'));
      assert.equal(text(store.get(key('a'))), 'one');
      assert.equal(store.remove(key('bb')), true);
      assert.equal(store.remove(key('bb')), false);
    });
    const value = store.get(key('a'));
    assert.equal(value?.length, 3);
    assert.equal(value.byteLength, 3);
    assert.equal(text(value), 'one');
    assert.equal(store.get(key('bb')), undefined);
    assert.equal(store.commitSequence, 1);
    assert.equal(store.durableSequence, 0);
  });

  it('aborts a transaction whose body throws, and goes on', () => {
    const store = openStore('a');
    store.transaction(() => {
      store.put(key('a'), key('1'));
    });
    for (let round = 0; round < 50; round++) {
      assert.throws(() => {
        store.transaction(() => {
          for (let i = 0; i < 100; i++) store.put(key(`x${i}`), Buffer.alloc(500));
          store.put(key('a'), key('2'));
          throw new Error('no');
        });
      }, /no/);
      store.transaction(() => {
        store.put(key('n'), key(String(round)));
      });
    }
    assert.equal(text(store.get(key('a'))), '1');
    assert.equal(store.get(key('x1')), undefined);
    assert.equal(text(store.get(key('n'))), '49');
  });

  it('scans a half-open range in byte order, until told to stop', () => {
    const store = openStore('a');
    const names = ['a', 'b', 'b\u0001', 'c', 'd'];
    store.transaction(() => {
      for (const name of names) store.put(key(name), key(name.toUpperCase()));
    });
    const seen: string[] = [];
    store.scan(key('b'), key('d'), (k, v) => {
      seen.push(`${text(k)}=${text(v)}`);
      return true;
    });
    assert.deepEqual(seen, ['b=B', 'b\u0001=B\u0001', 'c=C']);
    seen.length = 0;
    store.scan(key('a'), key('z'), (k) => {
      seen.push(text(k)!);
      return seen.length < 2;
    });
    assert.deepEqual(seen, ['a', 'b']);
  });

  it('restores exactly the flushed state after a power loss', async () => {
    const store = openStore('live', { bootId: 'boot-1' });
    const expected = new Map<string, string>();
    const put = (name: string, value: string): void => {
      store.transaction(() => {
        store.put(key(name), key(value));
      });
    };
    for (let i = 0; i < 2000; i++) {
      put(`k${i % 500}`, `v${i}`.padEnd(100));
      expected.set(`k${i % 500}`, `v${i}`.padEnd(100));
    }
    await flushed(store);
    assert.equal(store.durableSequence, store.commitSequence);
    const live = join(root, 'live');
    const before = usedBytes(live);
    copyData(join(live, 'data.mdb'), join(root, 'synced'), before);
    // Many rewrites: without the pin LMDB would reuse pages of the flushed snapshot.
    for (let i = 0; i < 5000; i++) put(`k${i % 700}`, `later${i}`.padEnd(100));
    const lost = join(root, 'lost');
    mkdirSync(lost);
    copyFileSync(join(live, 'checkpoint'), join(lost, 'checkpoint'));
    // Worst case one: all that came later is on the disk, the meta pages too.
    copyData(join(live, 'data.mdb'), join(lost, 'data.mdb'), usedBytes(live));
    // Worst case two: the meta pages are torn.
    const fd = openSync(join(lost, 'data.mdb'), 'r+');
    writeSync(fd, Buffer.alloc(8192, 0xee), 0, 8192, 0);
    closeSync(fd);
    const after = openStore('lost', { bootId: 'boot-2' });
    let count = 0;
    after.scan(key('k'), key('l'), (k, v) => {
      assert.equal(text(v), expected.get(text(k)!));
      count++;
      return true;
    });
    assert.equal(count, expected.size);
    // It goes on from there, and the same boot keeps what it commits without a flush.
    after.transaction(() => {
      after.put(key('new'), key('x'));
    });
    assert.equal(text(after.get(key('new'))), 'x');
  });

  it('reuses no page of the checkpoint, not even when the process was restarted since', async () => {
    const first = openStore('live', { bootId: 'boot-1' });
    const rewrite = (store: LmdbMetaStore, mark: string): void => {
      for (let i = 0; i < 1500; i++) {
        store.transaction(() => {
          store.put(key(`k${i % 300}`), key(`${mark}${i}`.padEnd(200)));
        });
      }
    };
    rewrite(first, 'a');
    await first.close();
    const live = join(root, 'live');
    const second = openStore('live', { bootId: 'boot-1' });
    rewrite(second, 'b');
    await flushed(second);
    const states = new Map<string, string>();
    second.scan(key('k'), key('l'), (k, v) => states.set(text(k)!, text(v)!) !== undefined);
    rewrite(second, 'c');
    const lost = join(root, 'lost');
    mkdirSync(lost);
    copyFileSync(join(live, 'checkpoint'), join(lost, 'checkpoint'));
    copyData(join(live, 'data.mdb'), join(lost, 'data.mdb'), usedBytes(live));
    const after = openStore('lost', { bootId: 'boot-2' });
    const found = new Map<string, string>();
    after.scan(key('k'), key('l'), (k, v) => found.set(text(k)!, text(v)!) !== undefined);
    assert.deepEqual(found, states);
  });

  it('takes the other slot when the newest one is torn', async () => {
    const store = openStore('a', { bootId: 'boot-1' });
    for (const value of ['1', '2', '3']) {
      store.transaction(() => {
        store.put(key('a'), key(value));
      });
      await flushed(store);
    }
    const file = readFileSync(join(root, 'a', 'checkpoint'));
    const newest = newestCheckpoint(file)!;
    const torn = Buffer.from(file);
    torn.fill(0x5a, (newest.generation % 2) * CHECKPOINT_SLOT_BYTES + 200, 8192);
    const older = newestCheckpoint(torn);
    assert.equal(older?.generation, newest.generation - 1);
  });

  it('refuses to guess when no slot is valid', async () => {
    const store = openStore('a');
    await store.close();
    writeFileSync(join(root, 'a', 'checkpoint'), Buffer.alloc(16384, 1));
    assert.throws(() => openStore('a'), /neither slot is valid/);
  });

  it('begins anew when the first start never got as far as a checkpoint', () => {
    mkdirSync(join(root, 'a'));
    writeFileSync(join(root, 'a', 'data.mdb'), Buffer.alloc(8192, 7));
    const store = openStore('a');
    assert.equal(store.get(key('a')), undefined);
    assert.equal(existsSync(join(root, 'a', 'checkpoint')), true);
  });

  it('merges flushes, never calls back at once, and fails them with the barrier', async () => {
    const store = openStore('a');
    let barriers = 0;
    let barrierError: Error | undefined;
    store.setFlushBarrier((done) => {
      barriers++;
      setImmediate(() => {
        done(barrierError);
      });
    });
    store.transaction(() => {
      store.put(key('a'), key('1'));
    });
    let called = false;
    store.flush(() => {
      called = true;
    });
    assert.equal(called, false);
    await Promise.all([flushed(store), flushed(store)]);
    assert.equal(called, true);
    assert.equal(barriers, 1);
    store.transaction(() => {
      store.put(key('a'), key('2'));
    });
    barrierError = new Error('device');
    await assert.rejects(flushed(store), /device/);
    assert.ok(store.durableSequence < store.commitSequence);
    barrierError = undefined;
    await flushed(store);
    assert.equal(store.durableSequence, store.commitSequence);
  });

  it('answers a full disk with ENOSPC, keeps a reserve for deletions, and recovers', () => {
    let full = false;
    const store = openStore('a', {
      allocate: (fd, offset, bytes) => {
        if (full) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
        allocateByWriting(fd, offset, bytes);
      },
    });
    let stored = 0;
    const fill = (): void => {
      for (;;) {
        store.transaction(() => {
          for (let i = 0; i < 50; i++) store.put(key(`k${stored + i}`), Buffer.alloc(3000, stored));
        });
        stored += 50;
      }
    };
    store.transaction(() => {
      store.put(key('first'), key('2'));
    });
    full = true;
    assert.throws(fill, MapFullError);
    assert.ok(stored > 200, `${stored} were stored`);
    assert.equal(store.get(key(`k${stored}`)), undefined);
    store.useReserve(true);
    for (let i = 0; i < stored; i += 50) {
      store.transaction(() => {
        for (let j = 0; j < 50; j++) assert.equal(store.remove(key(`k${i + j}`)), true);
      });
    }
    store.useReserve(false);
    assert.equal(text(store.get(key('first'))), '2');
  });

  for (const seed of [1, 2, 3]) {
    it(`agrees with a model: aborts, deletions, flushes, power losses (seed ${seed})`, async () => {
      let state = seed * 2654435761;
      const random = (below: number): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      let model = new Map<string, string>();
      let durable = new Map(model);
      let boot = 1;
      let store = openStore('m', { bootId: `boot-${boot}` });
      for (let round = 0; round < 400; round++) {
        const next = new Map(model);
        const aborts = random(10) === 0;
        const deletes = random(3) === 0;
        const body = (): void => {
          for (let i = random(60); i >= 0; i--) {
            const name = `k${random(1500)}`;
            if (deletes || random(4) === 0) {
              assert.equal(store.remove(key(name)), next.delete(name));
            } else {
              const value = String(round).padEnd(random(20) === 0 ? 6000 : 200);
              store.put(key(name), key(value));
              next.set(name, value);
            }
          }
          if (aborts) throw new Error('abort');
        };
        if (aborts) {
          assert.throws(() => {
            store.transaction(body);
          }, /abort/);
        } else {
          store.transaction(body);
          model = next;
        }
        if (random(25) === 0) {
          const flushing = new Map(model);
          await flushed(store);
          durable = flushing;
        }
        if (random(100) === 0) {
          const copy = join(root, `m${++boot}`);
          mkdirSync(copy);
          copyFileSync(join(store.directory, 'checkpoint'), join(copy, 'checkpoint'));
          const from = join(store.directory, 'data.mdb');
          copyData(
            from,
            join(copy, 'data.mdb'),
            Math.ceil(usedBytes(store.directory) / 4096) * 4096,
          );
          store = openStore(`m${boot}`, { bootId: `boot-${boot}` });
          model = new Map(durable);
        }
      }
      const found = new Map<string, string>();
      store.scan(key('k'), key('l'), (k, v) => found.set(text(k)!, text(v)!) !== undefined);
      assert.deepEqual([...found].sort(), [...model].sort());
    });
  }

  it('keeps every committed transaction over SIGKILL in mid-load', async () => {
    const directory = join(root, 'killed');
    const module = new URL('../../../src/server/meta-store.js', import.meta.url).href;
    const program = `
      import { writeSync } from 'node:fs';
      import { LmdbMetaStore } from ${JSON.stringify(module)};
      const store = new LmdbMetaStore({ directory: process.argv[1], mapBytes: 2 ** 30, flushIntervalMs: 20 });
      for (let n = 0; ; n++) {
        store.transaction(() => {
          for (let i = 0; i < 20; i++) store.put(Buffer.from('k' + n + '.' + i), Buffer.alloc(150, n));
          store.put(Buffer.from('last'), Buffer.from(String(n)));
        });
        writeSync(1, n + '\\n');
        if (n % 50 === 0) await new Promise((r) => setTimeout(r, 1));
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (bytes: Buffer) => {
      output += bytes.toString();
      if (output.length > 20_000) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const acknowledged = Number(output.trimEnd().split('\n').slice(0, -1).at(-1));
    assert.ok(acknowledged > 100, `${acknowledged} transactions before the kill`);
    const store = openStore('killed');
    assert.ok(Number(text(store.get(key('last')))) >= acknowledged);
    for (let n = 0; n <= acknowledged; n += 7) {
      assert.deepEqual(Buffer.from(store.get(key(`k${n}.19`))!), Buffer.alloc(150, n));
    }
  });
});
