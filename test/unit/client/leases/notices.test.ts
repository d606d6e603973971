/** The Await loop against scripted targets: order, acknowledgement, what is returned, sessions. */
import assert from 'node:assert/strict';
import { errno } from '../../../../src/common/errno.js';
import {
  LEASE_TRUST_MS,
  NOTICES_MAX,
  NOTICES_OVERDUE,
  NOTICE_ENTRY,
  NOTICE_LOCK,
} from '../../../../src/protocol/leases.js';
import { readU53 } from '../../../../src/protocol/u53.js';
import { AwaitRequest, Opcode, ReturnedRequest } from '../../../../src/protocol/wire.generated.js';
import { attributesBody, FakeWorld } from '../fake-target.js';
import type { Asked, ScriptedReply } from '../fake-target.js';
import { noticesBody } from './notices-body.js';

/** Answers Awaits from a list, then after two seconds each with nothing. */
function scriptNotices(world: FakeWorld, replies: ScriptedReply[]): void {
  world.answer(Opcode.Await, () => replies.shift() ?? { afterMs: 2000, body: noticesBody([]) });
  world.answer(Opcode.Returned, () => ({}));
  world.answer(Opcode.GetAttr, () => ({ body: attributesBody({ inode: world.rootInode }) }));
}

function acknowledged(world: FakeWorld): number[] {
  return asks(world, Opcode.Await).map(({ body }) =>
    readU53(new Uint32Array(body.buffer), AwaitRequest.acknowledged),
  );
}

function returned(world: FakeWorld): number[][] {
  return asks(world, Opcode.Returned).map(({ body }) => {
    const words = new Uint32Array(body.buffer);
    return Array.from({ length: words[0]! }, (_, i) =>
      readU53(words, ReturnedRequest.SIZE + i * 8),
    );
  });
}

function asks(world: FakeWorld, opcode: number): Asked[] {
  return world.asked.filter((each) => each.opcode === opcode);
}

/** Any request: the client connects with its first. */
async function touch(world: FakeWorld): Promise<void> {
  await world.files.stat('/');
}

