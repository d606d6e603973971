/**
 * How the space of removed files comes back. Protects: an unlink is not as long as its file, the rate
 * holds, nothing is forgotten over a kill, a full device does not wait for the rate, and a long queue
 * is in the store rather than in memory.
 */
import assert from 'node:assert/strict';
import { errno } from '../../../src/common/errno.js';
import { makeInode } from '../../../src/placement/inode-number.js';
import { chunkBytes } from '../../../src/protocol/limits.generated.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { Reclaimer } from '../../../src/server/reclaimer.js';
import { BUCKET, pattern, TestTarget, TestWrite } from './data/harness.js';
import { body } from './namespace-harness.js';
import { TargetCluster } from './target-harness.js';

const MEBIBYTE = 2 ** 20;

function writeFile(c: TargetCluster, parent: number, name: string, chunks: number): number {
  const inode = c.create(parent, name);
  assert.equal(c.inodeCall(Opcode.MarkStriped, inode).status, 0);
  for (let chunk = 0; chunk < chunks; chunk++) {
    const data = Buffer.from(pattern(chunkBytes, chunk));
    assert.equal(c.write(inode, chunk, 0, data).status, 0);
  }
  const extend = body(Wire.ExtendRequest, { inode, sizeBytes: chunks * chunkBytes });
  assert.equal(c.call(c.nodeOf(inode), Opcode.Extend, extend).status, 0);
  return inode;
}

function sum(c: TargetCluster, counter: string): number {
  return c.nodes.reduce((total, node) => total + node.target.report()[counter]!, 0);
}

function freeBytes(c: TargetCluster): number {
  return c.nodes.reduce((total, node) => total + node.chunks.capacity().freeBytes, 0);
}

/** Lets time pass until nothing is being cut; milliseconds. */
function untilReclaimed(c: TargetCluster): number {
  const begin = c.world.nowMs;
  const done = (): boolean => sum(c, 'cutsUnderWay') === 0;
  assert.ok(c.world.run(done, 300_000), 'not all space came back');
  return c.world.nowMs - begin;
}

/** With a queue of two in memory; its work is a transaction each. */
function reclaimer(target: TestTarget): Reclaimer {
  const made: Reclaimer = new Reclaimer(
    {
      meta: target.meta,
      chunks: target.store,
      scheduler: target.scheduler,
      arena: target.arena,
      holderOf: () => -1,
      peerOf: () => undefined,
      deleted: () => undefined,
      enqueue: (work, after) => {
        target.scheduler.setTimer(0, () => {
          target.store.transaction(work);
          made.committed();
          after();
        });
      },
      log: (message) => assert.fail(message),
    },
    4 * MEBIBYTE,
    2,
  );
  return made;
}

