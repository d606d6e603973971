/** Batches at a target, request by request: statuses item by item, contents, answers that are asked for again. */
import assert from 'node:assert/strict';
import { errno, ESTALE } from '../../../src/common/errno.js';
import { crc32cOf } from '../../../src/native/crc32c.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { ownRange } from '../../../src/server/keys.js';
import { body } from './namespace-harness.js';
import { TargetCluster, type Answer, type Node } from './target-harness.js';

const EXCLUSIVE = 1;
const FILE = 0o100644;

interface Item {
  body: Buffer;
  data?: Buffer;
  flags?: number;
  checksum?: number;
}

/** A batch's body, and the contents: behind it or, with `asBulk`, beside it. */
function batch(items: Item[], dataBytes = 0, asBulk = false): { bytes: Buffer; data?: Buffer } {
  const data = Buffer.concat(items.map((item) => item.data ?? Buffer.alloc(0)));
  const parts = [
    body(Wire.BatchRequest, { count: items.length, dataBytes: data.length || dataBytes }),
  ];
  for (const item of items) {
    const content = item.data ?? Buffer.alloc(0);
    const checksum =
      item.checksum ?? (content.length === 0 ? 0 : crc32cOf(Uint8Array.from(content)));
    const { flags = 0 } = item;
    const bodyBytes = item.body.length;
    const fields = { bodyBytes, flags, dataBytes: content.length, checksum };
    parts.push(body(Wire.BatchItem, fields), item.body);
  }
  if (asBulk) return { bytes: Buffer.concat(parts), data };
  const bytes = Buffer.concat([...parts, data]);
  return { bytes: Buffer.concat([bytes, Buffer.alloc(-bytes.length & 7)]) };
}

function nameItem(parent: number, name: string): Item {
  return { body: body(Wire.NameRequest, { parent, nameBytes: Buffer.byteLength(name) }, name) };
}

function fileItem(parent: number, name: string, data?: string | Buffer, flags = 0): Item {
  const nameBytes = Buffer.byteLength(name);
  const made = body(Wire.CreateRequest, { parent, mode: FILE, nameBytes, flags }, name);
  return data === undefined ? { body: made } : { body: made, data: Buffer.from(data) };
}

function statuses(answer: Answer): number[] {
  assert.equal(answer.status, 0);
  const count = answer.body.readUInt16LE(0);
  return [...answer.body.subarray(Wire.BatchReply.SIZE, Wire.BatchReply.SIZE + count)];
}

interface Result {
  status: number;
  data?: string;
  inode?: number;
  size?: number;
}

function results(answer: Answer, resultBytes: number): Result[] {
  assert.equal(answer.status, 0);
  const found: Result[] = [];
  let at = Wire.BatchReply.SIZE;
  const contents: [Result, number, number][] = [];
  for (let i = answer.body.readUInt16LE(0); i > 0; i--) {
    const status = answer.body.readUInt16LE(at);
    const hasData = answer.body.readUInt16LE(at + Wire.BatchResult.hasData);
    const bytes = answer.body.readUInt32LE(at + Wire.BatchResult.dataBytes);
    const checksum = answer.body.readUInt32LE(at + Wire.BatchResult.checksum);
    at += Wire.BatchResult.SIZE;
    const result: Result = { status };
    found.push(result);
    if (status !== 0) continue;
    result.inode = Number(answer.body.readBigUInt64LE(at));
    const attributes = at + resultBytes - Wire.Attributes.SIZE;
    if (resultBytes === Wire.LookupReply.SIZE) {
      result.size = Number(answer.body.readBigUInt64LE(attributes + Wire.Attributes.sizeBytes));
    }
    if (hasData === 1) contents.push([result, bytes, checksum]);
    at += resultBytes;
  }
  const inlineBytes = answer.body.readUInt32LE(Wire.BatchReply.inlineBytes);
  let data = inlineBytes === 0 ? answer.bulk : answer.body.subarray(at, at + inlineBytes);
  for (const [result, bytes, checksum] of contents) {
    const own = Uint8Array.from(data.subarray(0, bytes));
    if (bytes > 0) assert.equal(crc32cOf(own), checksum);
    result.data = Buffer.from(own).toString();
    data = data.subarray(bytes);
  }
  return found;
}

