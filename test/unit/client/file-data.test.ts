/** Reads, writes and sizes: pieces, checksums, the end of a file, merged Extends. */
import assert from 'node:assert/strict';
import { errno } from '../../../src/common/errno.js';
import { crc32cOf } from '../../../src/native/crc32c.js';
import { readU53 } from '../../../src/protocol/u53.js';
import {
  AttributesReply,
  ExtendRequest,
  LayoutReply,
  Opcode,
  ReadReply,
  ReadRequest,
  ReserveReply,
  SizeReply,
  WriteReply,
  WriteRequest,
} from '../../../src/protocol/wire.generated.js';
import type { FileHandle } from '../../../src/client/file-handle.js';
import { FakeWorld, attributesBody, put64 } from './fake-target.js';
import type { Asked } from './fake-target.js';

const MIB = 1048576;

function rejectsWith(code: string): (error: unknown) => boolean {
  return (error) => (error as { code?: string }).code === code;
}

function words(asked: Asked): Uint32Array {
  return new Uint32Array(asked.body.buffer);
}

/** A fake world with one file of this size, whose Reads return `fill` bytes. */
class FileWorld extends FakeWorld {
  readonly inode = this.inodeOn(0, 77);
  size: number;
  fill = 1;
  /** Bytes of data that each chunk has. */
  chunkEnd = MIB;
  spoilChecksum = false;

  constructor(sizeBytes: number, targets = 2) {
    super(targets);
    this.size = sizeBytes;
    const attributes = (): Uint8Array =>
      attributesBody({ inode: this.inode, sizeBytes: this.size, striped: this.size > MIB });
    this.answer(Opcode.Lookup, () => ({ status: errno.ENOENT }));
    this.answer(Opcode.Create, () => ({ body: attributes() }));
    this.answer(Opcode.GetAttr, () => ({ body: attributes() }));
    this.answer(Opcode.SetAttr, () => ({ body: attributes() }));
    this.answer(Opcode.MarkStriped, () => ({ body: new Uint8Array(LayoutReply.SIZE) }));
    this.answer(Opcode.Fsync, () => ({}));
    this.answer(Opcode.Read, (asked) => this.#read(asked));
    this.answer(Opcode.Write, (asked) => this.#write(asked));
    this.answer(Opcode.Extend, (asked) => {
      this.size = Math.max(this.size, readU53(words(asked), ExtendRequest.sizeBytes));
      return { body: put64(new Uint8Array(SizeReply.SIZE), 0, this.size), afterMs: 5 };
    });
  }

  #read(asked: Asked): { body: Uint8Array; bulk?: Uint8Array } {
    const request = words(asked);
    const offset = request[ReadRequest.offset / 4]!;
    const wanted = request[ReadRequest.lengthBytes / 4]!;
    const bytes = Math.max(0, Math.min(wanted, this.chunkEnd - offset));
    const data = new Uint8Array(bytes).fill(this.fill);
    const inline = bytes <= 8192;
    const body = new Uint8Array(ReadReply.SIZE + (inline ? bytes : 0));
    const reply = new Uint32Array(body.buffer, 0, ReadReply.SIZE / 4);
    put64(body, ReadReply.sizeBytes, this.size);
    reply[ReadReply.lengthBytes / 4] = bytes;
    reply[ReadReply.inlineBytes / 4] = inline ? bytes : 0;
    reply[ReadReply.checksum / 4] = crc32cOf(data) ^ (this.spoilChecksum ? 1 : 0);
    if (inline) body.set(data, ReadReply.SIZE);
    return inline ? { body } : { body, bulk: data };
  }

  #write(asked: Asked): { body: Uint8Array } {
    const request = words(asked);
    const end = request[WriteRequest.offset / 4]! + request[WriteRequest.lengthBytes / 4]!;
    const first = readU53(request, WriteRequest.chunk) === 0;
    if (first) this.size = Math.max(this.size, end);
    return {
      body: put64(new Uint8Array(WriteReply.SIZE), WriteReply.sizeBytes, first ? this.size : 0),
    };
  }

  openFile(flags: 'w' | 'a' = 'a'): Promise<FileHandle> {
    return this.files.open('/f', flags);
  }
}

/** Opened for appending, so that nothing is truncated; reads do not care. */
async function readRange(file: FileHandle, offset: number, bytes: number): Promise<Uint8Array> {
  const target = new Uint8Array(bytes).fill(9);
  return target.subarray(0, await file.read(target, offset));
}