describe('space of removed files', () => {
  it('comes back behind the unlink, at no more than the rate, and is counted', () => {
    const rate = 4 * MEBIBYTE;
    const c = new TargetCluster({ reclaimRate: rate });
    const before = freeBytes(c);
    const root = c.root();
    writeFile(c, root, 'f', 8);
    const begin = c.world.nowMs;
    assert.equal(c.unlink(root, 'f').status, 0);
    assert.ok(c.world.nowMs - begin < 100, 'the unlink took as long as its data');
    assert.equal(sum(c, 'cutsUnderWay'), 1);
    const waiting = sum(c, 'reclaimWaitingBytes');
    assert.ok(waiting > 6 * MEBIBYTE && waiting <= 8 * MEBIBYTE, `${waiting} bytes wait`);
    for (let step = 0; step < 20; step++) {
      c.idle(100);
      const seconds = (c.world.nowMs - begin) / 1000;
      // A tenth of a second's at once, and the chunk that overdraws it.
      const most = rate * (seconds + 0.1) + MEBIBYTE;
      assert.ok(sum(c, 'reclaimedBytes') <= most, `too fast after ${seconds} s`);
      assert.ok(freeBytes(c) <= before - sum(c, 'reclaimWaitingBytes'), 'free means free');
    }
    untilReclaimed(c);
    assert.equal(sum(c, 'reclaimedBytes'), 8 * MEBIBYTE);
    assert.equal(sum(c, 'reclaimWaitingBytes'), 0);
    assert.equal(freeBytes(c), before);
  });

  it('comes back on all targets although they are killed in the midst of it', () => {
    const c = new TargetCluster({ targets: 2, reclaimRate: 2 * MEBIBYTE });
    const before = freeBytes(c);
    const root = c.root();
    writeFile(c, root, 'f', 10);
    writeFile(c, root, 'g', 3);
    for (const name of ['f', 'g']) assert.equal(c.unlink(root, name).status, 0);
    for (let round = 0; round < 3; round++) {
      c.idle(700);
      assert.ok(sum(c, 'cutsUnderWay') > 0, 'over before the kill: the test shows nothing');
      for (const node of c.nodes) {
        node.kill();
        node.start();
      }
    }
    untilReclaimed(c);
    assert.equal(freeBytes(c), before);
    assert.equal(sum(c, 'reclaimWaitingBytes'), 0);
    const left = c.nodes.flatMap((node) => [...node.image.values.keys()]);
    assert.deepEqual(
      left.filter((key) => key.charCodeAt(2) === 0x43 || key.startsWith('\xff\xffQ')),
      [],
    );
  });

  it('of a file with one crowded chunk comes back behind the unlink, too', () => {
    const c = new TargetCluster({ reclaimRate: MEBIBYTE });
    const before = freeBytes(c);
    const root = c.root();
    const inode = c.create(root, 'crowded');
    for (let i = 0; i < 20; i++) {
      const data = Buffer.from(pattern(4096, i));
      assert.equal(c.write(inode, 0, 16_384 + i * 8192, data).status, 0);
    }
    writeFile(c, root, 'other', 2);
    assert.equal(c.unlink(root, 'other').status, 0);
    c.idle(50);
    assert.equal(c.unlink(root, 'crowded').status, 0);
    assert.equal(sum(c, 'cutsUnderWay'), 2);
    untilReclaimed(c);
    assert.equal(freeBytes(c), before);
  });

  it('of a file that somebody shortens comes back at once', () => {
    const c = new TargetCluster({ targets: 2, reclaimRate: MEBIBYTE });
    const root = c.root();
    const inode = writeFile(c, root, 'f', 10);
    const begin = c.world.nowMs;
    assert.equal(c.call(c.nodeOf(inode), Opcode.SetAttr, c.setSize(inode, 0)).status, 0);
    assert.ok(c.world.nowMs - begin < 1000);
    assert.equal(sum(c, 'cutsUnderWay'), 0);
  });

  it('is not waited for while there is none: a write gets it, not ENOSPC', () => {
    const c = new TargetCluster({ reclaimRate: MEBIBYTE });
    const root = c.root();
    const files = freeBytes(c) / MEBIBYTE;
    const whole = Math.floor(files) - 1;
    writeFile(c, root, 'f', whole);
    assert.equal(c.unlink(root, 'f').status, 0);
    const begin = c.world.nowMs;
    writeFile(c, root, 'g', whole);
    assert.ok(c.world.nowMs - begin < 5000, 'as slow as the rate');
  });

  it('is waited for while a peer asks for cuts, which it does a few at a time', () => {
    const target = new TestTarget({ totalBlocks: 2048 });
    const made = reclaimer(target);
    made.open();
    const inode = makeInode(BUCKET, 100);
    let chunks = 0;
    while (target.write(chunks, 0, pattern(chunkBytes, chunks), inode) === 0) chunks++;
    const late = new TestWrite();
    target.begin(late, 0, 0, pattern(chunkBytes, 99));
    target.run(() => late.result >= 0, 'the refusal');
    assert.equal(late.result, errno.ENOSPC, 'nothing is known to be coming');
    const nothing = makeInode(BUCKET, 101);
    made.cutForPeer(nothing, 0, 0, true, () => undefined);
    target.world.run(() => false, 50);
    target.begin(late, 0, 0, pattern(chunkBytes, 99));
    target.world.run(() => false, 200);
    assert.equal(late.result, -1, 'it did not wait for the next one');
    made.cutForPeer(inode, 0, 0, true, () => undefined);
    target.run(() => late.result >= 0, 'the write');
    assert.equal(late.result, 0);
  });

  describe('with a queue that is longer than fits in memory', () => {
    const inodes = Array.from({ length: 7 }, (_, i) => makeInode(BUCKET, 100 + i));

    it('everything is cut, in this process or the next', () => {
      const target = new TestTarget();
      const { freeBytes: before } = target.store.capacity();
      for (const inode of inodes) assert.equal(target.write(0, 0, pattern(50_000, 1), inode), 0);
      const first = reclaimer(target);
      target.store.transaction(() => {
        for (const inode of inodes) first.remove(inode, 0, true, 50_000);
      });
      first.committed();
      assert.equal(first.report()['cutsUnderWay'], inodes.length);
      assert.equal(first.report()['reclaimWaitingBytes'], inodes.length * 50_000);
      target.run(() => first.report()['cutsUnderWay']! < inodes.length - 2, 'a part of it');
      target.kill();
      target.start();
      const second = reclaimer(target);
      second.open();
      assert.ok(second.report()['cutsUnderWay']! > 2, 'a queue that fits in memory');
      second.resume();
      target.run(() => second.report()['cutsUnderWay'] === 0, 'the rest of it');
      assert.equal(second.report()['reclaimWaitingBytes'], 0);
      assert.equal(target.store.capacity().freeBytes, before);
    });

    it('an aborted transaction leaves nothing in it', () => {
      const target = new TestTarget();
      const made = reclaimer(target);
      assert.throws(() => {
        target.store.transaction(() => {
          for (const inode of inodes) made.remove(inode, 0, true, 1000);
          throw new Error('no');
        });
      });
      made.aborted();
      assert.deepEqual(made.report(), {
        cutsUnderWay: 0,
        reclaimWaitingBytes: 0,
        reclaimedBytes: 0,
      });
    });
  });
});
