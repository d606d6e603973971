/** Ordinary file work through a real mount on a real cluster. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { TestCluster, until } from '../support/cluster.js';
import { probe } from '../support/probe.js';

function code(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
  return undefined;
}

function pattern(length: number, seed: number): Buffer {
  const data = Buffer.alloc(length);
  for (let i = 0; i < length; i++) data[i] = (i * 31 + seed * 17 + (i >> 8)) & 0xff;
  return data;
}

describe('a mount', () => {
  let cluster: TestCluster;
  let root: string;
  let other: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 2, targets: 2 });
    root = cluster.mount();
    other = cluster.mount('other');
  });

  after(async () => {
    await cluster?.stop();
  });

  it('creates, reads and removes files and directories', () => {
    const dir = join(root, 'tree/a/b');
    fs.mkdirSync(dir, { recursive: true });
    fs.writeFileSync(join(dir, 'f'), 'hello');
    assert.equal(fs.readFileSync(join(other, 'tree/a/b/f'), 'utf8'), 'hello');
    assert.equal(
      code(() => fs.rmdirSync(dir)),
      'ENOTEMPTY',
    );
    assert.equal(
      code(() => fs.mkdirSync(dir)),
      'EEXIST',
    );
    assert.equal(
      code(() => fs.unlinkSync(dir)),
      'EISDIR',
    );
    assert.equal(
      code(() => fs.rmdirSync(join(dir, 'f'))),
      'ENOTDIR',
    );
    fs.rmSync(join(root, 'tree'), { recursive: true });
    assert.equal(
      code(() => fs.statSync(dir)),
      'ENOENT',
    );
  });

  it('keeps mode, times, owner and link count', () => {
    const path = join(root, 'attributes');
    fs.writeFileSync(path, 'x', { mode: 0o640 });
    fs.chmodSync(path, 0o4711);
    fs.chownSync(path, 12, 34);
    fs.utimesSync(path, 1_000_000_000.25, 1_100_000_000.5);
    let status = fs.statSync(path);
    assert.equal(status.uid, 12);
    assert.equal(status.gid, 34);
    assert.equal(status.atimeMs, 1_000_000_000_250);
    assert.equal(status.mtimeMs, 1_100_000_000_500);
    fs.linkSync(path, join(root, 'attributes2'));
    status = fs.statSync(join(other, 'attributes2'));
    assert.equal(status.nlink, 2);
    fs.unlinkSync(path);
    assert.equal(fs.statSync(join(root, 'attributes2')).nlink, 1);
    fs.unlinkSync(join(root, 'attributes2'));
  });

  it('counts a directory’s links', () => {
    const dir = join(root, 'links');
    fs.mkdirSync(join(dir, 'one'), { recursive: true });
    fs.mkdirSync(join(dir, 'two'));
    assert.equal(fs.statSync(dir).nlink, 4);
    fs.rmdirSync(join(dir, 'two'));
    assert.equal(fs.statSync(dir).nlink, 3);
    fs.rmSync(dir, { recursive: true });
  });

  it('renames over, keeps symbolic links, refuses long names', () => {
    const a = join(root, 'rename-a');
    const b = join(root, 'rename-b');
    fs.writeFileSync(a, 'new');
    fs.writeFileSync(b, 'old');
    fs.renameSync(a, b);
    assert.equal(fs.readFileSync(b, 'utf8'), 'new');
    assert.equal(fs.existsSync(a), false);
    fs.symlinkSync('some/where', join(root, 'link'));
    assert.equal(fs.readlinkSync(join(other, 'link')), 'some/where');
    assert.equal(
      code(() => fs.writeFileSync(join(root, 'n'.repeat(256)), '')),
      'ENAMETOOLONG',
    );
    fs.writeFileSync(join(root, 'n'.repeat(255)), '');
    for (const name of ['rename-b', 'link', 'n'.repeat(255)]) fs.unlinkSync(join(root, name));
  });

  it('stripes a large file exactly, for any offset and length', () => {
    const path = join(root, 'large');
    const size = 5 * 1024 * 1024 + 12345;
    const data = pattern(size, 1);
    const fd = fs.openSync(path, 'w+');
    for (let at = 0; at < size; at += 700_001) {
      fs.writeSync(fd, data, at, Math.min(700_001, size - at), at);
    }
    assert.equal(fs.fstatSync(fd).size, size);
    assert.deepEqual(fs.readFileSync(join(other, 'large')), data);
    const patch = pattern(47_008, 9);
    for (const at of [0, 1024 * 1024 - 10, 3 * 1024 * 1024 + 4095, size - 100]) {
      fs.writeSync(fd, patch, 0, patch.length, at);
    }
    fs.fsyncSync(fd);
    const expected = Buffer.alloc(size - 100 + patch.length);
    data.copy(expected);
    for (const at of [0, 1024 * 1024 - 10, 3 * 1024 * 1024 + 4095, size - 100]) {
      patch.copy(expected, at);
    }
    assert.deepEqual(fs.readFileSync(join(other, 'large')), expected);
    fs.ftruncateSync(fd, 1024 * 1024 + 5);
    fs.ftruncateSync(fd, 4 * 1024 * 1024);
    const cut = Buffer.alloc(4 * 1024 * 1024);
    expected.copy(cut, 0, 0, 1024 * 1024 + 5);
    assert.deepEqual(fs.readFileSync(join(other, 'large')), cut);
    fs.closeSync(fd);
    fs.unlinkSync(path);
  });

  it('keeps small files and sparse files', async () => {
    for (const size of [0, 1, 3901, 8192, 8193, 65536]) {
      const path = join(root, `small-${size}`);
      fs.writeFileSync(path, pattern(size, size));
      assert.deepEqual(fs.readFileSync(join(other, `small-${size}`)), pattern(size, size));
      fs.appendFileSync(path, 'tail');
      assert.deepEqual(
        fs.readFileSync(join(other, `small-${size}`)),
        Buffer.concat([pattern(size, size), Buffer.from('tail')]),
      );
      fs.unlinkSync(path);
    }
    await probe('sparse', join(root, 'sparse'), `${40 * 2 ** 30 + 17}`);
    fs.unlinkSync(join(root, 'sparse'));
  });

  it('maps files shared, and keeps unlinked files while open', async () => {
    await probe('mmap-shared', join(root, 'mapped'));
    fs.unlinkSync(join(root, 'mapped'));
    await probe('open-unlinked', join(root, 'unlinked'));
  });

  it('keeps a file open here when another mount unlinks it', () => {
    const fd = fs.openSync(join(root, 'shared'), 'w+');
    fs.writeSync(fd, 'still here');
    fs.unlinkSync(join(other, 'shared'));
    assert.equal(fs.existsSync(join(root, 'shared')), false);
    const back = Buffer.alloc(10);
    assert.equal(fs.readSync(fd, back, 0, 10, 0), 10);
    assert.equal(back.toString(), 'still here');
    fs.closeSync(fd);
  });

  it('appends atomically between clients', async () => {
    const name = 'appended';
    const writers = [root, other, root, other].map((mount, i) =>
      probe('append', join(mount, name), `writer-${i}-${'x'.repeat(i * 100)}`, '200'),
    );
    await Promise.all(writers);
    const lines = fs.readFileSync(join(root, name), 'utf8').split('\n');
    assert.equal(lines.pop(), '');
    assert.equal(lines.length, 800);
    for (let i = 0; i < 4; i++) {
      const tag = `writer-${i}-${'x'.repeat(i * 100)} `;
      const mine = lines.filter((line) => line.startsWith(tag)).map((l) => l.slice(tag.length));
      assert.deepEqual(
        mine,
        Array.from({ length: 200 }, (_, k) => `${k}`),
      );
    }
    fs.unlinkSync(join(root, name));
  });

  it('lets exactly one client create exclusively', () => {
    for (let i = 0; i < 20; i++) {
      const name = `exclusive-${i}`;
      fs.closeSync(fs.openSync(join(i % 2 ? root : other, name), 'wx'));
      assert.equal(
        code(() => fs.openSync(join(i % 2 ? other : root, name), 'wx')),
        'EEXIST',
      );
      fs.unlinkSync(join(root, name));
    }
  });

  it('lists a directory of thousands exactly', () => {
    const dir = join(root, 'many');
    fs.mkdirSync(dir);
    const names = Array.from({ length: 3000 }, (_, i) => `entry-${i}`);
    for (const name of names) fs.closeSync(fs.openSync(join(dir, name), 'w'));
    assert.deepEqual(fs.readdirSync(join(other, 'many')).sort(), names.sort());
    fs.rmSync(dir, { recursive: true });
  });

  it('shows true space, and gives it back after deletion', async () => {
    const free = (): number => {
      const status = fs.statfsSync(root);
      return status.bfree * status.bsize;
    };
    const before = free();
    assert.ok(before > 100 * 1024 * 1024);
    fs.writeFileSync(join(root, 'filler'), pattern(32 * 1024 * 1024, 3));
    assert.ok(before - free() >= 32 * 1024 * 1024);
    fs.unlinkSync(join(root, 'filler'));
    await until('the space to be free again', () => before - free() < 1024 * 1024);
  });
});