/** One target, one root, batches by it. */
class Fixture {
  readonly c: TargetCluster;
  readonly root: number;
  readonly node: Node;

  constructor(options: ConstructorParameters<typeof TargetCluster>[0] = {}) {
    this.c = new TargetCluster(options);
    this.root = this.c.root();
    this.node = this.c.nodes[0]!;
  }

  call(opcode: number, items: Item[], dataBytes = 0, asBulk = false): Answer {
    const { bytes, data } = batch(items, dataBytes, asBulk);
    return this.c.call(this.node, opcode, bytes, data, opcode === Opcode.BatchRead);
  }

  write(...files: [string, (string | Buffer)?, number?][]): number[] {
    const items = files.map(([name, data, flags]) => fileItem(this.root, name, data, flags));
    return statuses(this.call(Opcode.BatchWrite, items));
  }

  unlink(...names: string[]): number[] {
    const items = names.map((name) => nameItem(this.root, name));
    return statuses(this.call(Opcode.BatchUnlink, items));
  }

  read(dataBytes: number, ...names: string[]): Result[] {
    const items = names.map((name) => nameItem(this.root, name));
    return results(this.call(Opcode.BatchRead, items, dataBytes), Wire.LookupReply.SIZE);
  }

  report(): Record<string, number> {
    return this.node.target.report();
  }
}

