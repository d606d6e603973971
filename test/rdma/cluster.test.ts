/**
 * A cluster whose client and servers are two hosts: files of all kinds written and read back, what
 * programs do, the zero-copy rule by the transports' own counters, and `sealfs up` with an IO500.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import { constants, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientProcess } from '../../src/client/client-process.js';
import { packageRoot } from '../../src/native/load.js';
import { selfCommand } from '../../src/cli/lifetime.js';
import { RdmaCluster, runProgram, sealfs, until } from './cluster.js';
import type { MountedVolume } from './cluster.js';
import { scaled, serverAddress, transport } from './hosts.js';
import { volumeFiles } from './load-files.js';
import type { LoadFiles } from './load-files.js';
import { ModelLoad, content } from './model-load.js';

const MEBIBYTE = 1 << 20;

describe(`a cluster over ${transport}`, function () {
  this.timeout(scaled(120_000));
  let cluster: RdmaCluster;
  let mount: MountedVolume;
  let root: string;
  /** Another client, for what the first one wrote. */
  let other: LoadFiles;
  let client: ClientProcess;

  before(async () => {
    cluster = await RdmaCluster.start();
    mount = await cluster.mount('mnt');
    root = mount.path;
    client = await cluster.join();
    other = volumeFiles(client.files);
  });

  after(async () => {
    await cluster?.stop();
  });

  it('registers an endpoint of the transport for every target', async () => {
    const targets = await cluster.targets();
    assert.equal(targets.length, 2);
    for (const { endpoints } of targets) {
      const kinds = endpoints.map((endpoint) => endpoint.split('://')[0]);
      assert.deepEqual(kinds, [transport]);
      assert.ok(endpoints[0]!.includes(serverAddress));
    }
  });

  for (const [what, length] of [
    ['nothing', 0],
    ['some bytes', 100],
    ['a small file', 3901],
    ['an IO500 record', 47_008],
    ['one chunk', MEBIBYTE],
    ['several chunks and a bit', 5 * MEBIBYTE + 4711],
  ] as const) {
    it(`keeps ${what} (${length} bytes)`, async () => {
      const expected = Buffer.alloc(length);
      for (let at = 0; at < length; at += MEBIBYTE) {
        content(at + length, Math.min(MEBIBYTE, length - at)).copy(expected, at);
      }
      const path = join(root, `file-${length}`);
      await fs.writeFile(path, expected);
      assert.ok((await fs.readFile(path)).equals(expected), 'on the mount that wrote it');
      assert.ok((await other.read(`/file-${length}`)).equals(expected), 'at another client');
    });
  }

  it('keeps unaligned records of one file, written in turns by two clients', async () => {
    const mine = await fs.open(join(root, 'records'), 'w');
    const records = 50;
    await Promise.all(
      Array.from({ length: records }, async (_, index) => {
        const [record, at] = [content(index, 47_008), index * 47_008];
        if (index % 2 === 0) await mine.write(record, 0, 47_008, at);
        else await other.write('/records', record, at);
      }),
    );
    await mine.close();
    const have = await fs.readFile(join(root, 'records'));
    assert.equal(have.length, records * 47_008);
    for (let index = 0; index < records; index++) {
      const record = have.subarray(index * 47_008, (index + 1) * 47_008);
      assert.ok(record.equals(content(index, 47_008)), `record ${index}`);
    }
  });

  it('keeps what is written with O_DIRECT', async () => {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_DIRECT;
    const file = await fs.open(join(root, 'direct'), flags);
    try {
      // Pages of their own, as O_DIRECT wants them: a large Buffer is not always aligned.
      const room = Buffer.alloc(MEBIBYTE + 4096);
      const skew = (4096 - (Number(room.byteOffset) % 4096)) % 4096;
      const block = room.subarray(skew, skew + MEBIBYTE);
      content(77, MEBIBYTE).copy(block);
      for (let i = 0; i < 3; i++) await file.write(block, 0, MEBIBYTE, i * MEBIBYTE);
      block.fill(0);
      await file.read(block, 0, MEBIBYTE, MEBIBYTE);
      assert.ok(block.equals(content(77, MEBIBYTE)));
    } finally {
      await file.close();
    }
  });

  it('keeps holes, cuts and appends', async () => {
    const path = join(root, 'sparse');
    const file = await fs.open(path, 'w+');
    await file.write(content(1, 5000), 0, 5000, 3 * MEBIBYTE);
    await file.truncate(3 * MEBIBYTE + 2000);
    await file.close();
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        index % 2 === 0
          ? fs.appendFile(path, content(2, 300))
          : other.append('/sparse', content(2, 300)),
      ),
    );
    const have = await fs.readFile(path);
    assert.equal(have.length, 3 * MEBIBYTE + 2000 + 20 * 300);
    assert.ok(have.subarray(0, 3 * MEBIBYTE).every((byte) => byte === 0));
    assert.ok(have.subarray(3 * MEBIBYTE, 3 * MEBIBYTE + 2000).equals(content(1, 2000)));
    for (let i = 0; i < 20; i++) {
      const at = 3 * MEBIBYTE + 2000 + i * 300;
      assert.ok(have.subarray(at, at + 300).equals(content(2, 300)), `append ${i}`);
    }
  });

  it('copies no data on its way: the device and the disk alone touch it', async function () {
    if (transport !== 'rdma') return this.skip();
    const mine = client.transport.counters.bytesCopied;
    const before = { ...(await copied()), client: mine.above + mine.below64KiB };
    const moved = 8 * MEBIBYTE;
    const data = content(5, MEBIBYTE);
    for (let i = 0; i < moved / MEBIBYTE; i++) {
      await other.create(`/zero-copy-${i}`, data);
      assert.ok((await other.read(`/zero-copy-${i}`)).equals(data));
    }
    // The servers' counters come with their heartbeats.
    await until('the counters', async () => (await copied()).moved >= before.moved + 2 * moved);
    const after = { ...(await copied()), client: mine.above + mine.below64KiB };
    assert.deepEqual([after.client, after.servers], [before.client, before.servers]);
  });

  /** Bytes that the servers moved, and copied in pieces of 4 KiB and more. */
  async function copied(): Promise<{ moved: number; servers: number }> {
    const sum = async (name: string): Promise<number> =>
      (await cluster.counter(name)).reduce((total, value) => total + value, 0);
    return {
      moved: (await sum('bytesReceived')) + (await sum('bytesSent')),
      servers: (await sum('bytesCopiedBelow64KiB')) + (await sum('bytesCopiedAbove')),
    };
  }

  it('makes, renames and removes directories and names', async () => {
    const dir = join(root, 'tree/a/b');
    await fs.mkdir(dir, { recursive: true });
    await fs.writeFile(join(dir, 'f'), 'text');
    await fs.rename(join(dir, 'f'), join(dir, 'g'));
    await fs.link(join(dir, 'g'), join(dir, 'h'));
    await fs.symlink('g', join(dir, 's'));
    assert.deepEqual((await other.readdir('/tree/a/b')).sort(), ['g', 'h', 's']);
    assert.equal((await other.read('/tree/a/b/s')).toString(), 'text');
    await assert.rejects(fs.rmdir(dir), { code: 'ENOTEMPTY' });
    await fs.rm(join(root, 'tree'), { recursive: true });
    await assert.rejects(client.files.stat('/tree'), { code: 'ENOENT' });
  });

  it('lists a directory of many names, past one message', async () => {
    const dir = join(root, 'many');
    await fs.mkdir(dir);
    const names = Array.from({ length: 200 }, (_, i) => `name-${i}-${'x'.repeat(i % 90)}`).sort();
    await Promise.all(names.map((name) => other.create(`/many/${name}`, Buffer.alloc(0))));
    assert.deepEqual((await fs.readdir(dir)).sort(), names);
  });

  it('carries what programs do: tar packs and unpacks a tree that compares equal', async () => {
    const script =
      'set -e; tar cf big.tar -C "$0" docs/formats schema; mkdir copy; tar xf big.tar -C copy; ' +
      'diff -r "$0/schema" copy/schema; tar df big.tar -C "$0"; rm -r copy big.tar';
    const run = await runProgram('bash', ['-c', script, packageRoot()], {
      cwd: root,
      timeoutMs: scaled(110_000),
    });
    assert.equal(run.status, 0, run.stdout + run.stderr);
  });

  it('does random work on a model from four workers at a time', async () => {
    const load = new ModelLoad(root, 'model', 4, 20_260_101);
    await load.progress(20, scaled(90_000));
    await load.stop();
    assert.ok((await load.verify('/', other)) > 4);
  });

  it('unmounts, leaves no process and everything in place', async () => {
    const before = (await fs.readdir(root)).sort();
    await cluster.unmount(mount);
    assert.deepEqual((await other.readdir('/')).sort(), before);
  });
});

/** Two servers and a mount on the hosts' own addresses are what `up` makes of these options. */
describe(`sealfs up over ${transport}`, function () {
  this.timeout(scaled(400_000));

  it('runs a smoke IO500 on two servers', async () => {
    const out = process.env['SEALFS_MACHINE_OUT'] ?? mkdtempSync(join(tmpdir(), 'sealfs-io500-'));
    const [program, script] = selfCommand();
    const bench =
      'exec "$0" "$1" bench io500 --dir "$SEALFS_MOUNT" --np 2 --scale smoke --out "$2"';
    const up = ['up', '--servers', '2', '--transport', transport];
    const command = ['sh', '-c', bench, program, script, join(out, 'io500')];
    const run = await sealfs([...up, '--', ...command], scaled(390_000));
    assert.equal(run.status, 0, run.stderr);
    console.log(run.stdout);
    const summary = await fs.readFile(join(out, 'io500/result_summary.txt'), 'utf8');
    const total = Number(/TOTAL (\S+)/.exec(summary)?.[1]);
    assert.ok(total > 0, summary);
  });
});
