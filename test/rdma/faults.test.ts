/**
 * Everything that goes wrong between and below two hosts, under a load that knows what every byte
 * must be. Protects: nothing acknowledged is lost, nothing is executed twice, nobody but the one who
 * is hit notices for longer than it lasts, and what a dead client held comes back.
 *
 * One cluster for all: starting processes is what takes the time.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import type { ClientProcess } from '../../src/client/client-process.js';
import type { RdmaTransport } from '../../src/transport/rdma.js';
import { sleep } from '../support/cluster.js';
import { RdmaCluster, until } from './cluster.js';
import type { MountedVolume } from './cluster.js';
import { inMachine, scaled, setCable, setLoss, transport } from './hosts.js';
import { volumeFiles } from './load-files.js';
import type { LoadFiles } from './load-files.js';
import { ModelLoad, content } from './model-load.js';

const MEBIBYTE = 1 << 20;
const onlyInMachine = inMachine ? it : it.skip;

/** Breaks all connections of `rdma`; returns how many there were. */
function breakConnections(rdma: RdmaTransport): number {
  const { connections } = rdma.counters;
  // Numbers are a place and its generation (native/common/connection_table.h): the first generation
  // of the first places. Those that are gone are ignored.
  for (let place = 0; place < 256; place++) rdma.breakQueuePair((1 << 14) | place);
  return connections;
}

describe(`faults under load over ${transport}`, function () {
  this.timeout(scaled(120_000));
  let cluster: RdmaCluster;
  let mount: MountedVolume;
  let client: ClientProcess;
  /** Another client, in this process. */
  let other: LoadFiles;
  let serial = 0;

  before(async () => {
    cluster = await RdmaCluster.start();
    mount = await cluster.mount('mnt');
    client = await cluster.join();
    other = volumeFiles(client.files);
  });

  after(async () => {
    await cluster?.stop();
  });

  /** Runs `fault` in the middle of a load, which must go on afterwards without an error. */
  async function underLoad(fault: (load: ModelLoad) => Promise<void>): Promise<void> {
    const name = `load${serial++}`;
    const load = new ModelLoad(mount.path, name, 3, 7_000 + serial);
    try {
      await load.progress(5, scaled(20_000));
      await fault(load);
      await load.progress(5, scaled(40_000));
    } finally {
      await load.stop();
    }
    assert.ok((await load.verify('/', other)) > 0);
    console.log(
      `        ${load.operations} operations, ${(load.bytesMoved / MEBIBYTE).toFixed(1)} MiB, ` +
        `longest ${load.longestMs} ms`,
    );
  }

  onlyInMachine('a cable that is out for a moment is not noticed', () =>
    underLoad(async () => {
      const losses = (): number => cluster.log('mnt').split('lost the connection').length;
      const before = losses();
      for (let round = 0; round < 2; round++) {
        await setCable(0, false);
        await sleep(300);
        await setCable(0, true);
        await sleep(500);
      }
      assert.equal(losses(), before);
    }),
  );

  onlyInMachine('a cable that is out until connections break: they come back', () =>
    underLoad(async () => {
      await setCable(1, false);
      await sleep(Math.max(12_000, scaled(1500)));
      await setCable(1, true);
    }),
  );

  onlyInMachine('packets that are lost, one in a hundred', () =>
    underLoad(async (load) => {
      await setLoss(0, 1);
      try {
        await load.progress(15, scaled(60_000));
      } finally {
        await setLoss(0, 0);
      }
    }),
  );

  it('a server that stands still for three seconds', () =>
    underLoad(async () => {
      cluster.signalServer(0, 'SIGSTOP');
      await sleep(3000);
      cluster.signalServer(0, 'SIGCONT');
    }));

  it('a server gets more bulk at once than it has slots for', async () => {
    // One directory's files begin on one target: both clients' requests go to the same arena. It
    // stands still until they are all under way: 80 of 1 MiB, and an arena has 64 slots.
    const folder = 'crowd';
    await fs.mkdir(join(mount.path, folder));
    const writes: Promise<void>[] = [];
    for (const index of [0, 1]) cluster.signalServer(index, 'SIGSTOP');
    const count = 40;
    for (let i = 0; i < count; i++) {
      const path = `${folder}/f${i}`;
      writes.push(fs.writeFile(join(mount.path, `${path}-mount`), content(i, MEBIBYTE)));
      writes.push(other.create(`/${path}-client`, content(i + count, MEBIBYTE)));
    }
    await sleep(2000);
    for (const index of [0, 1]) cluster.signalServer(index, 'SIGCONT');
    await Promise.all(writes);
    for (let i = 0; i < count; i++) {
      const have = await fs.readFile(join(mount.path, folder, `f${i}-client`));
      assert.ok(have.equals(content(i + count, MEBIBYTE)), `f${i} of the client`);
      const read = await other.read(`/${folder}/f${i}-mount`);
      assert.ok(read.equals(content(i, MEBIBYTE)), `f${i} of the mount`);
    }
  });

  it('queue pairs that fail, again and again', async function () {
    if (transport !== 'rdma') return this.skip();
    const connections = await cluster.counter('connections');
    const load = new ModelLoad('/', 'broken', 3, 4711, other);
    let broken = 0;
    for (let round = 0; round < 4; round++) {
      await load.progress(3, scaled(20_000));
      broken += breakConnections(client.transport as RdmaTransport);
    }
    await load.progress(3, scaled(20_000));
    await load.stop();
    assert.ok(broken >= 4, `${broken} broken`);
    assert.ok((await load.verify(mount.path)) > 0);
    // One more where the other target had to do with this one for the first time.
    await until('as many connections as before', async () =>
      (await cluster.counter('connections')).every((value, at) => {
        const more = value - connections[at]!;
        return more === 0 || more === 1;
      }),
    );
    assert.equal(client.transport.counters.protocolErrors, 0);
  });

  it('afterwards all targets are up and have counted no protocol error', async () => {
    await cluster.assertUnharmed();
  });
});
