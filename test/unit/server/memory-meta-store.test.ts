/**
 * The in-memory store keeps the MetaStore contract, against a plain sorted model: order, rollback,
 * borrowed values, flush with its barrier, and what a kill and a power loss leave.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MemoryMetaImage, MemoryMetaStore } from '../../../src/server/memory-meta-store.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';

const key = (text: string): Uint8Array => Buffer.from(text, 'latin1');

function listed(store: MemoryMetaStore, from = '', to = '\xff\xff'): [string, string][] {
  const found: [string, string][] = [];
  store.scan(key(from), key(to), (name, value) => {
    found.push([Buffer.from(name).toString('latin1'), Buffer.from(value).toString('latin1')]);
    return true;
  });
  return found;
}

describe('MemoryMetaStore', () => {
  const world = new SimWorld(1);
  const scheduler = new SimScheduler(world, 'store');
  const put = (store: MemoryMetaStore, name: string, value: string): void => {
    store.transaction(() => {
      store.put(key(name), key(value));
    });
  };
  const flush = (store: MemoryMetaStore): void => {
    let done = false;
    store.flush((error) => {
      assert.equal(error, undefined);
      done = true;
    });
    assert.equal(done, false, 'never synchronously');
    assert.ok(world.run(() => done, 1000));
  };

  it('agrees with a sorted model, transactions that throw included', () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '\x00', '\xff'), maxLength: 5 });
    const change = fc.record({ name, remove: fc.boolean() });
    const batch = fc.record({ changes: fc.array(change), fails: fc.boolean() });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 30 }), name, name, (batches, from, to) => {
        const store = new MemoryMetaStore({ scheduler });
        let model = new Map<string, string>();
        batches.forEach(({ changes, fails }, number) => {
          const next = new Map(model);
          try {
            store.transaction(() => {
              for (const each of changes) {
                if (each.remove) {
                  assert.equal(store.remove(key(each.name)), next.delete(each.name));
                } else {
                  store.put(key(each.name), key(`${number}`));
                  next.set(each.name, `${number}`);
                }
              }
              if (fails) throw new Error('no');
            });
            model = next;
          } catch (error) {
            assert.equal((error as Error).message, 'no');
          }
        });
        const expected = [...model].filter(([each]) => each >= from && each < to);
        expected.sort(([a], [b]) => (a < b ? -1 : 1));
        assert.deepEqual(listed(store, from, to), expected);
      }),
    );
  });

  it('sorts many keys, added and removed in any order', () => {
    const store = new MemoryMetaStore({ scheduler });
    const names = Array.from({ length: 5000 }, (_, i) => ((i * 7919) % 5000).toString(36));
    store.transaction(() => {
      for (const each of names) store.put(key(each), key('x'));
      for (let i = 0; i < 5000; i += 2) store.remove(key(names[i]!));
    });
    const kept = names.filter((_, i) => i % 2 === 1).sort();
    assert.deepEqual(
      listed(store).map(([each]) => each),
      kept,
    );
  });

  it('lends values: the next call reuses their memory', () => {
    const store = new MemoryMetaStore({ scheduler });
    put(store, 'a', 'first');
    put(store, 'b', 'other');
    const value = store.get(key('a'))!;
    store.get(key('b'));
    assert.equal(Buffer.from(value).toString(), 'other');
  });

  it('refuses changes outside of transactions, and nesting', () => {
    const store = new MemoryMetaStore({ scheduler });
    assert.throws(() => {
      store.put(key('a'), key('b'));
    });
    assert.throws(() => {
      store.transaction(() => {
        put(store, 'a', 'b');
      });
    });
  });

  it('is full when it is full, and has room again', () => {
    const store = new MemoryMetaStore({ scheduler, capacityBytes: 100 });
    put(store, 'a', 'x'.repeat(90));
    assert.throws(() => {
      put(store, 'b', 'x'.repeat(20));
    }, /full/);
    put(store, 'a', 'x'.repeat(10));
    put(store, 'b', 'x'.repeat(20));
    assert.equal(store.usage().bytesUsed, 32);
  });

  it('survives a kill with every commit, a power loss with those of the last flush', () => {
    const image = new MemoryMetaImage();
    const first = new MemoryMetaStore({ scheduler, image });
    put(first, 'a', '1');
    flush(first);
    put(first, 'a', '2');
    put(first, 'b', '2');
    assert.deepEqual([first.commitSequence, first.durableSequence], [3, 1]);
    first.kill();
    const second = new MemoryMetaStore({ scheduler, image });
    assert.deepEqual(listed(second), [
      ['a', '2'],
      ['b', '2'],
    ]);
    put(second, 'a', '3');
    second.transaction(() => second.remove(key('b')));
    second.kill();
    image.powerLoss();
    const third = new MemoryMetaStore({ scheduler, image });
    assert.deepEqual(listed(third), [
      ['a', '2'],
      ['b', '2'],
    ]);
  });

  it('runs the barrier in every flush, and fails with it', () => {
    const store = new MemoryMetaStore({ scheduler, flushDelayMs: 1 });
    const order: string[] = [];
    let failing = true;
    store.setFlushBarrier((done) => {
      order.push(`barrier at ${store.durableSequence}`);
      done(failing ? new Error('device') : undefined);
    });
    put(store, 'a', '1');
    store.flush((error) => order.push(String(error)));
    world.run(() => order.length === 2, 1000);
    failing = false;
    store.flush(() => order.push('done'));
    put(store, 'a', '2');
    world.run(() => order.length === 4, 1000);
    assert.deepEqual(order, ['barrier at 0', 'Error: device', 'barrier at 0', 'done']);
    assert.equal(store.durableSequence, 2);
  });
});