describe('client file data', () => {
  it('reads pieces from two chunks at once and fills what is short with zeros', async () => {
    const fake = new FileWorld(3 * MIB);
    fake.chunkEnd = MIB - 100;
    await fake.run(async () => {
      const file = await fake.openFile();
      fake.takeAsked();
      const data = await readRange(file, MIB - 50_000, 100_000);
      assert.equal(data.length, 100_000);
      assert.ok(data.subarray(0, 49_900).every((byte) => byte === 1));
      assert.ok(
        data.subarray(49_900, 50_000).every((byte) => byte === 0),
        'behind the data',
      );
      assert.ok(data.subarray(50_000).every((byte) => byte === 1));
      assert.deepEqual(fake.takeAsked(), ['Read', 'Read'], 'the size from open is fresh');
    });
  });

  it('asks for the size before a read that seems to pass the end, or when it is old', async () => {
    const fake = new FileWorld(3 * MIB);
    await fake.run(async () => {
      const file = await fake.openFile();
      fake.size = 3 * MIB + 10;
      fake.takeAsked();
      assert.equal((await readRange(file, 3 * MIB, 50)).length, 10, 'another client has appended');
      assert.deepEqual(fake.takeAsked(), ['GetAttr', 'Read']);
      await fake.pause(1500);
      fake.size = 2 * MIB;
      assert.equal((await readRange(file, 2 * MIB, 50)).length, 0, 'another client has cut it');
      assert.deepEqual(fake.takeAsked().sort(), ['GetAttr', 'Read'], 'at the same time');
      assert.equal((await readRange(file, 0, 50)).length, 50);
      assert.deepEqual(fake.takeAsked(), ['Read'], 'chunk 0 brings the size itself');
    });
  });

  it('answers EIO to data with a wrong checksum, inline and bulk', async () => {
    const fake = new FileWorld(MIB);
    fake.spoilChecksum = true;
    await fake.run(async () => {
      const file = await fake.openFile();
      await assert.rejects(readRange(file, 0, 100), rejectsWith('EIO'));
      await assert.rejects(readRange(file, 0, 100_000), rejectsWith('EIO'));
    });
    assert.equal(fake.core.counters.checksumErrors, 2);
  });

  it('sends a checksum for each started block, the data inline up to 8 KiB', async () => {
    const fake = new FileWorld(0);
    await fake.run(async () => {
      const file = await fake.openFile('w');
      const data = Uint8Array.from({ length: 5000 }, (_, i) => i);
      await file.write(data, 123);
      const asked = fake.asked.find((each) => each.opcode === Opcode.Write)!;
      const request = words(asked);
      assert.equal(request[WriteRequest.checksumCount / 4], 2);
      assert.equal(request[WriteRequest.inlineBytes / 4], 5000);
      const padded = new Uint8Array(8192);
      padded.set(data);
      assert.equal(request[WriteRequest.SIZE / 4], crc32cOf(padded.subarray(0, 4096)));
      assert.equal(request[WriteRequest.SIZE / 4 + 1], crc32cOf(padded.subarray(4096)));
      assert.deepEqual(asked.body.subarray(WriteRequest.SIZE + 8, WriteRequest.SIZE + 5008), data);
    });
  });

  it('marks a file striped once, and merges Extends of writes in flight', async () => {
    const fake = new FileWorld(0);
    await fake.run(async () => {
      const file = await fake.openFile('w');
      fake.takeAsked();
      const part = new Uint8Array(20_000);
      await Promise.all([1, 2, 3, 4, 5, 6].map((chunk) => file.write(part, chunk * MIB)));
      const names = fake.takeAsked();
      assert.equal(names.filter((name) => name === 'MarkStriped').length, 1);
      assert.equal(names.indexOf('MarkStriped'), 0, 'before any data');
      assert.equal(names.filter((name) => name === 'Write').length, 6);
      const extends_ = names.filter((name) => name === 'Extend').length;
      assert.ok(extends_ >= 1 && extends_ <= 3, `${extends_} Extends`);
      assert.equal(fake.size, 6 * MIB + 20_000);
    });
  });

  it('a write inside the file leaves mtime to fsync, getattr or the last close', async () => {
    const fake = new FileWorld(4 * MIB);
    await fake.run(async () => {
      const file = await fake.openFile('w');
      fake.takeAsked();
      await file.write(new Uint8Array(100), 2 * MIB);
      assert.deepEqual(fake.takeAsked(), ['SetAttr', 'Write'].slice(1));
      await file.stat();
      assert.deepEqual(fake.takeAsked(), ['Extend', 'GetAttr']);
      await file.write(new Uint8Array(100), 2 * MIB);
      await file.sync();
      const names = fake.takeAsked();
      assert.equal(names[1], 'Extend');
      assert.ok(names.slice(2).every((name) => name === 'Fsync'));
      await file.write(new Uint8Array(100), 2 * MIB);
      file.close();
      await fake.pause(10);
      assert.deepEqual(fake.takeAsked(), ['Write', 'Extend', 'Release']);
    });
  });

  it('an fsync asks a target until one that began after its last write is through', async () => {
    const fake = new FileWorld(40 * MIB, 4);
    await fake.run(async () => {
      const file = await fake.openFile('w');
      let chunk = 1;
      while (fake.targetOfChunk(fake.inode, chunk) === 0) chunk++;
      const there = fake.targetOfChunk(fake.inode, chunk);
      const fsyncsThere = (): number =>
        fake.asked.splice(0).filter((each) => each.opcode === Opcode.Fsync && each.target === there)
          .length;
      await file.sync();
      fsyncsThere();
      const write = file.write(new Uint8Array(100), chunk * MIB);
      await file.sync();
      await write;
      fsyncsThere();
      await file.sync();
      assert.equal(fsyncsThere(), 1, 'the fsync before may have come before the write');
      await file.sync();
      assert.equal(fsyncsThere(), 0);
      await file.write(new Uint8Array(100), chunk * MIB);
      fake.answer(Opcode.Fsync, () => ({ afterMs: 50 }));
      await Promise.all([file.sync(), file.sync()]);
      assert.equal(fsyncsThere(), 2, 'the second must not end before the first has synced');
      fake.answer(Opcode.Fsync, () => ({ status: errno.EIO }));
      await file.write(new Uint8Array(100), chunk * MIB);
      await assert.rejects(file.sync(), rejectsWith('EIO'));
      fake.answer(Opcode.Fsync, () => ({}));
      fsyncsThere();
      await file.sync();
      assert.equal(fsyncsThere(), 1, 'what failed is asked again');
    });
  });

  it('a write inside an old size confirms the size beside the data', async () => {
    const fake = new FileWorld(4 * MIB);
    await fake.run(async () => {
      const file = await fake.openFile('w');
      await fake.pause(1500);
      fake.size = 10;
      fake.takeAsked();
      await file.write(new Uint8Array(100), 2 * MIB);
      assert.deepEqual(fake.takeAsked().sort(), ['Extend', 'Write']);
      assert.equal(fake.size, 2 * MIB + 100, 'another client had cut the file');
      await file.write(new Uint8Array(100), 2 * MIB - 200);
      assert.deepEqual(fake.takeAsked(), ['Write']);
    });
  });

  it('appends through the target of the inode, and reserves beyond chunk 0', async () => {
    const fake = new FileWorld(100);
    fake.answer(Opcode.Reserve, () => {
      const body = new Uint8Array(ReserveReply.SIZE);
      put64(body, ReserveReply.offset, MIB - 1000);
      return { body: put64(body, ReserveReply.sizeBytes, MIB + 1000) };
    });
    fake.answer(Opcode.Write, (asked) => {
      const request = words(asked);
      if ((request[WriteRequest.flags / 4]! & 1) !== 0) return { status: errno.EAGAIN };
      return { body: new Uint8Array(WriteReply.SIZE) };
    });
    await fake.run(async () => {
      const file = await fake.openFile('a');
      fake.takeAsked();
      await file.write(new Uint8Array(2000), 0);
      assert.deepEqual(fake.takeAsked(), ['Write', 'Reserve', 'MarkStriped', 'Write', 'Write']);
    });
  });

  it('a reply that claims more data than was asked for is EIO', async () => {
    const fake = new FileWorld(MIB);
    fake.answer(Opcode.Read, () => {
      const body = new Uint8Array(ReadReply.SIZE + 200);
      const reply = new Uint32Array(body.buffer);
      reply[ReadReply.lengthBytes / 4] = 200;
      reply[ReadReply.inlineBytes / 4] = 200;
      return { body };
    });
    await fake.run(async () => {
      const file = await fake.openFile();
      await assert.rejects(readRange(file, 0, 100), rejectsWith('EIO'));
    });
    assert.equal(fake.core.counters.malformedReplies, 1);
  });

  it('an attributes reply has the size that the test thinks', () => {
    assert.equal(attributesBody({ inode: 1 }).length, AttributesReply.SIZE);
  });
});
