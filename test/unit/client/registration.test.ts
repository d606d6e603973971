/** Who is registered where: one Open for many handles, one Release, and again after a restart. */
import assert from 'node:assert/strict';
import { ESTALE } from '../../../src/common/errno.js';
import { LookupReply, Opcode, OpenRequest } from '../../../src/protocol/wire.generated.js';
import { FakeWorld, attributesBody, fillAttributes, put64 } from './fake-target.js';

function registered(): { fake: FakeWorld; inode: number } {
  const fake = new FakeWorld(1);
  const inode = fake.inodeOn(0, 77);
  const lookup = new Uint32Array(LookupReply.SIZE / 4);
  lookup[LookupReply.flags / 4] = 1;
  fillAttributes(lookup, LookupReply.attributes, { inode });
  const body = put64(new Uint8Array(lookup.buffer), LookupReply.inode, inode);
  fake.answer(Opcode.Lookup, () => ({ body }));
  fake.answer(Opcode.Open, () => ({ body: attributesBody({ inode }), afterMs: 3 }));
  fake.answer(Opcode.Create, () => ({ body: attributesBody({ inode }) }));
  fake.answer(Opcode.SetAttr, () => ({ body: attributesBody({ inode }) }));
  return { fake, inode };
}

describe('client open files', () => {
  it('registers once for handles opened at the same time, releases with the last', async () => {
    const { fake } = registered();
    await fake.run(async () => {
      const files = await Promise.all([1, 2, 3].map(() => fake.files.open('/f')));
      const names = fake.takeAsked();
      assert.equal(names.filter((name) => name === 'Open').length, 1);
      assert.equal(fake.core.openHandles, 3);
      files[0]!.close();
      files[1]!.close();
      await fake.pause(5);
      assert.deepEqual(fake.takeAsked(), []);
      files[2]!.close();
      await fake.pause(5);
      assert.deepEqual(fake.takeAsked(), ['Release']);
      assert.equal(fake.core.openFiles, 0);
    });
  });

  it('a failed open wakes the others, who try themselves, and forgets the file', async () => {
    const { fake } = registered();
    fake.answer(Opcode.Open, () => ({ status: ESTALE, afterMs: 3 }));
    await fake.run(async () => {
      const outcomes = await Promise.allSettled([1, 2].map(() => fake.files.open('/f')));
      assert.ok(outcomes.every((outcome) => outcome.status === 'rejected'));
    });
    assert.equal(fake.core.openFiles, 0);
    assert.equal(fake.core.openHandles, 0);
  });

  it('create registers by itself', async () => {
    const { fake } = registered();
    await fake.run(async () => {
      const file = await fake.files.open('/f', 'wx');
      const again = await fake.files.open('/f');
      assert.deepEqual(fake.takeAsked(), ['Create', 'Lookup']);
      file.close();
      again.close();
      await fake.pause(5);
      assert.deepEqual(fake.takeAsked(), ['Release']);
    });
  });

  it('registers again with a target that was restarted', async () => {
    const { fake, inode } = registered();
    await fake.run(async () => {
      const file = await fake.files.open('/f');
      fake.takeAsked();
      fake.killTarget(0);
      await fake.pause(10);
      fake.startTarget(0);
      await fake.pause(5000);
      assert.equal(fake.asked.length, 1);
      const asked = fake.asked[0]!;
      const words = new Uint32Array(asked.body.buffer);
      assert.equal(asked.opcode, Opcode.Open);
      assert.equal(words[OpenRequest.flags / 4], 2);
      assert.equal(words[0]! + words[1]! * 2 ** 32, inode);
      file.close();
    });
  });

  it('an interrupted wait for a target that is away ends with EINTR', async () => {
    const { fake } = registered();
    fake.killTarget(0);
    await fake.run(async () => {
      let request: Parameters<typeof fake.core.statFs>[0] | undefined;
      const waiting = fake.files.call('statfs', '/', (each) => {
        request = each;
        fake.core.statFs(each);
      });
      await fake.pause(3000);
      assert.equal(fake.core.targetsAway, 1);
      fake.core.interrupt(request!);
      await assert.rejects(waiting, (error) => (error as { code?: string }).code === 'EINTR');
    });
  });
});