describe('batches at a target', () => {
  it('write files whole in one transaction; those that fail harm no other', () => {
    const f = new Fixture();
    const before = f.node.meta.commitSequence;
    const answer = f.write(
      ['a', 'content of a'],
      ['b'],
      ['no/name', 'x'],
      ['a', 'again', EXCLUSIVE],
      ['c', Buffer.alloc(8192, 'c')],
    );
    assert.deepEqual(answer, [0, 0, errno.EINVAL, errno.EEXIST, 0]);
    assert.equal(f.node.meta.commitSequence, before + 1);
    assert.equal(f.node.target.namespace.inodeCount, 4);
    const read = f.read(2 ** 20, 'a', 'b', 'c', 'd');
    assert.deepEqual(
      read.map(({ status, data, size }) => [status, data, size]),
      [
        [0, 'content of a', 12],
        [0, '', 0],
        [0, 'c'.repeat(8192), 8192],
        [errno.ENOENT, undefined, undefined],
      ],
    );
    assert.equal(f.node.disk.blocks.size, 0);
  });

  it('empty files that are there and give them new content', () => {
    const f = new Fixture();
    const inode = f.c.create(f.root, 'f');
    assert.equal(f.c.write(inode, 0, 100_000, Buffer.alloc(50_000, 'x')).status, 0);
    assert.deepEqual(f.write(['f', 'short'], ['g', '1'], ['g', '22']), [0, 0, 0]);
    assert.deepEqual(f.c.read(inode, 0, 0, 8192).bulk.toString(), 'short');
    assert.equal(f.c.size(inode), 5);
    assert.deepEqual(
      f.read(100, 'f', 'g').map(({ data }) => data),
      ['short', '22'],
    );
  });

  it('leave to the ordinary operations what is no small file of this target’s', () => {
    const f = new Fixture({ targets: 2 });
    const striped = f.c.create(f.root, 'striped');
    assert.equal(f.c.inodeCall(Opcode.MarkStriped, striped).status, 0);
    const bytes = body(Wire.SymlinkRequest, { parent: f.root, nameBytes: 1, targetBytes: 1 }, 'lt');
    assert.equal(f.c.call(f.node, Opcode.Symlink, bytes).status, 0);
    // A directory whose inode lies on the other target: unlink refuses it here and now.
    const bucket = [...Array(65536).keys()].find((b) => f.c.table.memberOfBucket(b) === 1)!;
    const made = body(
      Wire.MakeDirRequest,
      { parent: f.root, bucket, mode: 0o755, nameBytes: 1 },
      'd',
    );
    assert.equal(f.c.call(f.node, Opcode.MakeDir, made).status, 0);
    const { EAGAIN, EISDIR, EINVAL } = errno;
    assert.deepEqual(f.write(['striped', 'x'], ['l', 'x'], ['d', 'x']), [EAGAIN, EAGAIN, EISDIR]);
    assert.deepEqual(f.unlink('d', 'striped'), [EISDIR, 0]);
    // The file of a name in another directory whose inode stays here.
    const file = f.c.create(f.root, 'moves');
    const directory = results(
      f.call(Opcode.BatchLookup, [nameItem(f.root, 'd')]),
      Wire.LookupReply.SIZE,
    )[0]!.inode!;
    const link = body(Wire.LinkRequest, { inode: file, parent: directory, nameBytes: 1 }, 'm');
    assert.equal(f.c.call(f.c.nodeOf(directory), Opcode.Link, link).status, 0);
    const there = batch([nameItem(directory, 'm'), nameItem(directory, 'n')]);
    const unlinked = f.c.call(f.c.nodeOf(directory), Opcode.BatchUnlink, there.bytes);
    assert.deepEqual(statuses(unlinked), [EAGAIN, errno.ENOENT]);
    const opened = fileItem(f.root, 'o', 'x', 2);
    assert.deepEqual(statuses(f.call(Opcode.BatchWrite, [opened])), [EINVAL]);
  });

  it('look names and inodes up as the ordinary requests do', () => {
    const f = new Fixture();
    const a = f.c.create(f.root, 'a');
    const names = ['a', 'none', 'a', '..'].map((name) => nameItem(f.root, name));
    const looked = results(f.call(Opcode.BatchLookup, names), Wire.LookupReply.SIZE);
    assert.deepEqual(
      looked.map(({ status, inode }) => [status, inode]),
      [
        [0, a],
        [errno.ENOENT, undefined],
        [0, a],
        [errno.EINVAL, undefined],
      ],
    );
    const inodes = [a, a + 1, f.root].map((inode) => ({
      body: body(Wire.InodeRequest, { inode }),
    }));
    const got = results(f.call(Opcode.BatchGetAttr, inodes), Wire.AttributesReply.SIZE);
    assert.deepEqual(
      got.map(({ status, inode }) => [status, inode]),
      [
        [0, a],
        [ESTALE, undefined],
        [0, f.root],
      ],
    );
    assert.equal(f.report()['requestsBatchLookup'], 1);
    assert.equal(f.report()['requestsBatchGetAttr'], 1);
  });

  it('carry a hundred contents as bulk, there and back', () => {
    const f = new Fixture();
    const files = Array.from({ length: 100 }, (_, i) => ({
      ...fileItem(f.root, `n${i}`, Buffer.alloc(8192, `${i}.`)),
    }));
    const { bytes, data } = batch(files, 0, true);
    const answer = f.c.call(f.node, Opcode.BatchWrite, bytes, data);
    assert.deepEqual(statuses(answer), new Array(100).fill(0));
    const names = files.map((_, i) => `n${i}`);
    const read = f.read(2 ** 20, ...names);
    for (const [i, { data: content }] of read.entries()) {
      assert.equal(content, files[i]!.data!.toString());
    }
    // Without room for all of them, some come without their content.
    const some = f.read(20_000, ...names).map(({ data: content }) => content !== undefined);
    assert.deepEqual(some, [true, true, ...new Array<boolean>(98).fill(false)]);
    assert.equal(f.node.target.arena.bulk.available, f.node.target.arena.bulk.capacity - 4);
  });

  it('refuse what contradicts itself, as a whole and changing nothing', () => {
    const f = new Fixture();
    const good = batch([fileItem(f.root, 'a', 'data')]).bytes;
    const wrong: Buffer[] = [
      body(Wire.BatchRequest, { count: 0 }),
      body(Wire.BatchRequest, { count: 101 }),
      good.subarray(0, good.length - 8),
      good.subarray(0, 24),
    ];
    const damages: [number, number][] = [
      [Wire.BatchRequest.dataBytes, 5],
      [8 + Wire.BatchItem.bodyBytes, 20],
      [8 + Wire.BatchItem.bodyBytes, 400],
      [8 + Wire.BatchItem.dataBytes, 9000],
    ];
    for (const [at, value] of damages) {
      const bytes = Buffer.from(good);
      bytes.writeUInt16LE(value, at);
      wrong.push(bytes);
    }
    for (const bytes of wrong) {
      assert.equal(f.c.call(f.node, Opcode.BatchWrite, bytes).status, errno.EINVAL);
    }
    for (const opcode of [Opcode.BatchLookup, Opcode.BatchUnlink, Opcode.BatchRead]) {
      assert.equal(f.c.call(f.node, opcode, good).status, errno.EINVAL);
    }
    const mismatched = { ...fileItem(f.root, 'a', 'data'), checksum: 1 };
    const answer = f.call(Opcode.BatchWrite, [mismatched, fileItem(f.root, 'b', 'data')]);
    assert.deepEqual(statuses(answer), [errno.EIO, 0]);
    assert.equal(f.node.target.namespace.inodeCount, 2);
  });

  it('is answered ENOSPC as a whole when its transaction finds no room', () => {
    const f = new Fixture({ metaBytes: 600_000 });
    const content = Buffer.alloc(8192, 1);
    let status = 0;
    for (let i = 0; i < 20 && status === 0; i++) {
      const items = Array.from({ length: 10 }, (_, k) => fileItem(f.root, `${i}.${k}`, content));
      const { bytes, data } = batch(items, 0, true);
      status = f.c.call(f.node, Opcode.BatchWrite, bytes, data).status;
    }
    assert.equal(status, errno.ENOSPC);
    const inodes = f.node.target.namespace.inodeCount;
    assert.equal(inodes % 10, 1);
  });
});

