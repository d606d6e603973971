/** What a client keeps of what is granted, against a scripted target: what it asks for, and what it does not. */
import assert from 'node:assert/strict';
import { errno } from '../../../../src/common/errno.js';
import {
  HAS_ATTRIBUTES,
  LEASE_DIRECTORY,
  LEASE_ENTRY,
  LEASE_INODE,
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
} from '../../../../src/protocol/leases.js';
import { nameHash44 } from '../../../../src/placement/hash.js';
import { NameReference } from '../../../../src/client/request.js';
import { AbsentReply, LookupReply, Opcode } from '../../../../src/protocol/wire.generated.js';
import { FakeWorld, attributesBody, bodyOf, fillAttributes, put64 } from '../fake-target.js';
import type { ScriptedReply } from '../fake-target.js';
import { noticesBody } from './notices-body.js';
import type { NoticeValues } from './notices-body.js';

class LeaseWorld extends FakeWorld {
  readonly notices: NoticeValues[][] = [];
  readonly file: number;

  constructor() {
    super(1, { coherence: 'leases', leaseNamesMax: 4 });
    this.file = this.inodeOn(0, 50);
    this.answer(Opcode.Await, () => this.#awaited());
    this.answer(Opcode.Returned, () => ({}));
    this.answer(Opcode.GetAttr, () => ({
      body: attributesBody({ inode: this.rootInode, mode: 0o40755 }, LEASE_INODE),
    }));
    this.answer(Opcode.Lookup, () => this.found(LEASE_INODE | LEASE_ENTRY));
    this.answer(Opcode.Create, () => ({
      body: attributesBody({ inode: this.file }, LEASE_INODE | LEASE_ENTRY),
    }));
  }

  #first = true;

  #awaited(): ScriptedReply {
    const notices = this.notices.shift() ?? [];
    const afterMs = this.#first ? 0 : notices.length > 0 ? 100 : 2000;
    this.#first = false;
    return { afterMs, body: noticesBody(notices) };
  }

  /** A Lookup's answer that grants these. */
  found(flags: number): ScriptedReply {
    const body = put64(new Uint8Array(LookupReply.SIZE), LookupReply.inode, this.file);
    const words = new Uint32Array(body.buffer);
    words[LookupReply.flags / 4] = HAS_ATTRIBUTES | flags;
    fillAttributes(words, LookupReply.attributes, { inode: this.file });
    return { body };
  }

  absent(flags: number): ScriptedReply {
    return {
      status: errno.ENOENT,
      body: bodyOf(AbsentReply.SIZE, { [AbsentReply.flags]: flags }),
    };
  }

  async exists(path: string): Promise<boolean> {
    return this.files.stat(path).then(
      () => true,
      () => false,
    );
  }

  /** Names of opcodes but those of notices. */
  asked_(): string[] {
    return this.takeAsked().filter((name) => !['Await', 'Returned', 'Release'].includes(name));
  }
}

describe('client: leases', () => {
  async function play(body: (world: LeaseWorld) => Promise<void>): Promise<void> {
    const world = new LeaseWorld();
    await world.run(async () => {
      // Connects, and waits for the first Await's answer: from then on leases are believed.
      await world.exists('/');
      await world.pause(50);
      world.takeAsked();
      await body(world);
    });
  }

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

  it('do not keep an answer that an own change may have overtaken', () =>
    play(async (world) => {
      world.answer(Opcode.Lookup, () => ({
        ...world.found(LEASE_INODE | LEASE_ENTRY),
        afterMs: 100,
      }));
      world.answer(Opcode.Unlink, () => ({ body: new Uint8Array(16) }));
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

function reference(bytes: Uint8Array): NameReference {
  return new NameReference().set(bytes, 0, bytes.length);
}
