/** Names that live on two targets: what is asked of whom, and how halves of operations heal. */
import assert from 'node:assert/strict';
import { ESTALE, errno } from '../../../src/common/errno.js';
import { readU53 } from '../../../src/protocol/u53.js';
import {
  Attributes,
  InodeRequest,
  LinkDirEntryReply,
  LinkDirEntryRequest,
  LookupReply,
  MakeDirInodeRequest,
  Opcode,
  UnlinkDirEntryRequest,
} from '../../../src/protocol/wire.generated.js';
import { FakeWorld, attributesBody, bodyOf, fillAttributes, put64 } from './fake-target.js';

const DIRECTORY = 0o040755;

function field(body: Uint8Array, offset: number): number {
  return readU53(new Uint32Array(body.buffer, body.byteOffset), offset);
}

/** A lookup's answer without attributes: the inode is elsewhere. */
function elsewhere(inode: number): Uint8Array {
  const body = bodyOf(LookupReply.SIZE, { [LookupReply.mode]: 0o040000 });
  return put64(body, LookupReply.inode, inode);
}

function here(inode: number): Uint8Array {
  const words = new Uint32Array(LookupReply.SIZE / 4);
  words[LookupReply.hasAttributes / 4] = 1;
  words[LookupReply.mode / 4] = 0o100000;
  fillAttributes(words, LookupReply.attributes, { inode });
  return put64(new Uint8Array(words.buffer), LookupReply.inode, inode);
}

function rejectsWith(code: string): (error: unknown) => boolean {
  return (error) => (error as { code?: string }).code === code;
}

