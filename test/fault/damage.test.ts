/** Damaged or full stores, absent servers, and garbage on every port. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster, sealfs, sleep, until } from '../support/cluster.js';

function code(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
  return undefined;
}

/** Every extent file of a server. */
function extentFiles(cluster: TestCluster, server: number): string[] {
  const dir = join(cluster.dir, `data-${server}`);
  const found = fs.readdirSync(dir, { recursive: true, withFileTypes: true });
  return found.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
}

function findInFile(path: string, needle: Buffer): number {
  return fs.readFileSync(path).indexOf(needle);
}

function listeningPorts(pid: number): number[] {
  const inodes = new Set<string>();
  for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
    try {
      const match = /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/${pid}/fd/${fd}`));
      if (match) inodes.add(match[1]!);
    } catch (error) {
      // A descriptor may close while we look.
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOENT');
    }
  }
  const rows = fs.readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1);
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter((columns) => columns[3] === '0A' && inodes.has(columns[9]!))
    .map((columns) => parseInt(columns[1]!.split(':')[1]!, 16));
}

function sendGarbage(port: number, data: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(data));
    socket.on('error', () => resolve());
    socket.on('close', () => resolve());
    socket.resume();
    setTimeout(() => socket.destroy(), 500);
  });
}

describe('damage', function () {
  this.timeout(120_000);
  let cluster: TestCluster;

  afterEach(async () => {
    await cluster?.stop();
  });

  it('a full disk is ENOSPC with nothing half-written; deleting makes room', async () => {
    cluster = await TestCluster.start({ servers: 2, dataSize: '32M' });
    const root = cluster.mount();
    fs.writeFileSync(join(root, 'keep'), Buffer.alloc(300_000, 'k'));
    const block = Buffer.alloc(1 << 20, 'f');
    let written = 0;
    const fd = fs.openSync(join(root, 'filler'), 'w');
    const failure = code(() => {
      for (; written < 200; written++) fs.writeSync(fd, block, 0, block.length, written << 20);
    });
    assert.equal(failure, 'ENOSPC');
    assert.ok(written >= 30, `${written} MiB fitted`);
    fs.closeSync(fd);
    const back = fs.readFileSync(join(root, 'filler'));
    assert.equal(back.length, written << 20, 'nothing half-written');
    assert.ok(back.subarray(0, written << 20).equals(Buffer.alloc(written << 20, 'f')));
    assert.ok(fs.readFileSync(join(root, 'keep')).equals(Buffer.alloc(300_000, 'k')));
    fs.unlinkSync(join(root, 'filler'));
    await until('room again', () => {
      return (
        code(() => fs.writeFileSync(join(root, 'after'), Buffer.alloc(8 << 20, 'a'))) === undefined
      );
    });
    assert.ok(fs.readFileSync(join(root, 'after')).equals(Buffer.alloc(8 << 20, 'a')));
  });

  it('a flipped byte is EIO on the read that meets it, and on no other', async () => {
    cluster = await TestCluster.start({ servers: 1 });
    const root = cluster.mount();
    const marker = Buffer.from('here-is-the-byte-that-will-be-flipped');
    const data = Buffer.alloc(100_000, 'd');
    marker.copy(data, 50_000);
    fs.writeFileSync(join(root, 'victim'), data);
    fs.writeFileSync(join(root, 'bystander'), Buffer.alloc(100_000, 'b'));
    let flipped = false;
    for (const path of extentFiles(cluster, 0)) {
      const at = findInFile(path, marker);
      if (at < 0) continue;
      const fd = fs.openSync(path, 'r+');
      fs.writeSync(fd, 'X', at);
      fs.fsyncSync(fd);
      fs.closeSync(fd);
      flipped = true;
    }
    assert.ok(flipped, 'the data is in an extent file');
    const fd = fs.openSync(join(root, 'victim'), 'r');
    const buffer = Buffer.alloc(4096);
    assert.equal(
      code(() => fs.readSync(fd, buffer, 0, 4096, 49_152)),
      'EIO',
    );
    assert.equal(fs.readSync(fd, buffer, 0, 4096, 4096), 4096);
    assert.ok(buffer.equals(data.subarray(4096, 8192)));
    fs.closeSync(fd);
    assert.ok(fs.readFileSync(join(root, 'bystander')).equals(Buffer.alloc(100_000, 'b')));
    await until('the log to say so', () => /does not match its CRC/.test(cluster.serverLog(0)));
  });

  it('a data file shorter than its record is refused at start, in one line', async () => {
    cluster = await TestCluster.start({ servers: 1 });
    await cluster.killServer(0, 'SIGTERM');
    for (const path of extentFiles(cluster, 0)) fs.truncateSync(path, 1 << 20);
    cluster.startServer(0);
    await until('the server to give up', () => cluster.members[0]!.process === undefined);
    await until('the log to say so', () => /short/i.test(cluster.serverLog(0)));
  });

  it('garbage on every listening port closes that connection and harms nobody', async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    const root = cluster.mount();
    fs.writeFileSync(join(root, 'before'), 'fine');
    const ports = listeningPorts(cluster.serverPid(0));
    ports.push(Number(new URL(cluster.url).port));
    assert.ok(ports.length >= 3, `ports ${ports.join(' ')}`);
    const frame = Buffer.alloc(64);
    frame.writeUInt32LE(827540307, 0);
    const short = Buffer.from(frame);
    short.writeUInt32LE(64, 4);
    frame.writeUInt32LE(0xfffffff0, 4);
    const bad = [
      Buffer.from('GET / HTTP/1.0\r\n\r\n'),
      Buffer.alloc(5000, 0xff),
      Buffer.alloc(70_000),
      frame,
      frame.subarray(0, 20),
      short.subarray(0, 40),
    ];
    for (const port of ports) for (const data of bad) await sendGarbage(port, data);
    assert.equal(fs.readFileSync(join(root, 'before'), 'utf8'), 'fine');
    fs.writeFileSync(join(root, 'after'), 'also fine');
    assert.equal(cluster.targetsUp(), 2);
  });

  it('without servers: hard callers can be interrupted, soft ones fail, both unmount', async () => {
    cluster = await TestCluster.start({ servers: 1 });
    const hard = cluster.mount('hard', 'attr=0,entry=0');
    const soft = cluster.mount('soft', 'soft=1,attr=0,entry=0');
    fs.writeFileSync(join(hard, 'f'), 'x');
    await cluster.killServer(0);
    const holder = spawn(join(packageRoot(), 'build/Release/sealfs_probe'), [
      'hold',
      join(hard, 'f'),
    ]);
    const ended = new Promise((resolve) => holder.once('exit', (_, signal) => resolve(signal)));
    await sleep(500);
    assert.equal(holder.exitCode, null);
    holder.kill('SIGINT');
    assert.equal(await ended, 'SIGINT');
    assert.equal(
      code(() => fs.readFileSync(join(soft, 'f'))),
      'EIO',
    );
    cluster.unmount(soft);
    cluster.unmount(hard);
  });

  it('a mount point that is in use or absent, and an unknown volume, are one clear line', async () => {
    cluster = await TestCluster.start({ servers: 1 });
    const root = cluster.mount();
    const busy = join(cluster.dir, 'busy');
    fs.mkdirSync(busy);
    fs.writeFileSync(join(busy, 'file'), '');
    const cases: [string, string, RegExp][] = [
      ['default', root, /already|mounted/],
      ['default', busy, /not empty/],
      ['default', join(cluster.dir, 'absent'), /absent/],
      ['nothing', busy, /nothing|not empty/],
    ];
    for (const [volume, path, expected] of cases) {
      const result = sealfs('mount', volume, path, '--manager', cluster.url);
      assert.notEqual(result.status, 0);
      assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
      assert.match(result.stderr, expected);
    }
    fs.rmSync(join(busy, 'file'));
    assert.match(sealfs('mount', 'nothing', busy, '--manager', cluster.url).stderr, /nothing/);
  });
});
