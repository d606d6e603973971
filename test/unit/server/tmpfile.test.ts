/** Files without a name (O_TMPFILE): they live while they are open, and until a link names them. */
import assert from 'node:assert/strict';
import { errno } from '../../../src/common/errno.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { body } from './namespace-harness.js';
import { TargetCluster } from './target-harness.js';

function made(c: TargetCluster, parent: number): number {
  const request = body(Wire.CreateRequest, { parent, mode: 0o100600, umask: 0o022 });
  const answer = c.call(c.nodeOf(parent), Opcode.TmpFile, request);
  assert.equal(answer.status, 0);
  assert.equal(answer.body.readUInt32LE(Wire.Attributes.linkCount), 0);
  return Number(answer.body.readBigUInt64LE(Wire.Attributes.inode));
}

function link(c: TargetCluster, inode: number, parent: number, name: string): number {
  const request = body(Wire.LinkRequest, { inode, parent, nameBytes: name.length }, name);
  return c.call(c.nodeOf(parent), Opcode.Link, request).status;
}

function links(c: TargetCluster, inode: number): number {
  const answer = c.inodeCall(Opcode.GetAttr, inode);
  return answer.status === 0 ? answer.body.readUInt32LE(Wire.Attributes.linkCount) : -1;
}

describe('a file without a name', () => {
  it('goes with its last handle', () => {
    const c = new TargetCluster();
    const root = c.root();
    const { namespace } = c.nodes[0]!.target;
    const inode = made(c, root);
    assert.equal(links(c, inode), 0);
    assert.equal(c.write(inode, 0, 0, Buffer.from('content')).status, 0);
    assert.equal(namespace.inodeCount, 2);
    c.inodeCall(Opcode.Release, inode);
    c.idle(100);
    assert.equal(links(c, inode), -1);
    assert.equal(namespace.inodeCount, 1);
  });

  it('gets a name once, and is a file as any other from then on', () => {
    const c = new TargetCluster();
    const root = c.root();
    const inode = made(c, root);
    assert.equal(link(c, inode, root, 'name'), 0);
    assert.equal(links(c, inode), 1);
    assert.equal(link(c, inode, root, 'name2'), 0);
    c.inodeCall(Opcode.Release, inode);
    c.idle(100);
    assert.equal(links(c, inode), 2);
    c.call(c.nodes[0]!, Opcode.Open, body(Wire.OpenRequest, { inode }));
    assert.equal(c.unlink(root, 'name').status, 0);
    assert.equal(c.unlink(root, 'name2').status, 0);
    assert.equal(links(c, inode), 0);
    assert.equal(link(c, inode, root, 'again'), errno.ENOENT);
    c.inodeCall(Opcode.Release, inode);
    c.idle(100);
    assert.equal(links(c, inode), -1);
  });

  it('is an orphan after a crash, unless it was named', () => {
    const c = new TargetCluster({ sessionExpiryMs: 1000 });
    const root = c.root();
    const [lost, named] = [made(c, root), made(c, root)];
    assert.equal(link(c, named, root, 'name'), 0);
    c.nodes[0]!.kill();
    c.killClient();
    c.nodes[0]!.start();
    c.newClient();
    assert.deepEqual([links(c, lost), links(c, named)], [0, 1]);
    c.idle(70_000);
    assert.deepEqual([links(c, lost), links(c, named)], [-1, 1]);
  });

  it('is refused where there is no directory', () => {
    const c = new TargetCluster();
    const file = c.create(c.root(), 'file');
    const request = body(Wire.CreateRequest, { parent: file, mode: 0o100600 });
    assert.equal(c.call(c.nodes[0]!, Opcode.TmpFile, request).status, errno.ENOTDIR);
  });
});
