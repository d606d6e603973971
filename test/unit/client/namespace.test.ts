/** Names that live on two targets: what is asked of whom. */
import assert from 'node:assert/strict';
import { ESTALE, errno } from '../../../src/common/errno.js';
import { readU53 } from '../../../src/protocol/u53.js';
import {
  LookupReply,
  MakeDirRequest,
  Opcode,
  OpenRequest,
  RenameRequest,
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
  words[LookupReply.flags / 4] = 1;
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

  it('looks again when an inode goes between entry and attributes', async () => {
    const fake = new FakeWorld(2);
    const inode = fake.inodeOn(1, 99);
    let lookups = 0;
    fake.answer(Opcode.Lookup, () =>
      ++lookups === 1 ? { body: elsewhere(inode) } : { status: errno.ENOENT },
    );
    fake.answer(Opcode.GetAttr, () => ({ status: ESTALE }));
    await fake.run(() => assert.rejects(fake.files.stat('/d'), rejectsWith('ENOENT')));
    assert.deepEqual(fake.takeAsked(), ['Lookup', 'GetAttr', 'Lookup']);
  });

  it('gives up an entry whose inode stays gone', async () => {
    const fake = new FakeWorld(2);
    fake.answer(Opcode.Lookup, () => ({ body: elsewhere(fake.inodeOn(1, 99)) }));
    fake.answer(Opcode.GetAttr, () => ({ status: ESTALE }));
    await fake.run(() => assert.rejects(fake.files.stat('/d'), rejectsWith('ENOENT')));
    assert.equal(fake.takeAsked().length, 32);
  });

  it('mkdir is one request to the parent, whose answer may leave the attributes to be asked for', async () => {
    const fake = new FakeWorld(2);
    const made = fake.inodeOn(1, 99);
    fake.answer(Opcode.MakeDir, ({ target, body }) => {
      assert.equal(target, 0);
      assert.equal(field(body, MakeDirRequest.parent), fake.rootInode);
      return { body: here(made) };
    });
    await fake.run(() => fake.files.mkdir('/d'));
    assert.deepEqual(fake.takeAsked(), ['MakeDir']);
    fake.answer(Opcode.MakeDir, () => ({ body: elsewhere(made) }));
    fake.answer(Opcode.GetAttr, ({ target }) => {
      assert.equal(target, 1);
      return { body: attributesBody({ inode: made, mode: DIRECTORY }) };
    });
    await fake.run(() => fake.files.mkdir('/e'));
    assert.deepEqual(fake.takeAsked(), ['MakeDir', 'GetAttr']);
  });

  it('rename goes to the new parent, with the root of the volume', async () => {
    const fake = new FakeWorld(2);
    const other = fake.inodeOn(1, 99);
    fake.answer(Opcode.Lookup, () => ({ body: elsewhere(other) }));
    fake.answer(Opcode.GetAttr, () => ({
      body: attributesBody({ inode: other, mode: DIRECTORY }),
    }));
    fake.answer(Opcode.Rename, ({ target, body }) => {
      assert.equal(target, 1);
      assert.equal(field(body, RenameRequest.root), fake.rootInode);
      assert.equal(field(body, RenameRequest.oldParent), fake.rootInode);
      return {};
    });
    await fake.run(() => fake.files.rename('/a', '/d/a'));
    assert.equal(fake.takeAsked().at(-1), 'Rename');
  });

  it('a create that finds the inode on another target opens it there', async () => {
    const fake = new FakeWorld(2);
    const inode = fake.inodeOn(1, 99);
    fake.answer(Opcode.Create, () => ({ status: errno.EXDEV }));
    let lookups = 0;
    // Not there when it is looked for, there when it is to be made.
    fake.answer(Opcode.Lookup, () =>
      ++lookups === 1 ? { status: errno.ENOENT } : { body: elsewhere(inode) },
    );
    fake.answer(Opcode.Open, ({ target, body }) => {
      assert.equal(target, 1);
      assert.equal(field(body, OpenRequest.inode), inode);
      return { body: attributesBody({ inode }) };
    });
    fake.answer(Opcode.Release, () => ({}));
    await fake.run(async () => {
      const file = await fake.files.open('/f', 'w');
      file.close();
    });
    assert.deepEqual(fake.takeAsked().slice(0, 4), ['Lookup', 'Create', 'Lookup', 'Open']);
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
