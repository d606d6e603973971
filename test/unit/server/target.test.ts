/** A target's promises, request by request: batches, data, open files, cuts, full disks, restarts. */
import assert from 'node:assert/strict';
import { errno, ESTALE } from '../../../src/common/errno.js';
import { chunkBytes } from '../../../src/protocol/limits.generated.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { body } from './namespace-harness.js';
import { TargetCluster } from './target-harness.js';

const OPEN = 2;

function pattern(length: number, seed: number): Buffer {
  const data = Buffer.alloc(length);
  for (let i = 0; i < length; i++) data[i] = (i * 31 + seed * 7 + (i >> 9)) & 0xff;
  return data;
}

describe('Target', () => {
  it('executes a turn’s mutations in one transaction; those that fail harm no other', () => {
    const c = new TargetCluster();
    const root = c.root();
    const node = c.nodes[0]!;
    const names = ['a', 'b', 'a', 'c/', 'x'.repeat(300), 'd'];
    const before = node.meta.commitSequence;
    const operations = names.map((name) =>
      c.begin(node, Opcode.Create, c.createBody(root, name, 1)),
    );
    const statuses = operations.map((operation) => c.finish(operation).status);
    const { EEXIST, EINVAL, ENAMETOOLONG } = errno;
    assert.deepEqual(statuses, [0, 0, EEXIST, EINVAL, ENAMETOOLONG, 0]);
    assert.equal(node.meta.commitSequence, before + 1);
    assert.equal(node.target.namespace.inodeCount, 4);
  });

  it('refuses opcodes and bodies that are none, and counts them', () => {
    const c = new TargetCluster();
    const node = c.nodes[0]!;
    assert.equal(c.call(node, 200, Buffer.alloc(8)).status, errno.ENOSYS);
    assert.equal(c.call(node, Opcode.Create, Buffer.alloc(8)).status, errno.EINVAL);
    assert.equal(c.call(node, Opcode.Create, Buffer.alloc(64, 0xff)).status, errno.EINVAL);
    assert.equal(c.call(node, Opcode.GetAttr, Buffer.alloc(8, 0xff)).status, errno.EINVAL);
    const answer = c.call(node, Opcode.TargetStats, Buffer.alloc(0));
    const text = answer.body.toString().replace(/\0+$/, '');
    const stats = JSON.parse(text) as Record<string, number>;
    assert.equal(stats['unknownRequests'], 1);
    assert.equal(stats['errors'], 4);
    assert.equal(stats['requestsCreate'], 2);
  });

  describe('data', () => {
    it('keeps small files in the store and large chunks on the device, sizes exact', () => {
      const c = new TargetCluster();
      const root = c.root();
      const inode = c.create(root, 'f');
      const small = pattern(3901, 1);
      const reply = c.write(inode, 0, 0, small);
      assert.equal(reply.status, 0);
      assert.equal(Number(reply.body.readBigUInt64LE(Wire.WriteReply.sizeBytes)), 3901);
      assert.deepEqual(c.read(inode, 0, 0, 8192).bulk, small);
      assert.equal(c.nodes[0]!.disk.blocks.size, 0);
      const large = pattern(47_008, 2);
      assert.equal(c.write(inode, 0, 100_000, large).status, 0);
      assert.equal(c.size(inode), 147_008);
      const whole = c.read(inode, 0, 0, chunkBytes).bulk;
      assert.equal(whole.length, 147_008);
      assert.deepEqual(whole.subarray(0, 3901), small);
      assert.ok(whole.subarray(3901, 100_000).every((byte) => byte === 0));
      assert.deepEqual(whole.subarray(100_000), large);
      assert.equal(c.write(inode, 3, 5, large).status, 0);
      assert.deepEqual(c.read(inode, 3, 5, 47_008).bulk, large);
      assert.equal(c.size(inode), 147_008);
    });

    it('checks every length, the checksums, and whose chunk it is', () => {
      const c = new TargetCluster({ targets: 2 });
      const root = c.root();
      const inode = c.create(root, 'f');
      const node = c.nodeOf(inode);
      const data = pattern(20_000, 3);
      const good = c.writeBody(inode, 0, 0, data);
      const send = (change: (bytes: Buffer) => void, bulk: Buffer = data): number => {
        const bytes = Buffer.from(good);
        change(bytes);
        return c.call(node, Opcode.Write, bytes, bulk).status;
      };
      const { EINVAL, EFBIG } = errno;
      const W = Wire.WriteRequest;
      assert.equal(
        send((b) => b.writeUInt32LE(chunkBytes, W.offset)),
        EINVAL,
      );
      assert.equal(
        send((b) => b.writeUInt32LE(0, W.lengthBytes)),
        EINVAL,
      );
      assert.equal(
        send((b) => b.writeUInt32LE(20_001, W.lengthBytes)),
        EINVAL,
      );
      assert.equal(
        send((b) => b.writeUInt32LE(4, W.checksumCount)),
        EINVAL,
      );
      assert.equal(
        send((b) => b.writeUInt32LE(20_000, W.inlineBytes)),
        EINVAL,
      );
      assert.equal(
        send((b) => b.writeBigUInt64LE(2n ** 40n, W.chunk)),
        EFBIG,
      );
      assert.equal(
        send((b) => b.writeBigUInt64LE(2n ** 60n, W.inode)),
        EINVAL,
      );
      assert.equal(
        send((b) => b.writeUInt32LE(1, W.flags + 0), data.subarray(0, 100)),
        EINVAL,
      );
      assert.equal(
        send((b) => (b[W.SIZE]! ^= 1)),
        errno.EIO,
      );
      let foreign = 1;
      while (c.nodeOf(inode, foreign) === node) foreign++;
      assert.equal(
        send((b) => b.writeBigUInt64LE(BigInt(foreign), W.chunk)),
        ESTALE,
      );
      assert.equal(
        send(() => undefined),
        0,
      );
      assert.deepEqual(c.read(inode, 0, 0, 30_000).bulk, data);
      assert.equal(c.write(inode + 1, 0, 0, data).status, ESTALE);
      assert.equal(node.chunks.idle, true);
    });

    it('appends atomically within the first chunk, and says EAGAIN at its end', () => {
      const c = new TargetCluster();
      const inode = c.create(c.root(), 'f');
      const operations = [];
      for (let i = 0; i < 20; i++) operations.push(c.beginWrite(inode, 0, 0, pattern(1000, i), 1));
      const offsets = new Set<number>();
      let again = 0;
      for (const [i, operation] of operations.entries()) {
        const { status, body: reply } = c.finish(operation);
        if (status === errno.EAGAIN) {
          again++;
          continue;
        }
        assert.equal(status, 0);
        const offset = Number(reply.readBigUInt64LE(Wire.WriteReply.offset));
        offsets.add(offset);
        assert.deepEqual(c.read(inode, 0, offset, 1000).bulk, pattern(1000, i));
      }
      assert.equal(offsets.size, 20 - again);
      assert.equal(c.size(inode), 1000 * offsets.size);
      c.call(c.nodeOf(inode), Opcode.SetAttr, c.setSize(inode, chunkBytes - 500));
      assert.equal(c.write(inode, 0, 0, pattern(501, 1), 1).status, errno.EAGAIN);
      assert.equal(c.write(inode, 0, 0, pattern(500, 1), 1).status, 0);
      assert.equal(c.size(inode), chunkBytes);
    });

    it('a truncated file is zeros where it grows again', () => {
      const c = new TargetCluster();
      const inode = c.create(c.root(), 'f');
      c.write(inode, 0, 0, pattern(50_000, 1));
      const node = c.nodeOf(inode);
      assert.equal(c.call(node, Opcode.SetAttr, c.setSize(inode, 10_000)).status, 0);
      assert.equal(c.call(node, Opcode.SetAttr, c.setSize(inode, 50_000)).status, 0);
      const data = c.read(inode, 0, 0, 50_000).bulk;
      assert.deepEqual(data, pattern(50_000, 1).subarray(0, 10_000));
      const open = body(Wire.OpenRequest, { inode, flags: 1 });
      assert.equal(c.call(node, Opcode.Open, open).status, 0);
      assert.equal(c.size(inode), 0);
      assert.equal(c.read(inode, 0, 0, 50_000).bulk.length, 0);
    });
  });

  describe('files without a name', () => {
    it('stay until the last session has released them', () => {
      const c = new TargetCluster();
      const root = c.root();
      const inode = c.create(root, 'f', OPEN);
      c.write(inode, 0, 0, pattern(100, 1));
      assert.equal(c.unlink(root, 'f').status, 0);
      assert.equal(c.size(inode), 100);
      assert.equal(c.write(inode, 0, 100, pattern(100, 2)).status, 0);
      assert.equal(c.inodeCall(Opcode.Release, inode).status, 0);
      c.idle(10);
      assert.equal(c.inodeCall(Opcode.GetAttr, inode).status, ESTALE);
      assert.equal(c.nodes[0]!.target.namespace.inodeCount, 1);
    });

    it('go when their session has expired', () => {
      const c = new TargetCluster({ sessionExpiryMs: 500 });
      const root = c.root();
      const inode = c.create(root, 'f', OPEN);
      c.unlink(root, 'f');
      c.killClient();
      c.newClient();
      assert.equal(c.size(inode), 0);
      c.idle(60_000);
      assert.equal(c.inodeCall(Opcode.GetAttr, inode).status, ESTALE);
    });

    it('are kept for a minute after a restart, for clients to register again', () => {
      const c = new TargetCluster();
      const root = c.root();
      const kept = c.create(root, 'kept', OPEN);
      const lost = c.create(root, 'lost', OPEN);
      c.unlink(root, 'kept');
      c.unlink(root, 'lost');
      c.nodes[0]!.kill();
      c.nodes[0]!.start();
      const again = body(Wire.OpenRequest, { inode: kept, flags: 2 });
      assert.equal(c.call(c.nodes[0]!, Opcode.Open, again).status, 0);
      assert.equal(c.size(lost), 0);
      c.idle(70_000);
      assert.equal(c.inodeCall(Opcode.GetAttr, lost).status, ESTALE);
      assert.equal(c.size(kept), 0);
      assert.equal(c.inodeCall(Opcode.Release, kept).status, 0);
      c.idle(10);
      assert.equal(c.inodeCall(Opcode.GetAttr, kept).status, ESTALE);
    });
  });

  describe('striped files', () => {
    function striped(c: TargetCluster): number {
      const inode = c.create(c.root(), 'f');
      assert.equal(c.inodeCall(Opcode.MarkStriped, inode).status, 0);
      for (let chunk = 0; chunk < 6; chunk++) {
        assert.equal(c.write(inode, chunk, 0, pattern(20_000, chunk)).status, 0);
      }
      const extend = body(Wire.ExtendRequest, { inode, sizeBytes: 5 * chunkBytes + 20_000 });
      assert.equal(c.call(c.nodeOf(inode), Opcode.Extend, extend).status, 0);
      return inode;
    }

    it('are shortened everywhere before the reply; size changes wait meanwhile', () => {
      const c = new TargetCluster({ targets: 2 });
      const inode = striped(c);
      const node = c.nodeOf(inode);
      const other = c.nodes.find((each) => each !== node)!;
      other.kill();
      const cut = c.begin(node, Opcode.SetAttr, c.setSize(inode, chunkBytes + 10));
      c.idle(100);
      assert.equal(cut.answer, undefined);
      assert.equal(c.size(inode), chunkBytes + 10);
      const extend = body(Wire.ExtendRequest, { inode, sizeBytes: 4 * chunkBytes });
      const later = c.begin(node, Opcode.Extend, extend);
      c.idle(100);
      assert.equal(later.answer, undefined);
      other.start();
      assert.equal(c.finish(cut).status, 0);
      assert.equal(c.finish(later).status, 0);
      assert.equal(c.size(inode), 4 * chunkBytes);
      assert.deepEqual(c.read(inode, 1, 0, 50).bulk, pattern(20_000, 1).subarray(0, 10));
      for (let chunk = 2; chunk < 6; chunk++) {
        assert.equal(c.read(inode, chunk, 0, 20_000).bulk.length, 0);
      }
    });

    it('are shortened at a peer that comes back elsewhere while it is waited for', () => {
      const c = new TargetCluster({ targets: 2 });
      const inode = striped(c);
      const node = c.nodeOf(inode);
      const other = c.nodes.find((each) => each !== node)!;
      other.kill();
      const cut = c.begin(node, Opcode.SetAttr, c.setSize(inode, 10));
      c.idle(3000);
      assert.equal(cut.answer, undefined);
      other.start(2);
      const members = c.map.members.map((member) => {
        return member.targetId === other.name
          ? { ...member, endpoints: [`sim://${other.name}:2`] }
          : member;
      });
      node.target.setMap({ ...c.map, epoch: c.map.epoch + 1, members });
      assert.equal(c.finish(cut).status, 0);
    });

    it('give all space back after an unlink, over a restart in between', () => {
      const c = new TargetCluster({ targets: 3 });
      const free = (): number[] => c.nodes.map((node) => node.chunks.capacity().freeBytes);
      const before = free();
      const inode = striped(c);
      assert.notDeepEqual(free(), before);
      const node = c.nodeOf(inode);
      for (const each of c.nodes) if (each !== node) each.kill();
      const parent = inode - (inode % 2 ** 37) + 1;
      assert.equal(c.unlink(parent, 'f').status, 0);
      c.idle(50);
      node.kill();
      for (const each of c.nodes) each.start();
      c.idle(20_000);
      for (const each of c.nodes) each.meta.flush(() => undefined);
      c.idle(1000);
      assert.deepEqual(free(), before);
      for (const each of c.nodes) assert.equal(each.target.report()['cutsUnderWay'], 0);
    });

    it('are cut at the request of targets only', () => {
      const c = new TargetCluster();
      const inode = striped(c);
      const cut = body(Wire.CutRequest, { inode, fromByte: 0 });
      assert.equal(c.call(c.nodes[0]!, Opcode.Cut, cut).status, errno.EPERM);
      assert.equal(c.read(inode, 2, 0, 20_000).bulk.length, 20_000);
    });
  });

  it('answers ENOSPC when the store is full, with nothing half-written, and still removes', () => {
    const c = new TargetCluster({ metaBytes: 12_000 });
    const root = c.root();
    const node = c.nodes[0]!;
    const made: string[] = [];
    let full = 0;
    for (let round = 0; round < 12 && full === 0; round++) {
      const names = Array.from({ length: 10 }, (_, i) => `f${round}-${i}`);
      const operations = names.map((name) =>
        c.begin(node, Opcode.Create, c.createBody(root, name)),
      );
      for (const [i, operation] of operations.entries()) {
        const { status } = c.finish(operation);
        if (status === 0) made.push(names[i]!);
        else assert.equal(status, errno.ENOSPC);
        if (status !== 0) full++;
      }
    }
    assert.ok(full > 0 && made.length > 10, `${made.length} made, ${full} refused`);
    assert.equal(node.target.namespace.inodeCount, made.length + 1);
    const list = body(Wire.ReadDirRequest, { inode: root, maxBytes: 1 << 20, flags: 1 });
    const listing = c.call(node, Opcode.ReadDir, list, undefined, true);
    assert.equal(listing.body.readUInt32LE(Wire.ReadDirReply.entryCount), made.length);
    assert.equal(c.unlink(root, made[0]!).status, 0);
    assert.equal(c.unlink(root, made[1]!).status, 0);
    c.create(root, 'new');
  });

  it('lists large directories as bulk, small ones in the body', () => {
    const c = new TargetCluster();
    const root = c.root();
    const node = c.nodes[0]!;
    const list = body(Wire.ReadDirRequest, { inode: root, maxBytes: 1 << 20, flags: 1 });
    c.create(root, 'one');
    let answer = c.call(node, Opcode.ReadDir, list, undefined, true);
    assert.equal(answer.bulk.length, 0);
    assert.equal(answer.body.readUInt32LE(Wire.ReadDirReply.entryCount), 1);
    const operations = [];
    for (let i = 0; i < 200; i++) {
      operations.push(c.begin(node, Opcode.Create, c.createBody(root, `f${i}`)));
    }
    for (const operation of operations) c.finish(operation);
    answer = c.call(node, Opcode.ReadDir, list, undefined, true);
    assert.equal(answer.body.readUInt32LE(Wire.ReadDirReply.entryCount), 201);
    assert.equal(answer.body.readUInt32LE(Wire.ReadDirReply.endOfDirectory), 1);
    assert.equal(answer.bulk.length > 8192, true);
    const statfs = c.call(node, Opcode.StatFs, Buffer.alloc(0));
    assert.equal(Number(statfs.body.readBigUInt64LE(Wire.StatFsReply.inodes)), 202);
  });

  describe('durability', () => {
    it('fsync: an answer survives a kill, an fsynced one a power loss', () => {
      const c = new TargetCluster({ flushDelayMs: 20 });
      const root = c.root();
      const node = c.nodes[0]!;
      const synced = c.create(root, 'synced');
      assert.equal(c.inodeCall(Opcode.Fsync, synced).status, 0);
      const flushed = node.meta.durableSequence;
      c.create(root, 'killed');
      assert.ok(node.meta.durableSequence === flushed);
      node.kill();
      node.start();
      assert.equal(c.unlink(root, 'killed').status, 0);
      assert.equal(c.inodeCall(Opcode.Fsync, synced).status, 0);
      c.create(root, 'lost');
      node.kill();
      node.image.powerLoss();
      node.start();
      assert.equal(c.size(synced), 0);
      assert.equal(c.unlink(root, 'lost').status, errno.ENOENT);
    });

    it('a create that is asked for again still says that the file was there', () => {
      const c = new TargetCluster();
      const root = c.root();
      const node = c.nodes[0]!;
      const inode = c.create(root, 'f');
      const commit = node.meta.commitSequence;
      // Its client truncates what was there: it must not take it for new.
      const operation = c.begin(node, Opcode.Create, c.createBody(root, 'f'));
      assert.ok(c.world.run(() => node.meta.commitSequence > commit, 1000));
      node.kill();
      node.start();
      const { status, body: reply } = c.finish(operation);
      assert.equal(status, 0);
      assert.equal(Number(reply.readBigUInt64LE(0)), inode);
      assert.equal(reply.readUInt32LE(Wire.AttributesReply.flags), 1);
    });

    for (const persistentMemory of [false, true]) {
      const where = persistentMemory ? 'persistent memory' : 'a disk';
      it(`commit: every answer survives a power loss, metadata on ${where}`, () => {
        const c = new TargetCluster({ flushDelayMs: 20, durability: 'commit', persistentMemory });
        const root = c.root();
        const inode = c.create(root, 'f');
        assert.equal(c.write(inode, 0, 0, pattern(20_000, 4)).status, 0);
        // Replaces what is there: the old blocks are gone from the map, so the new ones must be safe.
        assert.equal(c.write(inode, 0, 4096, pattern(9_000, 5)).status, 0);
        c.create(root, 'g');
        const node = c.nodes[0]!;
        node.kill();
        node.image.powerLoss();
        node.disk.powerLoss(() => 1);
        node.start();
        const expected = pattern(20_000, 4);
        pattern(9_000, 5).copy(expected, 4096);
        assert.deepEqual(c.read(inode, 0, 0, 20_000).bulk, expected);
        assert.equal(c.unlink(root, 'g').status, 0);
      });
    }

    it('on persistent memory what needs no device is power-safe within its turn', () => {
      const c = new TargetCluster({
        flushDelayMs: 20,
        durability: 'commit',
        persistentMemory: true,
      });
      const root = c.root();
      // The first flush syncs the device, which nothing is known of.
      const first = c.create(root, 'f');
      const { meta } = c.nodes[0]!;
      meta.flush = () => {
        assert.fail('a reply waits for a flush');
      };
      assert.equal(c.write(first, 0, 0, pattern(5_000, 1)).status, 0);
      assert.equal(c.unlink(root, 'f').status, 0);
      assert.equal(meta.durableSequence, meta.commitSequence);
    });
  });
});
