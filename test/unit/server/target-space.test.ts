/**
 * A target's part in fallocate, lseek and deletions: what is promised is given back when the file
 * goes, whatever its size says; long ranges are gone through piece by piece; a write that is late
 * for its file's deletion leaves nothing.
 */
import assert from 'node:assert/strict';
import { errno, ESTALE } from '../../../src/common/errno.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { body } from './namespace-harness.js';
import { TargetCluster, type Answer, type Node } from './target-harness.js';

const MIB = 1 << 20;
const DROP = 1;
const PROMISE = 2;

class SpaceCluster extends TargetCluster {
  change(node: Node, inode: number, from: number, to: number, how: number, size = 0): Answer {
    const fields = { inode, fromByte: from, toByte: to, sizeBytes: size, how };
    return this.call(node, Opcode.ChangeSpace, body(Wire.ChangeSpaceRequest, fields));
  }

  /** What the target says, until it is through; the number of calls. */
  changeAll(node: Node, inode: number, from: number, to: number, how: number, size = 0): number {
    let calls = 1;
    for (let at = from; ; calls++) {
      const answer = this.change(node, inode, at, to, how, size);
      assert.equal(answer.status, 0);
      at = Number(answer.body.readBigUInt64LE(Wire.ChangeSpaceReply.nextByte));
      if (at === to) return calls;
    }
  }

  seek(node: Node, inode: number, from: number, to: number, hole: number): Answer {
    const fields = { inode, fromByte: from, toByte: to, hole };
    return this.call(node, Opcode.SeekData, body(Wire.SeekDataRequest, fields));
  }
}

function freeOf(node: Node): number {
  return node.chunks.capacity().freeBytes / 4096;
}

describe('a target’s file space', () => {
  it('gives promised space back with the file, although it is empty', () => {
    const cluster = new SpaceCluster();
    const node = cluster.nodes[0]!;
    const root = cluster.root();
    const inode = cluster.create(root, 'f');
    const before = freeOf(node);
    cluster.changeAll(node, inode, 0, MIB, PROMISE);
    assert.equal(cluster.size(inode), 0);
    assert.equal(freeOf(node), before - 256);
    cluster.unlink(root, 'f');
    cluster.idle(100);
    assert.equal(freeOf(node), before);
  });

  it('a truncation to the same size gives back what lies behind it', () => {
    const cluster = new SpaceCluster();
    const node = cluster.nodes[0]!;
    const inode = cluster.create(cluster.root(), 'f');
    const before = freeOf(node);
    cluster.changeAll(node, inode, 0, 10 * 4096, PROMISE, 10 * 4096);
    cluster.changeAll(node, inode, 0, MIB, PROMISE);
    assert.equal(freeOf(node), before - 256);
    assert.equal(cluster.call(node, Opcode.SetAttr, cluster.setSize(inode, 10 * 4096)).status, 0);
    assert.equal(freeOf(node), before - 10);
  });

  it('goes through long ranges piece by piece, and refuses what can never fit', () => {
    const cluster = new SpaceCluster();
    const node = cluster.nodes[0]!;
    const inode = cluster.create(cluster.root(), 'f');
    // A byte in each of 300 chunks, so that each is promised one block alone.
    for (let chunk = 0; chunk < 300; chunk += 50) {
      cluster.write(inode, chunk, 500_000, Buffer.alloc(9000, 7));
    }
    const used = freeOf(node);
    assert.equal(cluster.change(node, inode, 0, 2 ** 50, PROMISE).status, errno.ENOSPC);
    assert.equal(freeOf(node), used, 'refused before anything was promised');
    assert.ok(cluster.changeAll(node, inode, 0, 15 * MIB, PROMISE, 15 * MIB) === 1);
    assert.equal(cluster.size(inode), 15 * MIB);
    assert.equal(cluster.change(node, inode, 15 * MIB, 40 * MIB, PROMISE).status, errno.ENOSPC);
    assert.equal(cluster.changeAll(node, inode, 0, 2 ** 50, DROP), 1);
    assert.equal(cluster.seek(node, inode, 0, 2 ** 50, 0).body.readUInt32LE(8), 0, 'no data');
  });

  it('drops a long range in several transactions', () => {
    const cluster = new SpaceCluster();
    const node = cluster.nodes[0]!;
    const inode = cluster.create(cluster.root(), 'f');
    for (let chunk = 0; chunk < 200; chunk++) {
      cluster.write(inode, chunk, 100_000, Buffer.alloc(10, 1));
    }
    assert.equal(cluster.changeAll(node, inode, 5, 199 * MIB + 100_002, DROP), 2);
    const found = cluster.seek(node, inode, 0, 300 * MIB, 0);
    assert.equal(Number(found.body.readBigUInt64LE(0)), 199 * MIB + 100_002);
  });

  it('refuses writes to a striped file that is deleted', () => {
    const cluster = new SpaceCluster({ targets: 2 });
    const root = cluster.root();
    const inode = cluster.create(root, 'f');
    cluster.inodeCall(Opcode.MarkStriped, inode);
    const data = Buffer.alloc(20_000, 3);
    const chunks = [1, 2, 3, 4, 5, 6];
    for (const chunk of chunks) assert.equal(cluster.write(inode, chunk, 0, data).status, 0);
    const full = cluster.nodes.map(freeOf);
    cluster.unlink(root, 'f');
    cluster.idle(3000);
    const empty = cluster.nodes.map(freeOf);
    assert.notDeepEqual(empty, full);
    for (const chunk of chunks) assert.equal(cluster.write(inode, chunk, 0, data).status, ESTALE);
    const node = cluster.nodes.find((each) => each !== cluster.nodeOf(inode))!;
    assert.equal(cluster.change(node, inode, MIB, 9 * MIB, PROMISE).status, ESTALE);
    cluster.idle(3000);
    assert.deepEqual(cluster.nodes.map(freeOf), empty);
  });

  it('checks what it is asked', () => {
    const cluster = new SpaceCluster();
    const node = cluster.nodes[0]!;
    const root = cluster.root();
    const inode = cluster.create(root, 'f');
    assert.equal(cluster.change(node, inode, 10, 10, DROP).status, errno.EINVAL);
    assert.equal(cluster.change(node, inode, 0, 10, 0).status, errno.EINVAL);
    assert.equal(cluster.change(node, inode, 0, 10, 4).status, errno.EINVAL);
    assert.equal(cluster.change(node, inode, 0, 2 ** 60, DROP).status, errno.EFBIG);
    assert.equal(cluster.change(node, root, 0, 10, DROP).status, errno.EISDIR);
    assert.equal(cluster.seek(node, inode, 10, 5, 0).status, errno.EINVAL);
    assert.equal(cluster.seek(node, 0, 0, 5, 0).status, errno.EINVAL);
  });
});