describe('client namespace', () => {
  it('fetches attributes from the target of the inode', async () => {
    const fake = new FakeWorld(2);
    const inode = fake.inodeOn(1, 99);
    fake.answer(Opcode.Lookup, () => ({ body: elsewhere(inode) }));
    fake.answer(Opcode.GetAttr, ({ target }) => {
      assert.equal(target, 1);
      return { body: attributesBody({ inode, mode: DIRECTORY }) };
    });
    await fake.run(async () => {
      const stats = await fake.files.stat('/d');
      assert.equal(stats.inode, inode);
      assert.ok(stats.isDirectory());
    });
    assert.deepEqual(fake.takeAsked(), ['Lookup', 'GetAttr']);
  });

  it('removes an entry whose inode is gone, and says ENOENT', async () => {
    const fake = new FakeWorld(2);
    const inode = fake.inodeOn(1, 99);
    fake.answer(Opcode.Lookup, () => ({ body: elsewhere(inode) }));
    fake.answer(Opcode.GetAttr, () => ({ status: ESTALE }));
    fake.answer(Opcode.UnlinkDirEntry, ({ target, body }) => {
      assert.equal(target, 0);
      assert.equal(field(body, UnlinkDirEntryRequest.inode), inode);
      return {};
    });
    await fake.run(() => assert.rejects(fake.files.stat('/d'), rejectsWith('ENOENT')));
    assert.deepEqual(fake.takeAsked(), ['Lookup', 'GetAttr', 'UnlinkDirEntry']);
    assert.equal(fake.core.counters.danglingEntries, 1);
  });

  it('mkdir replaces an entry that dangles', async () => {
    const fake = new FakeWorld(2);
    const stale = fake.inodeOn(1, 98);
    const made = fake.inodeOn(1, 99);
    fake.answer(Opcode.MakeDirInode, () => ({ body: attributesBody({ inode: made }) }));
    fake.answer(Opcode.LinkDirEntry, ({ body }) => {
      const replaced = field(body, LinkDirEntryRequest.staleInode);
      assert.equal(field(body, LinkDirEntryRequest.inode), made);
      if (replaced === 0) return { status: errno.EEXIST };
      assert.equal(replaced, stale);
      return { body: new Uint8Array(LinkDirEntryReply.SIZE) };
    });
    fake.answer(Opcode.Lookup, () => ({ body: elsewhere(stale) }));
    fake.answer(Opcode.GetAttr, () => ({ status: ESTALE }));
    await fake.run(() => fake.files.mkdir('/d'));
    const asked = ['MakeDirInode', 'LinkDirEntry', 'Lookup', 'GetAttr', 'LinkDirEntry'];
    assert.deepEqual(fake.takeAsked(), asked);
  });

  it('mkdir takes its inode back when the name is taken', async () => {
    const fake = new FakeWorld(2);
    const made = fake.inodeOn(1, 99);
    fake.answer(Opcode.MakeDirInode, () => ({ body: attributesBody({ inode: made }) }));
    fake.answer(Opcode.LinkDirEntry, () => ({ status: errno.EEXIST }));
    fake.answer(Opcode.Lookup, () => ({ body: here(fake.inodeOn(0, 50)) }));
    fake.answer(Opcode.DropDirInode, ({ body }) => {
      assert.equal(field(body, InodeRequest.inode), made);
      return {};
    });
    await fake.run(() => assert.rejects(fake.files.mkdir('/d'), rejectsWith('EEXIST')));
    const asked = ['MakeDirInode', 'LinkDirEntry', 'Lookup', 'DropDirInode'];
    assert.deepEqual(fake.takeAsked(), asked);
  });

  it('mkdir in a set-group-ID directory takes over its group before the name is seen', async () => {
    const fake = new FakeWorld(1);
    const made = fake.inodeOn(0, 99);
    const makes: Uint32Array[] = [];
    const links: number[] = [];
    fake.answer(Opcode.MakeDirInode, ({ body }) => {
      makes.push(new Uint32Array(body.slice().buffer));
      return { body: attributesBody({ inode: made }) };
    });
    fake.answer(Opcode.LinkDirEntry, ({ body }) => {
      links.push(body[LinkDirEntryRequest.flags]!);
      if (links.at(-1) === 0) return { status: errno.EAGAIN };
      return { body: new Uint8Array(LinkDirEntryReply.SIZE) };
    });
    fake.answer(Opcode.DropDirInode, () => ({}));
    fake.answer(Opcode.GetAttr, () => {
      const parent = attributesBody({ inode: fake.rootInode, mode: 0o042775 });
      new Uint32Array(parent.buffer)[Attributes.gid / 4] = 4242;
      return { body: parent };
    });
    const asked = ['GetAttr', 'MakeDirInode', 'LinkDirEntry'];
    await fake.run(() => fake.files.mkdir('/d'));
    assert.deepEqual(fake.takeAsked(), ['MakeDirInode', 'LinkDirEntry', 'DropDirInode', ...asked]);
    assert.equal(makes[0]![MakeDirInodeRequest.gid / 4], 8);
    assert.equal(makes[1]![MakeDirInodeRequest.gid / 4], 4242);
    assert.equal(makes[1]![MakeDirInodeRequest.mode / 4], 0o042755);
    // Known now: nothing is tried in vain.
    await fake.run(() => fake.files.mkdir('/e'));
    assert.deepEqual(fake.takeAsked(), asked);
    assert.deepEqual(links, [0, 2, 2]);
  });

  it('rmdir goes on when the inode, or the entry, has gone already', async () => {
    const fake = new FakeWorld(2);
    fake.answer(Opcode.Lookup, () => ({ body: elsewhere(fake.inodeOn(1, 99)) }));
    fake.answer(Opcode.DropDirInode, () => ({ status: ESTALE }));
    fake.answer(Opcode.UnlinkDirEntry, () => ({ status: errno.ENOENT }));
    await fake.run(() => fake.files.rmdir('/d'));
    assert.deepEqual(fake.takeAsked(), ['Lookup', 'DropDirInode', 'UnlinkDirEntry']);
  });

  it('rename and link between targets are EXDEV, without asking', async () => {
    const fake = new FakeWorld(2);
    const other = fake.inodeOn(1, 99);
    fake.answer(Opcode.Lookup, () => ({ body: elsewhere(other) }));
    fake.answer(Opcode.GetAttr, () => ({
      body: attributesBody({ inode: other, mode: DIRECTORY }),
    }));
    await fake.run(async () => {
      await assert.rejects(fake.files.rename('/a', '/d/a'), rejectsWith('EXDEV'));
      await assert.rejects(fake.files.link('/a', '/b'), rejectsWith('EXDEV'));
    });
    assert.ok(!fake.takeAsked().some((name) => name === 'Rename' || name === 'Link'));
  });

  it('names that are too long are refused here; short replies are EIO', async () => {
    const fake = new FakeWorld(1);
    fake.answer(Opcode.Lookup, () => ({ body: new Uint8Array(16) }));
    await fake.run(async () => {
      const long = `/${'x'.repeat(256)}`;
      await assert.rejects(fake.files.lstat(long), rejectsWith('ENAMETOOLONG'));
      await assert.rejects(fake.files.mkdir(long), rejectsWith('ENAMETOOLONG'));
      assert.deepEqual(fake.takeAsked(), []);
      await assert.rejects(fake.files.stat('/a'), rejectsWith('EIO'));
    });
    assert.equal(fake.core.counters.malformedReplies, 1);
  });
});