describe('client: notices', () => {
  it('hands over notices in their order, acknowledges them and returns them together', async () => {
    const world = new FakeWorld(1, { coherence: 'leases' });
    const entry = { kind: NOTICE_ENTRY, inode: 77, hash: 5 };
    scriptNotices(world, [
      {
        afterMs: 10,
        body: noticesBody([
          { ...entry, number: 1 },
          { ...entry, number: 2 },
        ]),
      },
      // Sent again after a lost connection: those before are old.
      {
        afterMs: 10,
        body: noticesBody([
          { ...entry, number: 2 },
          { ...entry, number: 3, hash: 6 },
        ]),
      },
    ]);
    const seen: number[][] = [];
    world.core.notices.on(NOTICE_ENTRY, ({ channel, number, inode, hash }) => {
      seen.push([number, inode, hash]);
      channel.giveBack(number, channel.generation);
    });
    await world.run(async () => {
      await touch(world);
      await world.pause(100);
    });
    assert.deepEqual(seen, [
      [1, 77, 5],
      [2, 77, 5],
      [3, 77, 6],
    ]);
    assert.deepEqual(acknowledged(world), [0, 2, 3]);
    assert.deepEqual(returned(world), [[1, 2], [3]]);
  });

  it('returns what is recalled while all that it asks for waits for just that', async () => {
    const world = new FakeWorld(1, { coherence: 'leases' });
    const recall = { kind: NOTICE_ENTRY, inode: 77, hash: 5, number: 1 };
    scriptNotices(world, [{ afterMs: 500, body: noticesBody([recall]) }]);
    const attributes = attributesBody({ inode: world.rootInode });
    world.answer(Opcode.GetAttr, () => ({ afterMs: 5000, body: attributes }));
    await world.run(async () => {
      const stats = Array.from({ length: 100 }, () => touch(world));
      await world.pause(1500);
      assert.deepEqual(returned(world), [[1]]);
      await Promise.all(stats);
    });
  });

  it('returns at once what nobody here holds, and lets a lock be', async () => {
    const world = new FakeWorld(1, { coherence: 'leases' });
    const locks: number[] = [];
    scriptNotices(world, [
      {
        body: noticesBody([
          { kind: 60, inode: 1, number: 1 },
          { kind: NOTICE_LOCK, inode: 9, hash: 4, status: errno.EDEADLK, number: 2 },
        ]),
      },
    ]);
    world.core.notices.on(NOTICE_LOCK, ({ hash, status }) => locks.push(hash, status));
    await world.run(async () => {
      await touch(world);
      await world.pause(100);
    });
    assert.deepEqual(locks, [4, errno.EDEADLK]);
    assert.deepEqual(returned(world), [[1]]);
  });

  it('begins anew with a target that was restarted, and forgets what it was to return', async () => {
    const world = new FakeWorld(1, { coherence: 'leases' });
    scriptNotices(world, [{ body: noticesBody([{ kind: NOTICE_ENTRY, inode: 1, number: 1 }]) }]);
    const kept: (() => void)[] = [];
    world.core.notices.on(NOTICE_ENTRY, ({ channel, number }) => {
      const { generation } = channel;
      kept.push(() => channel.giveBack(number, generation));
    });
    await world.run(async () => {
      await touch(world);
      await world.pause(100);
      world.killTarget(0);
      await world.pause(100);
      world.startTarget(0);
      await touch(world);
      await world.pause(100);
      for (const give of kept) give();
      await world.pause(100);
    });
    assert.deepEqual(acknowledged(world), [0, 1, 0]);
    assert.deepEqual(returned(world), []);
  });

  it('asks a target that knows no notices once', async () => {
    const world = new FakeWorld(1, { coherence: 'leases' });
    scriptNotices(world, []);
    world.answer(Opcode.Await, () => ({ status: errno.ENOSYS }));
    await world.run(async () => {
      await touch(world);
      await world.pause(10_000);
    });
    assert.equal(acknowledged(world).length, 1);
  });

  it('awaits nothing without leases and locks', async () => {
    const world = new FakeWorld(1);
    scriptNotices(world, []);
    await world.run(async () => {
      await touch(world);
      await world.pause(100);
    });
    assert.equal(acknowledged(world).length, 0);
  });

  it('trusts a target from the sending of an answered Await on, not of every one', async () => {
    const full = Array.from({ length: NOTICES_MAX }, (_, i) => ({
      kind: NOTICE_LOCK,
      inode: 1,
      number: i + 1,
    }));
    const world = new FakeWorld(1, { coherence: 'leases' });
    scriptNotices(world, [
      { afterMs: 1000, body: noticesBody(full) },
      { afterMs: 1500, body: noticesBody([]) },
      { afterMs: 1500, body: noticesBody([], NOTICES_OVERDUE) },
    ]);
    const until = (): number => world.core.trustedUntilMs(world.rootInode);
    await world.run(async () => {
      await touch(world);
      await world.pause(1200);
      assert.equal(until(), -Infinity);
      await world.pause(1600);
      const [, second] = asks(world, Opcode.Await);
      assert.ok(until() > second!.atMs + LEASE_TRUST_MS - 50, String(until()));
      assert.ok(until() <= second!.atMs + LEASE_TRUST_MS, String(until()));
      // A recall is overdue: the target is about to go on without this client.
      await world.pause(1600);
      assert.equal(asks(world, Opcode.Await).length, 4);
      assert.ok(until() <= second!.atMs + LEASE_TRUST_MS, String(until()));
    });
  });

  it('leaves no call outstanding and lets an idle client be', async () => {
    const world = new FakeWorld(1, { coherence: 'leases' });
    scriptNotices(world, []);
    await world.run(async () => {
      await touch(world);
      await world.pause(100);
    });
    assert.equal(world.core.outstanding, 0);
  });
});
