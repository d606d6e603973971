/** Access times and what is known of inodes: when the client asks and tells, and when it need not. */
import assert from 'node:assert/strict';
import { errno } from '../../../src/common/errno.js';
import { readI53, readU53 } from '../../../src/protocol/u53.js';
import {
  AccessedRequest,
  AccessTime,
  Attributes,
  AttributesReply,
  Opcode,
  ReadReply,
  XattrReply,
} from '../../../src/protocol/wire.generated.js';
import { FakeWorld, attributesBody, put64 } from './fake-target.js';
import type { AttributeValues } from './fake-target.js';

const XATTRS = 2;
const ACCESS_ACL = 4;

/** Attributes with a lookup's or getattr's times, in seconds. */
function body(values: AttributeValues, atime: number, mtime: number, flags = 0): Uint8Array {
  const bytes = attributesBody(values);
  put64(bytes, Attributes.atimeSeconds, atime);
  put64(bytes, Attributes.mtimeSeconds, mtime);
  bytes[Attributes.flags] = flags;
  return bytes;
}

interface Told {
  inode: number;
  seconds: number;
}

class Reading extends FakeWorld {
  readonly inode: number;
  readonly told: Told[] = [];
  atime = 0;
  mtime = 0;
  flags = 0;

  constructor(freshMs = 1000) {
    super(1, { accessTimes: true, sizeFreshMs: freshMs });
    this.inode = this.inodeOn(0, 40);
    const attributes = (): Uint8Array =>
      body({ inode: this.inode, sizeBytes: 3 }, this.atime, this.mtime, this.flags);
    for (const opcode of [Opcode.GetAttr, Opcode.Open, Opcode.SetAttr]) {
      this.answer(opcode, () => ({ body: attributes() }));
    }
    this.answer(Opcode.Read, () => {
      const reply = new Uint8Array(ReadReply.SIZE);
      put64(reply, ReadReply.sizeBytes, 3);
      return { body: reply };
    });
    this.answer(Opcode.Accessed, ({ body: asked }) => {
      const words = new Uint32Array(asked.slice().buffer);
      for (let i = 0; i < words[AccessedRequest.count / 4]!; i++) {
        const at = AccessedRequest.SIZE + i * AccessTime.SIZE;
        const seconds = readI53(words, at + AccessTime.seconds);
        this.told.push({ inode: readU53(words, at + AccessTime.inode), seconds });
      }
      return {};
    });
  }

  /** The access time that a getattr shows now. */
  async shown(): Promise<number> {
    const answer = await this.files.call('stat', 'f', (request) => {
      this.core.getAttributes(request, this.inode);
    });
    return answer.stats!.atimeSeconds;
  }

  async read(): Promise<void> {
    const opened = await this.files.call('open', 'f', (request) => {
      this.core.open(request, this.inode, false);
    });
    const landing = this.arena.bulk.take();
    await this.files.call('read', 'f', (request) => {
      this.core.read(request, opened.handle, 0, 100, landing);
    });
    this.arena.bulk.give(landing);
    this.core.closeHandle(opened.handle);
  }

  getXattr(name: string): Promise<unknown> {
    const bytes = new TextEncoder().encode(name);
    return this.files.call('getxattr', 'f', (request) => {
      this.core.getXattr(
        request,
        this.inode,
        { bytes, offset: 0, lengthBytes: bytes.length } as never,
        100,
        0,
      );
    });
  }
}

describe('client access times', () => {
  it('costs a read no request, shows the read at once, tells it a second later, once', async () => {
    const fake = new Reading();
    await fake.run(async () => {
      await fake.pause(5000);
      assert.equal(await fake.shown(), 0);
      await fake.read();
      await fake.read();
      assert.equal(fake.told.length, 0);
      assert.ok((await fake.shown()) >= 5);
      await fake.pause(2000);
      assert.equal(fake.told.length, 1);
      assert.equal(fake.told[0]!.inode, fake.inode);
      // As the target stored it.
      fake.atime = fake.told[0]!.seconds;
      await fake.shown();
      await fake.read();
      await fake.pause(2000);
      assert.equal(fake.told.length, 1);
      fake.mtime = fake.atime;
      await fake.shown();
      await fake.read();
      await fake.pause(2000);
      assert.equal(fake.told.length, 2);
    });
  });

  it('forgets what it has noted when the access time is set', async () => {
    const fake = new Reading();
    await fake.run(async () => {
      await fake.read();
      await fake.files.call('utimes', 'f', (request) => {
        fake.core.setAttributes(request, fake.inode, {
          valid: 16,
          atimeSeconds: 5,
        } as never);
      });
      await fake.pause(2000);
      assert.equal(fake.told.length, 0);
    });
  });

  it('tells at once when asked to', async () => {
    const fake = new Reading();
    await fake.run(async () => {
      await fake.read();
      fake.core.flushAccessTimes();
      fake.scheduler.requestTurn();
      await fake.pause(100);
      assert.equal(fake.told.length, 1);
    });
  });
});

describe('client extended attributes', () => {
  it('asks nobody about inodes that lately had none', async () => {
    const fake = new Reading();
    const refused = (promise: Promise<unknown>): Promise<void> =>
      assert.rejects(promise, { code: 'ENODATA' });
    fake.answer(Opcode.GetXattr, () => ({ status: errno.ENODATA }));
    await fake.run(async () => {
      await refused(fake.getXattr('user.a'));
      assert.deepEqual(fake.takeAsked(), ['GetXattr']);
      await fake.shown();
      await refused(fake.getXattr('user.a'));
      await refused(fake.getXattr('security.capability'));
      assert.deepEqual(fake.takeAsked(), ['GetAttr']);
      fake.flags = XATTRS | ACCESS_ACL;
      await fake.shown();
      await refused(fake.getXattr('security.capability'));
      await refused(fake.getXattr('system.posix_acl_default'));
      assert.deepEqual(fake.takeAsked(), ['GetAttr']);
      await refused(fake.getXattr('user.a'));
      await refused(fake.getXattr('system.posix_acl_access'));
      assert.deepEqual(fake.takeAsked(), ['GetXattr', 'GetXattr']);
      fake.flags = 0;
      await fake.shown();
      await fake.pause(1500);
      await refused(fake.getXattr('user.a'));
      assert.deepEqual(fake.takeAsked(), ['GetAttr', 'GetXattr']);
    });
  });

  it('asks again when a target had no slot', async () => {
    const fake = new Reading();
    let asked = 0;
    fake.answer(Opcode.GetXattr, () => {
      if (asked++ < 2) return { status: errno.EAGAIN };
      const reply = new Uint8Array(XattrReply.SIZE + 8);
      reply[XattrReply.valueBytes] = 3;
      reply[XattrReply.inlineBytes] = 3;
      reply.set([1, 2, 3], XattrReply.SIZE);
      return { body: reply };
    });
    await fake.run(async () => {
      const answer = (await fake.getXattr('user.a')) as { text: Uint8Array };
      assert.deepEqual(answer.text, Uint8Array.of(1, 2, 3));
    });
    assert.equal(asked, 3);
    assert.equal(AttributesReply.attributes, 0);
  });
});