describe('batches that are asked for again', () => {
  function keptStatuses(node: Node): number {
    const { start, end } = ownRange('batchStatuses');
    let count = 0;
    node.meta.scan(start, end, () => {
      count++;
      return true;
    });
    return count;
  }

  /** Executed by a target that is killed before its answer arrives; the answer of the next process. */
  function overRestart(f: Fixture, opcode: number, items: Item[]): Answer {
    const { bytes } = batch(items);
    const commit = f.node.meta.commitSequence;
    const operation = f.c.begin(f.node, opcode, bytes);
    const { image } = f.node;
    assert.ok(
      f.c.world.run(() => f.node.meta.commitSequence > commit, 1000),
      'executed',
    );
    f.node.kill();
    assert.equal(f.node.image, image);
    f.node.start();
    return f.c.finish(operation);
  }

  it('get the first answers from a target that was restarted', () => {
    const f = new Fixture();
    f.write(['there', 'x']);
    const items = [
      fileItem(f.root, 'new', 'content', EXCLUSIVE),
      fileItem(f.root, 'there', 'y', EXCLUSIVE),
      fileItem(f.root, 'a/b', 'y'),
    ];
    const answer = overRestart(f, Opcode.BatchWrite, items);
    assert.deepEqual(statuses(answer), [0, errno.EEXIST, errno.EINVAL]);
    assert.equal(keptStatuses(f.node), 1);
    const unlinked = overRestart(f, Opcode.BatchUnlink, [
      nameItem(f.root, 'new'),
      nameItem(f.root, 'new'),
    ]);
    assert.deepEqual(statuses(unlinked), [0, errno.ENOENT]);
    const all = overRestart(f, Opcode.BatchUnlink, [nameItem(f.root, 'there')]);
    assert.deepEqual(statuses(all), [0]);
  });

  it('keep nothing for a batch without failures, and nothing of a session that is over', () => {
    const f = new Fixture({ sessionExpiryMs: 1000 });
    f.write(['a'], ['b']);
    assert.equal(keptStatuses(f.node), 0);
    assert.deepEqual(f.write(['a', '', EXCLUSIVE]), [errno.EEXIST]);
    assert.equal(keptStatuses(f.node), 1);
    f.c.killClient();
    f.c.idle(25 * 3600 * 1000);
    assert.equal(keptStatuses(f.node), 0);
  });
});
