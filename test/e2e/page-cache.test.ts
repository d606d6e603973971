/**
 * -o cache=auto on two mounts: a file that one of them alone has open is kept in its kernel; what the other
 * writes is seen at once all the same, also through descriptors that were opened before.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster, sleep, until } from '../support/cluster.js';

/** Bytes of the file that the kernel has. */
function cachedBytes(path: string): number {
  const run = spawnSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', path], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.equal(run.status, 0, run.stderr);
  return Number(run.stdout.trim());
}

/** A number at a place of the file, as it is read now. */
function readAt(fd: number, offset: number): number {
  const bytes = Buffer.alloc(8);
  assert.equal(fs.readSync(fd, bytes, 0, 8, offset), 8);
  return bytes.readDoubleLE();
}

function writeAt(fd: number, offset: number, value: number): void {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  assert.equal(fs.writeSync(fd, bytes, 0, 8, offset), 8);
}

describe('the kernel cache of files', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let one: string;
  let two: string;

  before(async function () {
    if (spawnSync('fincore', ['--version']).status !== 0) this.skip();
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    one = cluster.mount('one', 'cache=auto');
    two = cluster.mount('two', 'cache=auto');
  });

  after(() => cluster?.stop());

  it('keeps a file that nobody else has open, over its close', async () => {
    const path = join(one, 'alone');
    const data = Buffer.alloc(300_000, 'x');
    fs.writeFileSync(path, data);
    // The mount is young: a moment passes before it is granted leases.
    await until('the kernel to keep it', () => {
      assert.ok(isDeepStrictEqual(fs.readFileSync(path), data));
      assert.ok(isDeepStrictEqual(fs.readFileSync(path), data));
      return cachedBytes(path) >= data.length;
    });
  });

  it('sees what another mount writes, in descriptors that were cached before', () => {
    const bytes = 3 << 20;
    fs.writeFileSync(join(one, 'shared'), Buffer.alloc(bytes));
    const reader = fs.openSync(join(one, 'shared'), 'r+');
    for (let offset = 0; offset < bytes; offset += 4096) assert.equal(readAt(reader, offset), 0);
    const writer = fs.openSync(join(two, 'shared'), 'r+');
    for (let i = 1; i <= 300; i++) {
      const offset = ((i * 7919 * 8) % (bytes - 8)) & ~7;
      writeAt(writer, offset, i);
      assert.equal(readAt(reader, offset), i, `write ${i} at ${offset}`);
      writeAt(reader, offset, -i);
      assert.equal(readAt(writer, offset), -i, `write back ${i} at ${offset}`);
    }
    fs.closeSync(writer);
    writeAt(reader, 8, 77);
    assert.equal(readAt(reader, 8), 77);
    fs.closeSync(reader);
  });

  it('keeps nothing of a file that two have open', () => {
    const [mine, theirs] = [join(one, 'both'), join(two, 'both')];
    fs.writeFileSync(mine, Buffer.alloc(100_000, 'y'));
    const other = fs.openSync(theirs, 'r');
    fs.readFileSync(mine);
    assert.equal(cachedBytes(mine), 0);
    fs.readFileSync(theirs);
    assert.equal(cachedBytes(theirs), 0);
    fs.closeSync(other);
  });

  it('sees truncation and appending by another mount', () => {
    const [mine, theirs] = [join(one, 'log'), join(two, 'log')];
    fs.writeFileSync(mine, 'a'.repeat(10_000));
    const fd = fs.openSync(mine, 'r');
    const buffer = Buffer.alloc(20_000);
    assert.equal(fs.readSync(fd, buffer, 0, 20_000, 0), 10_000);
    fs.truncateSync(theirs, 5000);
    assert.equal(fs.readSync(fd, buffer, 0, 20_000, 0), 5000);
    fs.appendFileSync(theirs, 'b'.repeat(3000));
    assert.equal(fs.readSync(fd, buffer, 0, 20_000, 0), 8000);
    assert.equal(buffer.toString('latin1', 4990, 5010), 'aaaaaaaaaabbbbbbbbbb');
    fs.closeSync(fd);
  });

  it('gives random reads, writes and mappings of two mounts what was written last', function () {
    const program = join(packageRoot(), 'build/Release/sealfs_fsx');
    if (!fs.existsSync(program)) this.skip();
    fs.mkdirSync(join(one, 'turns'));
    const shared = [join(one, 'turns'), '--shared', join(two, 'turns'), '--largest', '300000'];
    const run = spawnSync(program, [...shared, '--operations', '1e9', '--seconds', '2'], {
      encoding: 'utf8',
      timeout: 40_000,
    });
    assert.equal(run.status, 0, `${run.stdout}${run.stderr}`);
  });

  it('caches again when the other one has closed it', async () => {
    const [mine, theirs] = [join(one, 'again'), join(two, 'again')];
    fs.writeFileSync(mine, Buffer.alloc(50_000, 'z'));
    fs.readFileSync(mine);
    fs.appendFileSync(theirs, 'more');
    assert.equal(fs.readFileSync(mine).length, 50_004);
    // Contended for a second.
    await sleep(1200);
    fs.readFileSync(mine);
    fs.readFileSync(mine);
    assert.ok(cachedBytes(mine) >= 50_004);
    fs.writeFileSync(theirs, 'short');
    assert.equal(fs.readFileSync(mine, 'utf8'), 'short');
  });
});
