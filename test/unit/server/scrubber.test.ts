/**
 * The scrubber over memory devices. Protects: what is whole is called whole, also while it is being
 * written; every kind of damage is found, named and logged once; the rate holds; a pass goes on
 * after a restart where it was.
 */
import assert from 'node:assert/strict';
import type { ScrubWish } from '../../../src/common/manager-api.js';
import { chunkBytes } from '../../../src/protocol/limits.generated.js';
import { ExtentMap } from '../../../src/server/data/extent-map.js';
import { chunkKey } from '../../../src/server/data/keys.js';
import { Scrubber } from '../../../src/server/scrubber.js';
import { BUCKET, pattern, TestTarget } from './data/harness.js';

const MEBIBYTE = 2 ** 20;
const FAST: ScrubWish = { run: 1, running: true, bytesPerSecond: 1024 * MEBIBYTE };

interface Made {
  scrubber: Scrubber;
  errors: string[];
}

function makeScrubber(target: TestTarget, foreground: () => number = () => 0): Made {
  const errors: string[] = [];
  const scrubber = new Scrubber({
    arena: target.arena,
    scheduler: target.scheduler,
    store: target.meta,
    disks: target.manager,
    foreground,
    wallMs: () => Date.UTC(2024, 0, 1) + target.world.nowMs,
    log: (level, message) => {
      if (level === 'error') errors.push(message);
    },
  });
  scrubber.open();
  return { scrubber, errors };
}

function untilFinished(target: TestTarget, scrubber: Scrubber): void {
  target.run(() => scrubber.report().state === 'finished', 'the end of the pass');
}

/** The first block of a chunk's extent `index`. */
function blockOf(target: TestTarget, chunk: number, index: number, inode = 77): number {
  const map = new ExtentMap();
  map.load(target.meta.get(chunkKey(BUCKET, inode, chunk)));
  assert.ok(map.hasBlocks(index), 'this extent has no blocks');
  return map.blocks[index]!;
}

function fill(target: TestTarget, chunks: number): void {
  for (let chunk = 0; chunk < chunks; chunk++) {
    assert.equal(target.write(chunk, 0, pattern(chunkBytes, chunk)), 0);
  }
}

