/**
 * Processes of a whole cluster killed under a load that knows what every byte must be. Protects: what
 * was acknowledged is there afterwards, the load goes on without an error when a killed server is
 * back, nobody else notices that a client is killed, and what a dead client held comes back.
 *
 * Says as it goes what happens when; a test that fails adds what everybody has logged last.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import type { ClientProcess } from '../../src/client/client-process.js';
import { sleep } from '../support/cluster.js';
import { RdmaCluster, until } from './cluster.js';
import type { MountedVolume } from './cluster.js';
import { scaled, transport } from './hosts.js';
import { volumeFiles } from './load-files.js';
import type { LoadFiles } from './load-files.js';
import { ModelLoad, content } from './model-load.js';

const MEBIBYTE = 1 << 20;
/** Until the manager has heard how things stand: a target counts every second, and tells as often. */
const heartbeatsMs = Math.max(2500, scaled(700));
/** For anything to happen that must happen at all. */
const limitMs = 20_000;

/** What a target has to give, or holds for others. */
const holdings = ['connections', 'messageSlotsFree', 'bulkSlotsFree'] as const;
type Holdings = Record<(typeof holdings)[number], number[]>;

describe(`processes killed under load over ${transport}`, function () {
  this.timeout(scaled(120_000));
  const began = performance.now();
  let cluster: RdmaCluster;
  let mount: MountedVolume;
  let client: ClientProcess;
  /** The client in this process. */
  let other: LoadFiles;
  let loads: ModelLoad[] = [];

  function note(what: string): void {
    console.log(`        ${((performance.now() - began) / 1000).toFixed(1)} s: ${what}`);
  }

  function begin(...args: ConstructorParameters<typeof ModelLoad>): ModelLoad {
    const load = new ModelLoad(...args);
    loads.push(load);
    return load;
  }

  /** Waits until every worker of these loads has done some more. */
  async function goOn(...which: ModelLoad[]): Promise<void> {
    await Promise.all(which.map((load) => load.progress(4, scaled(limitMs))));
    note(which.map((load) => `${load.name} has done ${load.operations}`).join(', '));
  }

  before(async () => {
    cluster = await RdmaCluster.start();
    mount = await cluster.mount('mnt');
    client = await cluster.join();
    other = volumeFiles(client.files);
  });

  afterEach(function () {
    if (this.currentTest?.state === 'failed') {
      note(`failed; ${loads.map((load) => load.doing).join('; ')}`);
      for (const target of client.core.targets()) console.log(JSON.stringify(target));
      console.log(cluster.lastWords());
    }
    // Not waited for: one that stands still does so until its mount is gone.
    for (const load of loads) void load.abandon();
    loads = [];
  });

  after(async () => {
    await cluster?.stop();
  });

  it('a server that is killed and started again, each in turn', async () => {
    const mounted = begin(mount.path, 'mounted', 3, 7001);
    const joined = begin('/', 'joined', 2, 7101, other);
    await goOn(mounted, joined);
    for (const index of [0, 1]) {
      await cluster.killServer(index);
      note(`server-${index} is killed`);
      await sleep(300);
      await cluster.startServer(index);
      note(`server-${index} has registered again`);
      await goOn(mounted, joined);
    }
    await Promise.all([mounted.stop(), joined.stop()]);
    // Each by the client that did not write it.
    assert.ok((await mounted.verify('/', other)) > 0);
    assert.ok((await joined.verify(mount.path)) > 0);
    note(`longest operations ${mounted.longestMs} and ${joined.longestMs} ms`);
  });

  async function held(): Promise<Holdings> {
    const counts: Partial<Holdings> = {};
    for (const name of holdings) {
      counts[name] = await cluster.counter(name);
      assert.equal(counts[name].length, 2, `both targets report ${name}`);
    }
    return counts as Holdings;
  }

  /** What is held when nobody does anything, as soon as it stands still. */
  async function settled(): Promise<Holdings> {
    let last = await held();
    await until('what targets hold to stand still', async () => {
      const before = last;
      await sleep(heartbeatsMs);
      last = await held();
      return JSON.stringify(last) === JSON.stringify(before);
    });
    note(`idle: ${JSON.stringify(last)}`);
    return last;
  }

  /** Has targets connect to each other, which they do at the first cut of a striped file. */
  async function connectTargets(): Promise<void> {
    for (let i = 0; i < 8; i++) {
      const path = join(mount.path, `striped-${i}`);
      await fs.mkdir(path);
      await fs.writeFile(join(path, 'f'), Buffer.alloc(5 * MEBIBYTE, i));
      await fs.truncate(join(path, 'f'), 0);
    }
  }

  it('a client that is killed, its requests in the queues of the servers', async () => {
    await connectTargets();
    const idle = await settled();
    const victim = await cluster.mount('victim');
    const kept = 8;
    for (let i = 0; i < kept; i++) {
      await fs.mkdir(join(victim.path, `kept-${i}`));
      await fs.writeFile(join(victim.path, `kept-${i}`, 'f'), content(i, 200_000));
    }
    const doomed = begin(victim.path, 'doomed', 6, 99);
    const bystander = begin(mount.path, 'bystander', 3, 7201);
    await goOn(doomed, bystander);
    await until('both targets to count the connection of the victim', async () =>
      (await held()).connections.every((count, at) => count === idle.connections[at]! + 1),
    );

    for (const index of [0, 1]) cluster.signalServer(index, 'SIGSTOP');
    const writes = Array.from({ length: 16 }, (_, i) =>
      fs.writeFile(join(victim.path, `kept-${i % kept}`, 'last'), content(i, MEBIBYTE)),
    );
    const written = Promise.allSettled(writes);
    await sleep(1000);
    await cluster.killMount(victim);
    note('the client is killed');
    for (const index of [0, 1]) cluster.signalServer(index, 'SIGCONT');
    assert.notEqual(await doomed.abandon(), undefined, 'its callers get an error');
    await written;

    await goOn(bystander);
    await bystander.stop();
    assert.ok((await bystander.verify('/', other)) > 0);
    await comesBack(idle);
    for (let i = 0; i < kept; i++) {
      const have = await other.read(`/kept-${i}/f`);
      assert.ok(have.equals(content(i, 200_000)), `kept-${i}`);
    }
  });

  async function comesBack(idle: Holdings): Promise<void> {
    let now = await held();
    try {
      await until('connections, message slots and bulk slots of the dead client', async () => {
        now = await held();
        return (
          now.connections.every((count, at) => count <= idle.connections[at]!) &&
          now.messageSlotsFree.every((count, at) => count >= idle.messageSlotsFree[at]!) &&
          now.bulkSlotsFree.every((count, at) => count >= idle.bulkSlotsFree[at]!)
        );
      });
    } finally {
      note(`afterwards: ${JSON.stringify(now)}`);
    }
  }

  it('afterwards all targets are up and have counted no protocol error', async () => {
    await cluster.assertUnharmed();
  });
});
