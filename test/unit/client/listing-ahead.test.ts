/**
 * Listings of a directory in partitions, against scripted targets. Protects: the next partitions are asked for while
 * one is gone through, each page once, and what comes is what was there, in its order.
 */
import assert from 'node:assert/strict';
import { EREMCHG } from '../../../src/common/errno.js';
import { readU53, writeU16, writeU53 } from '../../../src/protocol/u53.js';
import {
  DirEntry,
  Opcode,
  PartitionRange,
  PartitionsReply,
  ReadDirReply,
  ReadDirRequest,
} from '../../../src/protocol/wire.generated.js';
import { FakeWorld, attributesBody } from './fake-target.js';
import type { Asked, ScriptedReply } from './fake-target.js';

const HASH_END = 2 ** 44;
const PARTITIONS = 8;
const WIDTH = HASH_END / PARTITIONS;
const DELAY_MS = 10;

/** A directory of as many partitions, by turns on two targets, with one entry each. */
class SplitWorld extends FakeWorld {
  readonly partitions: number[];
  readonly listed: { partition: number; atMs: number }[] = [];

  constructor() {
    super(2);
    this.partitions = Array.from({ length: PARTITIONS }, (_, i) =>
      i === 0 ? this.rootInode : this.inodeOn(i % 2, 100 + i),
    );
    this.answer(Opcode.GetPartitions, () => this.#table());
    this.answer(Opcode.GetAttr, () => ({
      body: attributesBody({ inode: this.rootInode, mode: 0o40755 }),
    }));
    this.answer(Opcode.ReadDir, (asked) => this.#page(asked));
  }

  #table(): ScriptedReply {
    const body = new Uint8Array(PartitionsReply.SIZE + PARTITIONS * PartitionRange.SIZE);
    const words = new Uint32Array(body.buffer);
    words[PartitionsReply.count / 4] = PARTITIONS;
    for (const [i, inode] of this.partitions.entries()) {
      const at = PartitionsReply.SIZE + i * PartitionRange.SIZE;
      writeU53(words, at + PartitionRange.first, i * WIDTH);
      writeU53(words, at + PartitionRange.inode, inode);
    }
    return { body };
  }

  #page({ body: asked, atMs }: Asked): ScriptedReply {
    const request = new Uint32Array(asked.slice().buffer);
    const inode = readU53(request, ReadDirRequest.inode);
    const cookie = readU53(request, ReadDirRequest.cookie);
    const partition = this.partitions.indexOf(inode);
    if (Math.floor((cookie + 1) / 256 / WIDTH) !== partition) return { status: EREMCHG };
    this.listed.push({ partition, atMs });
    const own = partition * WIDTH * 256 + 300;
    const body = new Uint8Array(ReadDirReply.SIZE + DirEntry.SIZE + 8);
    const words = new Uint32Array(body.buffer);
    const entries = cookie < own ? 1 : 0;
    words[ReadDirReply.inlineBytes / 4] = entries * (DirEntry.SIZE + 8);
    words[ReadDirReply.entryCount / 4] = entries;
    words[ReadDirReply.endOfDirectory / 4] = 1;
    writeU53(words, ReadDirReply.rangeEnd, (partition + 1) * WIDTH);
    writeU53(words, ReadDirReply.SIZE + DirEntry.inode, inode + 1);
    writeU53(words, ReadDirReply.SIZE + DirEntry.cookie, own);
    writeU16(words, ReadDirReply.SIZE + DirEntry.nameBytes, 2);
    body.set([0x66, 0x30 + partition], ReadDirReply.SIZE + DirEntry.SIZE);
    const lengthBytes = ReadDirReply.SIZE + entries * (DirEntry.SIZE + 8);
    return { body: body.slice(0, lengthBytes), afterMs: DELAY_MS };
  }
}

describe('client: listings of a directory in partitions', () => {
  const names = Array.from({ length: PARTITIONS }, (_, i) => `f${i}`);

  it('ask for the next partitions before it is their turn, for each page once', async () => {
    const world = new SplitWorld();
    await world.run(async () => {
      const free = world.arena.bulk.available;
      assert.deepEqual(await world.files.readdir('/'), names);
      world.listed.sort((a, b) => a.partition - b.partition);
      assert.deepEqual(
        world.listed.map(({ partition }) => partition),
        names.map((_, i) => i),
      );
      // Those behind the second, which was met without a table, come together.
      const apartMs = Math.abs(world.listed[3]!.atMs - world.listed[2]!.atMs);
      assert.ok(apartMs < DELAY_MS / 2, `${apartMs} ms`);
      assert.equal(world.arena.bulk.available, free);
    });
  });

  it('drop what was read ahead when they end, or begin anew', async () => {
    const world = new SplitWorld();
    await world.run(async () => {
      await world.files.readdir('/');
      const free = world.arena.bulk.available;
      for await (const page of world.files.pages('/', world.rootInode)) {
        if (Buffer.from(page[0]!.nameBytes).toString() === 'f2') break;
      }
      await world.pause(100);
      assert.equal(world.arena.bulk.available, free);
      assert.deepEqual(await world.files.readdir('/'), names);
    });
  });
});