describe('scrubber', () => {
  it('calls a healthy store clean, having read every block once', () => {
    const target = new TestTarget({ devices: 2, maxDelayMs: 1 });
    fill(target, 3);
    target.write(3, 100, pattern(3000, 3));
    for (let i = 0; i < 12; i++) target.write(4, 10_000 + i * 9000, pattern(5000, i), 78);
    target.clone(77, 79, [0, 1], 0, 2 * chunkBytes);
    const { scrubber, errors } = makeScrubber(target);
    assert.equal(scrubber.report().state, 'idle');
    scrubber.setWish(FAST);
    untilFinished(target, scrubber);
    const report = scrubber.report();
    assert.equal(report.damagedExtents, 0);
    assert.equal(report.progress, 1);
    assert.equal(report.checkedExtents, 3 + 12 + 2);
    // 5,000 bytes are two blocks; clones are read for each file.
    assert.equal(report.checkedBytes, 5 * MEBIBYTE + 12 * 8192);
    assert.deepEqual(errors, []);
    assert.match(report.startedAt, /^2024-01-01T00:00:/);
    assert.ok(report.finishedAt >= report.startedAt);
  });

  it('names what was damaged while the target was stopped, each extent once', () => {
    const target = new TestTarget();
    fill(target, 2);
    target.write(5, 0, pattern(60_000, 1), 78);
    target.write(5, 20_000, pattern(10_000, 2), 78);
    const whole = blockOf(target, 1, 0);
    const trimmed = blockOf(target, 5, 2, 78);
    target.kill();
    target.disks[0]!.corrupt(whole + 7, 100);
    target.disks[0]!.corrupt(whole + 9, 4095);
    target.disks[0]!.corrupt(trimmed, 4000);
    target.start();
    const { scrubber, errors } = makeScrubber(target);
    scrubber.setWish(FAST);
    untilFinished(target, scrubber);
    const report = scrubber.report();
    assert.equal(report.damagedExtents, 2);
    const places = report.damage.map(({ inode, chunk, offset, block }) => {
      return { inode, chunk, offset, block };
    });
    assert.deepEqual(places, [
      { inode: 77, chunk: 1, offset: 7 * 4096, block: whole + 7 },
      { inode: 78, chunk: 5, offset: 30_000, block: trimmed },
    ]);
    assert.equal(errors.length, 2);
    assert.match(errors[0]!, /inode 77 chunk 1 offset 28672: block \d+ of device 0 does not match/);
    scrubber.setWish({ ...FAST, run: 2 });
    untilFinished(target, scrubber);
    assert.equal(scrubber.report().run, 2);
    assert.equal(scrubber.report().damagedExtents, 2);
  });

  it('names a medium’s errors and damaged records, skips devices that are out of use', () => {
    const target = new TestTarget({ devices: 2 });
    fill(target, 4);
    const key = Buffer.from(chunkKey(BUCKET, 77, 2)).toString('latin1');
    target.image.values.set(key, Uint8Array.of(9, 9, 9));
    const { scrubber } = makeScrubber(target);
    target.devices[1]!.injectFault('read', 5, 1);
    scrubber.setWish(FAST);
    untilFinished(target, scrubber);
    const reasons = scrubber.report().damage.map(({ device, reason }) => `${device} ${reason}`);
    assert.equal(reasons.length, 2);
    assert.ok(
      reasons.some((text) => /^1 cannot be read: EIO/.test(text)),
      reasons.join(),
    );
    assert.ok(
      reasons.some((text) => text.startsWith('-1 a chunk')),
      reasons.join(),
    );
    assert.ok(target.manager.inUse(1), 'a scrub takes no device out of use');
    target.manager.fail(1, 5, 'a test');
    scrubber.setWish({ ...FAST, run: 2 });
    untilFinished(target, scrubber);
    assert.ok(scrubber.report().skippedExtents > 0);
    assert.equal(scrubber.report().damagedExtents, 1);
  });

  it('does not take what is written meanwhile for damage', () => {
    const target = new TestTarget({ totalBlocks: 1024 });
    fill(target, 2);
    const old = blockOf(target, 0, 0);
    const { scrubber, errors } = makeScrubber(target);
    target.devices[0]!.holdReads();
    scrubber.setWish(FAST);
    target.run(() => target.devices[0]!.counters.reads > 0, 'the first read');
    // Until the blocks that are being read hold something else.
    for (let round = 1; target.disks[0]!.blocks.get(old)![0] === pattern(1, 0)[0]; round++) {
      assert.ok(round < 20, 'the blocks are never used again');
      assert.equal(target.write(0, 0, pattern(chunkBytes, round)), 0);
      let flushed = false;
      target.meta.flush(() => {
        flushed = true;
      });
      target.run(() => flushed, 'a flush');
      target.scheduler.requestTurn();
    }
    target.devices[0]!.releaseReads();
    untilFinished(target, scrubber);
    assert.equal(scrubber.report().damagedExtents, 0);
    assert.deepEqual(errors, []);
  });

  it('reads no faster than it may, slower while clients do', () => {
    const target = new TestTarget({ maxDelayMs: 0.2 });
    fill(target, 10);
    const rate = 2 * MEBIBYTE;
    const { scrubber } = makeScrubber(target);
    const begin = target.world.nowMs;
    scrubber.setWish({ ...FAST, bytesPerSecond: rate });
    while (scrubber.report().state === 'running') {
      target.world.run(() => false, 50);
      const seconds = (target.world.nowMs - begin) / 1000;
      // A tenth of a second's at once, and the transfer that overdraws it.
      const most = rate * (seconds + 0.1) + MEBIBYTE;
      assert.ok(scrubber.report().checkedBytes <= most, `too fast after ${seconds} s`);
    }
    const alone = target.world.nowMs - begin;
    assert.ok(alone < 6000, `10 MiB took ${alone} ms`);
    let requests = 0;
    const beside = makeScrubber(target, () => ++requests).scrubber;
    const again = target.world.nowMs;
    beside.setWish({ ...FAST, run: 2, bytesPerSecond: rate });
    untilFinished(target, beside);
    assert.ok(target.world.nowMs - again > 3 * alone, 'clients are not let past');
  });

  it('goes on after a restart where it was, stops, and hears of another rate', () => {
    const target = new TestTarget({ maxDelayMs: 0.2 });
    fill(target, 16);
    const slow = { ...FAST, bytesPerSecond: MEBIBYTE };
    const first = makeScrubber(target).scrubber;
    first.setWish(slow);
    target.world.run(() => false, 11_500);
    const before = first.report();
    assert.equal(before.state, 'running');
    target.kill();
    target.start();
    const { scrubber } = makeScrubber(target);
    const after = scrubber.report();
    assert.equal(after.state, 'running');
    assert.ok(after.checkedBytes >= before.checkedBytes - 6 * MEBIBYTE, 'it was saved');
    assert.ok(after.checkedBytes > 4 * MEBIBYTE);
    assert.equal(after.startedAt, before.startedAt);
    scrubber.setWish({ ...slow, running: false });
    assert.equal(scrubber.report().state, 'stopped');
    target.world.run(() => false, 3000);
    const stopped = scrubber.report().checkedBytes;
    assert.ok(stopped <= after.checkedBytes + MEBIBYTE, 'it stopped');
    scrubber.setWish(FAST);
    target.run(() => scrubber.report().state === 'finished', 'the end');
    assert.equal(scrubber.report().checkedBytes, 16 * MEBIBYTE);
    assert.ok(target.devices[0]!.counters.reads < 16, 'it began anew');
  });
});
