/** What a client keeps of what is granted, against a scripted target: what it asks for, and what it does not. */
import assert from 'node:assert/strict';
import {
  LEASE_DIRECTORY,
  LEASE_ENTRY,
  LEASE_INODE,
  LEASE_PERMISSIONS,
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
  NOTICE_PERMISSIONS,
} from '../../../../src/protocol/leases.js';
import { nameHash44 } from '../../../../src/placement/hash.js';
import type { Answer } from '../../../../src/client/answer.js';
import { Opcode, UnlinkReply } from '../../../../src/protocol/wire.generated.js';
import { attributesBody } from '../fake-target.js';
import { play, reference } from './lease-world.js';
import { noticesBody } from './notices-body.js';

describe('client: leases', () => {
  it('answer a name and its attributes until they are recalled', () =>
    play(async (world) => {
      assert.ok(await world.exists('/a'));
      assert.ok(await world.exists('/a'));
      assert.deepEqual(world.asked_(), ['Lookup']);
      world.notices.push([], [{ number: 1, kind: NOTICE_INODE, inode: world.file }]);
      await world.pause(5000);
      assert.ok(await world.exists('/a'));
      assert.deepEqual(world.asked_(), ['GetAttr']);
    }));

  it('are not believed when the target has not answered for long', () =>
    play(async (world) => {
      assert.ok(await world.exists('/a'));
      world.answer(Opcode.Await, () => ({ afterMs: 100_000, body: noticesBody([]) }));
      await world.pause(20_000);
      world.asked_();
      assert.ok(await world.exists('/a'));
      assert.deepEqual(world.asked_(), ['Lookup']);
    }));

  it('of a whole directory answer for names that nobody has made', () =>
    play(async (world) => {
      world.answer(Opcode.Lookup, () => world.absent(LEASE_ENTRY | LEASE_DIRECTORY));
      assert.ok(!(await world.exists('/a')));
      assert.ok(!(await world.exists('/b')));
      assert.deepEqual(world.asked_(), ['Lookup']);
      await world.files.writeFile('/c', '').catch(() => undefined);
      world.asked_();
      assert.ok(!(await world.exists('/d')));
      assert.ok(await world.exists('/c'));
      assert.deepEqual(world.asked_(), []);
      world.notices.push([], [{ number: 1, kind: NOTICE_DIRECTORY, inode: world.rootInode }]);
      await world.pause(5000);
      world.asked_();
      assert.ok(!(await world.exists('/d')));
      assert.deepEqual(world.asked_(), ['Lookup']);
    }));

  it('of a directory with more names than there is room for do not answer for unknown ones', () =>
    play(async (world) => {
      world.answer(Opcode.Lookup, () => world.absent(LEASE_ENTRY | LEASE_DIRECTORY));
      assert.ok(!(await world.exists('/a')));
      world.answer(Opcode.Lookup, () => world.absent(LEASE_ENTRY));
      for (let i = 0; i < 6; i++) await world.files.writeFile(`/f${i}`, '').catch(() => undefined);
      world.asked_();
      assert.ok(!(await world.exists('/z')));
      assert.deepEqual(world.asked_(), ['Lookup']);
    }));

  it('of a whole directory stay when nothing is known of one name', () =>
    play(async (world) => {
      world.answer(Opcode.Lookup, () => world.absent(LEASE_ENTRY | LEASE_DIRECTORY));
      assert.ok(!(await world.exists('/a')));
      // An answer that had to wait grants nothing.
      world.answer(Opcode.Create, () => ({ body: attributesBody({ inode: world.file }) }));
      await world.files.writeFile('/c', '').catch(() => undefined);
      world.asked_();
      assert.ok(!(await world.exists('/d')));
      assert.deepEqual(world.asked_(), []);
      world.answer(Opcode.Lookup, () => world.found(LEASE_INODE | LEASE_ENTRY));
      assert.ok(await world.exists('/c'));
      assert.deepEqual(world.asked_(), ['Lookup']);
      assert.ok(await world.exists('/c'));
      assert.deepEqual(world.asked_(), []);
    }));

  it('say nothing of a name whose change was given up, however long ago', () =>
    play(
      async (world) => {
        world.answer(Opcode.Lookup, () => world.absent(LEASE_ENTRY | LEASE_DIRECTORY));
        assert.ok(!(await world.exists('/a')));
        const { rootInode, core, files } = world;
        const name = reference(new TextEncoder().encode('a'));
        // It is executed, but the connection goes before its answer, and comes back too late.
        world.answer(Opcode.Create, () => {
          world.network.partition('client', 't0');
          return { body: attributesBody({ inode: world.file }, LEASE_INODE | LEASE_ENTRY) };
        });
        const made = files.call('mknod', '/a', (request) => {
          core.makeNode(request, rootInode, name, 0o100644, 0);
        });
        await assert.rejects(made, /ETIMEDOUT|EIO/);
        world.network.heal('client', 't0');
        await world.pause(700_000);
        world.asked_();
        await world.exists('/a');
        assert.deepEqual(world.asked_(), ['Lookup']);
      },
      4,
      { mode: 'soft', softTimeoutMs: 1000 },
    ));

  it('do not keep an answer that an own change may have overtaken', () =>
    play(async (world) => {
      world.answer(Opcode.Lookup, () => ({
        ...world.found(LEASE_INODE | LEASE_ENTRY),
        afterMs: 100,
      }));
      world.answer(Opcode.Unlink, () => ({ body: new Uint8Array(UnlinkReply.SIZE) }));
      const looked = world.exists('/a');
      await world.pause(20);
      const { rootInode, core, files } = world;
      const name = new TextEncoder().encode('a');
      await files.call('unlink', '/a', (request) => {
        core.unlink(request, rootInode, reference(name));
      });
      await looked;
      world.asked_();
      world.answer(Opcode.Lookup, () => world.absent(LEASE_ENTRY));
      assert.ok(!(await world.exists('/a')));
      assert.deepEqual(world.asked_(), ['Lookup']);
    }));

  it('of permissions answer who asks for nothing else, until they are changed', () =>
    play(async (world) => {
      const { rootInode, core, files } = world;
      const attributes = (flags: number): void => {
        const body = attributesBody({ inode: rootInode, mode: 0o40755 }, flags);
        world.answer(Opcode.GetAttr, () => ({ body }));
        world.answer(Opcode.SetAttr, () => ({ body }));
      };
      const ask = async (permissionsOnly: boolean): Promise<string[]> => {
        await files.call('getattr', '/', (request) => {
          (request as Answer).permissionsOnly = permissionsOnly;
          core.getAttributes(request, rootInode);
        });
        return world.asked_();
      };
      attributes(LEASE_PERMISSIONS);
      world.notices.push([], [{ number: 1, kind: NOTICE_INODE, inode: rootInode }]);
      await world.pause(5000);
      assert.deepEqual(await ask(true), ['GetAttr']);
      assert.deepEqual(await ask(true), []);
      assert.deepEqual(await ask(false), ['GetAttr']);
      // What the answer to it is learnt from is as good.
      assert.deepEqual(await ask(true), []);
      await files.chmod('/', 0o700);
      assert.deepEqual((await ask(true)).slice(-1), ['GetAttr']);
      assert.deepEqual(await ask(true), []);
      // Perhaps nobody else is there any more.
      await world.pause(1500);
      assert.deepEqual(await ask(true), ['GetAttr']);
      world.notices.push([{ number: 2, kind: NOTICE_PERMISSIONS, inode: rootInode }]);
      await world.pause(2000);
      attributes(0);
      assert.deepEqual(await ask(true), ['GetAttr']);
      assert.deepEqual(await ask(true), ['GetAttr']);
    }));

  it('do not say what a rename has moved when its name was recalled meanwhile', () =>
    play(async (world) => {
      assert.ok(await world.exists('/a'));
      world.answer(Opcode.Lookup, () => world.absent(LEASE_ENTRY));
      assert.ok(!(await world.exists('/b')));
      // Another client makes it the name of another file before the rename comes.
      const hash = nameHash44(new TextEncoder().encode('a'), 0, 1);
      world.notices.push([{ number: 1, kind: NOTICE_ENTRY, inode: world.rootInode, hash }]);
      world.answer(Opcode.Rename, () => ({ afterMs: 4000 }));
      await world.files.rename('/a', '/b');
      world.asked_();
      world.answer(Opcode.Lookup, () => world.found(LEASE_INODE | LEASE_ENTRY));
      assert.ok(await world.exists('/b'));
      assert.deepEqual(world.asked_(), ['Lookup']);
    }));
});
