/**
 * Who has the answer to a rename across targets sees all of it at once, also what the participants still
 * have to be told: the link count of the directory that lost a directory, and that it is empty now.
 * Their Commit is sent with the answer, and may be later than the next request.
 */
import assert from 'node:assert/strict';
import { ESTALE, errno } from '../../../src/common/errno.js';
import { bucketOfInode } from '../../../src/placement/inode-number.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { body } from './namespace-harness.js';
import { TargetCluster } from './target-harness.js';

const ROUNDS = 60;

class Scene {
  readonly c = new TargetCluster({ targets: 4 });
  readonly root = this.c.root();

  mkdir(parent: number, name: string, target: number): number {
    let bucket = 1;
    while (this.c.table.memberOfBucket(bucket) !== target) bucket++;
    const fields = { parent, bucket, mode: 0o755, nameBytes: name.length };
    const made = body(Wire.MakeDirRequest, fields, name);
    const answer = this.c.call(this.c.nodeOf(parent), Opcode.MakeDir, made);
    assert.equal(answer.status, 0);
    const inode = Number(answer.body.readBigUInt64LE(Wire.LookupReply.inode));
    assert.equal(this.c.table.memberOfBucket(bucketOfInode(inode)), target);
    return inode;
  }

  beginRename(
    oldParent: number,
    newParent: number,
    name: string,
  ): ReturnType<TargetCluster['begin']> {
    const nameBytes = name.length;
    const fields = { oldParent, newParent, oldNameBytes: nameBytes, newNameBytes: nameBytes };
    const request = body(Wire.RenameRequest, { ...fields, root: this.root }, name, name);
    return this.c.begin(this.c.nodeOf(newParent), Opcode.Rename, request);
  }

  rename(oldParent: number, newParent: number, name: string): void {
    assert.equal(this.c.finish(this.beginRename(oldParent, newParent, name)).status, 0);
  }

  links(inode: number): number {
    const answer = this.c.inodeCall(Opcode.GetAttr, inode);
    assert.equal(answer.status, 0);
    return answer.body.readUInt32LE(Wire.Attributes.linkCount);
  }

  rmdir(parent: number, name: string): number {
    const request = body(Wire.NameRequest, { parent, nameBytes: name.length }, name);
    return this.c.call(this.c.nodeOf(parent), Opcode.RemoveDir, request).status;
  }
}

describe('what a rename across targets has done', () => {
  it('shows in the attributes of both directories', () => {
    const s = new Scene();
    const [a, b] = [s.mkdir(s.root, 'a', 1), s.mkdir(s.root, 'b', 2)];
    s.mkdir(a, 'x', 3);
    for (let i = 0; i < ROUNDS; i++) {
      const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
      s.rename(from, to, 'x');
      assert.deepEqual([s.links(from), s.links(to)], [2, 3], `round ${i}`);
    }
  });

  it('lets the directory be removed that it has emptied', () => {
    for (const above of [1, 2]) {
      const s = new Scene();
      const [a, b] = [s.mkdir(s.root, 'a', above), s.mkdir(s.root, 'b', 3)];
      for (let i = 0; i < ROUNDS; i++) {
        const d = s.mkdir(a, 'd', 1);
        s.mkdir(d, 'x', 2);
        s.rename(d, b, 'x');
        assert.equal(s.rmdir(a, 'd'), 0, `round ${i}`);
        assert.equal(s.rmdir(b, 'x'), 0);
      }
    }
  });
});

describe('a directory that was removed', () => {
  it('is known a while for those who have it open, and found by no name', () => {
    const s = new Scene();
    for (const target of [0, 1]) {
      const d = s.mkdir(s.root, 'd', target);
      assert.equal(s.rmdir(s.root, 'd'), 0);
      assert.equal(s.links(d), 0);
      const name = body(Wire.NameRequest, { parent: s.root, nameBytes: 1 }, 'd');
      assert.equal(s.c.call(s.c.nodeOf(s.root), Opcode.Lookup, name).status, errno.ENOENT);
      const list = body(Wire.ReadDirRequest, { inode: d, maxBytes: 1000 });
      assert.equal(s.c.call(s.c.nodeOf(d), Opcode.ReadDir, list).status, ESTALE);
    }
  });
});

describe('a read of a directory that something is moved out of', () => {
  it('waits for what was prepared before it came, not for what comes later', () => {
    const s = new Scene();
    const { c } = s;
    const [a, b, d] = [1, 2, 3].map((target) => s.mkdir(s.root, `on-${target}`, target));
    for (const name of ['first', 'second']) c.create(a!, name);
    const { locks } = c.nodeOf(a!).target.namespace;
    const first = s.beginRename(a!, b!, 'first');
    c.world.run(() => locks.size === 1, 1000);
    c.network.partition(c.nodeOf(a!).name, c.nodeOf(b!).name);
    const asked = [
      c.begin(c.nodeOf(a!), Opcode.GetAttr, body(Wire.InodeRequest, { inode: a! })),
      c.begin(
        c.nodeOf(a!),
        Opcode.ReadDir,
        body(Wire.ReadDirRequest, { inode: a!, maxBytes: 999 }),
      ),
    ];
    c.idle(50);
    assert.ok(asked.every((each) => each.answer === undefined));
    const second = s.beginRename(a!, d!, 'second');
    c.world.run(() => locks.size === 2, 1000);
    c.nodeOf(d!).kill();
    c.network.heal(c.nodeOf(a!).name, c.nodeOf(b!).name);
    for (const each of asked) assert.equal(c.finish(each).status, 0);
    assert.equal(locks.size, 1, 'the second waits for its coordinator');
    c.nodeOf(d!).start();
    assert.equal(c.finish(first).status, 0);
    assert.equal(c.finish(second).status, 0);
  });

  it('a removal does not wait while there is more in it than may go', () => {
    const s = new Scene();
    const { c } = s;
    for (const target of [0, 1]) {
      const name = `on-${target}`;
      const a = s.mkdir(s.root, name, target);
      const b = s.mkdir(s.root, `from-${name}`, 2);
      for (const each of ['first', 'second']) c.create(a, each);
      const { locks } = c.nodeOf(a).target.namespace;
      const move = s.beginRename(a, b, 'first');
      c.world.run(() => locks.size === 1, 1000);
      c.network.partition(c.nodeOf(a).name, c.nodeOf(b).name);
      assert.equal(s.rmdir(s.root, name), errno.ENOTEMPTY);
      c.network.heal(c.nodeOf(a).name, c.nodeOf(b).name);
      assert.equal(c.finish(move).status, 0);
    }
  });
});
