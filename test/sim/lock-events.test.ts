/**
 * File locks in situations that chance seldom makes: a client cut off until its lock is another's, one that
 * is killed, a target that restarts under holders and waiters, storms, rings over several targets,
 * callers that go away while they wait.
 */
import assert from 'node:assert/strict';
import { FileError } from '../../src/client/answer.js';
import type { FileHandle } from '../../src/client/file-handle.js';
import { LOCK_WRITE } from '../../src/common/lock-ranges.js';
import type { ClientRequest } from '../../src/client/request.js';
import { buildCluster } from './cluster.js';
import type { ClusterOptions, SimClient, SimCluster } from './cluster.js';

/** '' or the code of the error. */
async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return '';
  } catch (error) {
    if (error instanceof FileError) return error.code;
    throw error;
  }
}

/** What became of a promise, for looking without waiting. */
class Watched {
  code: string | undefined;
  atMs = NaN;
  readonly ended: Promise<string>;

  constructor(cluster: SimCluster, promise: Promise<unknown>) {
    this.ended = outcome(promise).then((code) => {
      this.code = code;
      this.atMs = cluster.world.nowMs;
      return code;
    });
  }
}

async function start(options: ClusterOptions): Promise<SimCluster> {
  const cluster = buildCluster(7, options);
  await cluster.run(async ([first]) => {
    await first!.files.ensureRoot();
    await first!.files.writeFile('/f', 'x');
  });
  return cluster;
}

function opened(cluster: SimCluster, client: SimClient, path = '/f'): Promise<FileHandle> {
  return cluster.run(() => client.files.open(path, 'r+'));
}

/** As a process of a mount: one owner for all its files. */
class Process {
  readonly #client: SimClient;
  readonly #number: number;

  constructor(client: SimClient, number: number) {
    this.#client = client;
    this.#number = number;
  }

  async handle(path: string): Promise<number> {
    const { files } = this.#client;
    const { inode } = await files.stat(path);
    const answer = await files.call('open', path, (request) => {
      files.core.open(request, inode, false);
    });
    return answer.handle;
  }

  lock(handle: number, wait: boolean, seen: (request: ClientRequest) => void): Promise<unknown> {
    const { files } = this.#client;
    const owner = { family: 0, ownerLow: this.#number, ownerHigh: 3, pid: this.#number };
    return files.call('fcntl', '', (request) => {
      seen(request);
      files.core.lock(request, handle, { ...owner, kind: LOCK_WRITE, start: 0, last: 9, wait });
    });
  }

  flush(handle: number): Promise<unknown> {
    const { files } = this.#client;
    return files.call('close', '', (request) => {
      files.core.flushLocks(request, handle, this.#number, 3);
    });
  }
}

const ignore = (): void => undefined;

describe('file locks, when', () => {
  it('a client is cut off: its lock is free after a while, and it is told', async () => {
    const cluster = await start({ clients: 2 });
    const [cut, other] = cluster.clients as [SimClient, SimClient];
    const mine = await opened(cluster, cut);
    const theirs = await opened(cluster, other);
    await cluster.run(() => mine.lock());
    cluster.network.partition(cut.name, 'target-0');
    const cutMs = cluster.world.nowMs;
    const waiting = new Watched(cluster, theirs.lock());
    await cluster.run(() => waiting.ended);
    assert.equal(waiting.code, '');
    const tookMs = waiting.atMs - cutMs;
    assert.ok(tookMs > 12_000 && tookMs < 20_000, `${tookMs} ms`);
    cluster.network.heal(cut.name, 'target-0');
    await cluster.idle(10_000);
    const code = await cluster.run(() => outcome(mine.write(Buffer.from('late'), 0)));
    assert.equal(code, 'EIO');
    assert.equal(await cluster.run(() => outcome(mine.lock({ wait: false }))), 'EIO');
    assert.equal(await cluster.run(() => outcome(mine.lock({ wait: false }))), 'EAGAIN');
    assert.equal(await cluster.run(() => outcome(mine.write(Buffer.from('told'), 0))), '');
  });

  it('a client is cut off from the lock but not from the data: it writes no more', async () => {
    const cluster = await start({ clients: 2, targets: 2 });
    const [cut, other] = cluster.clients as [SimClient, SimClient];
    const mine = await opened(cluster, cut);
    const theirs = await opened(cluster, other);
    const chunk = Buffer.alloc(1 << 20, 'a');
    // So that some of the file lies on each target.
    await cluster.run(() => mine.write(Buffer.alloc(12 << 20, 'a'), 0));
    await cluster.run(() => mine.lock());
    const home = cluster.targets.find(({ target }) => target!.report()['fileLocks'] === 1)!;
    cluster.network.partition(cut.name, home.name);
    await cluster.idle(10_000);
    const waiting = new Watched(cluster, theirs.lock());
    await cluster.idle(3000);
    const late = Array.from({ length: 10 }, (_, i) => {
      return new Watched(cluster, mine.write(chunk.fill('b'), (i + 1) << 20));
    });
    assert.equal(await cluster.run(() => waiting.ended), '');
    await cluster.idle(30_000);
    assert.ok(late.every((write) => write.code === undefined));
    cluster.network.heal(cut.name, home.name);
    for (const write of late) assert.equal(await cluster.run(() => write.ended), 'EIO');
    const content = await cluster.run(() => theirs.readAll());
    assert.equal(content.indexOf('b'.charCodeAt(0)), -1);
  });

  it('a client is cut off and nobody wants its lock: it keeps it', async () => {
    const cluster = await start({ clients: 2 });
    const [cut, other] = cluster.clients as [SimClient, SimClient];
    const mine = await opened(cluster, cut);
    await cluster.run(() => mine.lock());
    cluster.network.partition(cut.name, 'target-0');
    await cluster.idle(60_000);
    cluster.network.heal(cut.name, 'target-0');
    await cluster.idle(10_000);
    const theirs = await opened(cluster, other);
    assert.equal(await cluster.run(() => outcome(theirs.lock({ wait: false }))), 'EAGAIN');
    assert.equal(await cluster.run(() => outcome(mine.unlock())), '');
  });

  it('a client is killed: also those get its locks who only try', async () => {
    const cluster = await start({ clients: 2 });
    const [victim, other] = cluster.clients as [SimClient, SimClient];
    const mine = await opened(cluster, victim);
    const theirs = await opened(cluster, other);
    await cluster.run(() => mine.lock());
    victim.kill();
    await cluster.idle(8000);
    assert.equal(await cluster.run(() => outcome(theirs.lock({ wait: false }))), 'EAGAIN');
    await cluster.idle(8000);
    assert.equal(await cluster.run(() => outcome(theirs.lock({ wait: false }))), 'EAGAIN');
    await cluster.idle(2000);
    assert.equal(await cluster.run(() => outcome(theirs.lock({ wait: false }))), '');
  });

  it('a target restarts: holders keep, waiters wait, nobody gets in between', async () => {
    const cluster = await start({ clients: 3 });
    const [holder, waiter, late] = cluster.clients as [SimClient, SimClient, SimClient];
    const held = await opened(cluster, holder);
    const wanted = await opened(cluster, waiter);
    const tried = await opened(cluster, late);
    await cluster.run(() => held.lock({ start: 0, lengthBytes: 10 }));
    await cluster.run(() => held.lock({ start: 100, lengthBytes: 10, shared: true }));
    const waiting = new Watched(cluster, wanted.lock());
    await cluster.idle(100);
    const target = cluster.targets[0]!;
    target.kill();
    target.startAfter(500);
    const trying = new Watched(cluster, tried.lock({ wait: false, start: 5, lengthBytes: 1 }));
    const reading = new Watched(
      cluster,
      tried.lock({ wait: false, start: 105, lengthBytes: 1, shared: true }),
    );
    await cluster.idle(20_000);
    assert.equal(waiting.code, undefined);
    assert.equal(trying.code, 'EAGAIN');
    // Behind one who waits for all of the file, as before the restart.
    assert.equal(reading.code, 'EAGAIN');
    await cluster.run(() => held.unlock());
    assert.equal(await cluster.run(() => waiting.ended), '');
  });

  it('a target restarts while its clients have much to ask of it: holders keep', async () => {
    const cluster = await start({ clients: 1 });
    const [holder] = cluster.clients as [SimClient];
    const held = await opened(cluster, holder);
    const free = await opened(cluster, holder);
    await cluster.run(() => held.lock());
    const target = cluster.targets[0]!;
    target.kill();
    const changes = Array.from({ length: 200 }, (_, i) => {
      return new Watched(cluster, free.truncate(i));
    });
    await cluster.idle(1000);
    target.start();
    // What is claimed, and the Await after it, go before all that waits for the end of the grace.
    await cluster.run(() => Promise.all(changes.map(({ ended }) => ended)));
    assert.ok(changes.every(({ code }) => code === ''));
    assert.equal(await cluster.run(() => outcome(held.write(Buffer.from('mine'), 0))), '');
  });

  it('a holder does not come back after a restart: the others wait for it no longer than the grace', async () => {
    const cluster = await start({ clients: 2 });
    const [gone, other] = cluster.clients as [SimClient, SimClient];
    const mine = await opened(cluster, gone);
    const theirs = await opened(cluster, other);
    await cluster.run(() => mine.lock());
    gone.kill();
    cluster.targets[0]!.kill();
    cluster.targets[0]!.start();
    const startMs = cluster.world.nowMs;
    const waiting = new Watched(cluster, theirs.lock());
    await cluster.run(() => waiting.ended);
    const tookMs = waiting.atMs - startMs;
    assert.ok(tookMs > 14_000 && tookMs < 18_000, `${tookMs} ms`);
  });

  it('a caller goes away while the target is away: what it is granted then is given back', async () => {
    const cluster = await start({ clients: 2 });
    const [first, other] = cluster.clients as [SimClient, SimClient];
    const mine = await opened(cluster, first);
    const theirs = await opened(cluster, other);
    await cluster.run(() => mine.lock({ start: 0, lengthBytes: 4, shared: true }));
    cluster.targets[0]!.kill();
    await cluster.idle(1000);
    const stop = new AbortController();
    const waiting = new Watched(
      cluster,
      mine.lock({ start: 2, lengthBytes: 6, signal: stop.signal }),
    );
    await cluster.idle(100);
    stop.abort();
    assert.equal(await cluster.run(() => waiting.ended), 'EINTR');
    cluster.targets[0]!.start();
    await cluster.idle(20_000);
    const read = { wait: false, start: 0, lengthBytes: 4 };
    assert.equal(await cluster.run(() => outcome(theirs.lock({ ...read, shared: true }))), '');
    assert.equal(await cluster.run(() => outcome(theirs.lock(read))), 'EAGAIN', 'as before');
    assert.equal(await cluster.run(() => outcome(theirs.lock({ wait: false, start: 4 }))), '');
  });

  it('a handle is closed: its locks go, and so does its waiting', async () => {
    const cluster = await start({ clients: 2 });
    const [first, other] = cluster.clients as [SimClient, SimClient];
    const mine = await opened(cluster, first);
    const again = await opened(cluster, first);
    const theirs = await opened(cluster, other);
    await cluster.run(() => mine.lock());
    const waiting = new Watched(cluster, again.lock());
    await cluster.idle(50);
    again.close();
    assert.equal(await cluster.run(() => waiting.ended), 'EINTR');
    mine.close();
    assert.equal(await cluster.run(() => outcome(theirs.lock())), '');
    theirs.close();
    await cluster.idle(1000);
    const { fileLocks, fileLockWaiters } = cluster.targets[0]!.target!.report();
    assert.deepEqual([fileLocks, fileLockWaiters], [0, 0]);
    assert.deepEqual([first.core.lockOwners, other.core.lockOwners], [0, 0]);
  });

  it('many want one lock: each gets it once, in the order of asking', async () => {
    const cluster = await start({ clients: 3 });
    const each = 100;
    const holder = await opened(cluster, cluster.clients[0]!);
    await cluster.run(() => holder.lock());
    const order: string[] = [];
    let holding = 0;
    const runs = cluster.clients.map(async (client, at) => {
      const handles = Array.from({ length: each }, () => client.files.open('/f', 'r+'));
      const storm = (await Promise.all(handles)).map(async (handle, i) => {
        await handle.lock();
        assert.equal(++holding, 1);
        order.push(`${at} ${i}`);
        await new Promise<void>((resolve) => {
          cluster.world.schedule(1, resolve);
        });
        holding--;
        await handle.unlock();
      });
      await Promise.all(storm);
    });
    await cluster.idle(2000);
    await cluster.run(async () => {
      await holder.unlock();
      await Promise.all(runs);
    });
    assert.equal(order.length, 3 * each);
    for (let at = 0; at < 3; at++) {
      const mine = order.filter((name) => name.startsWith(`${at} `));
      assert.deepEqual(
        mine,
        mine.map((_, i) => `${at} ${i}`),
      );
    }
  });

  it('many want one lock while its target restarts again and again: each gets it once, alone', async () => {
    const cluster = await start({ clients: 3 });
    const { world } = cluster;
    const target = cluster.targets[0]!;
    const each = 60;
    let [holding, granted, restarts] = [0, 0, 0];
    const restart = (): void => {
      if (granted === 3 * each || restarts === 8) return;
      restarts++;
      target.kill();
      target.startAfter(10);
      world.schedule(150, restart);
    };
    await cluster.run(async (clients) => {
      const handles = await Promise.all(
        clients.flatMap(({ files }) => {
          return Array.from({ length: each }, () => files.open('/f', 'r+'));
        }),
      );
      world.schedule(20, restart);
      await Promise.all(
        handles.map(async (handle) => {
          await handle.lock();
          assert.equal(++holding, 1);
          granted++;
          await new Promise<void>((resolve) => world.schedule(1, resolve));
          holding--;
          await handle.unlock();
        }),
      );
    });
    assert.equal(granted, 3 * each);
    assert.ok(restarts > 1, `${restarts} restarts meanwhile`);
  });

  for (const members of [2, 3, 5]) {
    it(`${members} wait for one another over several targets: one is refused`, async () => {
      const cluster = await start({ clients: members, targets: 3 });
      const paths = Array.from({ length: members }, (_, i) => `/d${i}/f`);
      await cluster.run(async ([first]) => {
        for (const [i, path] of paths.entries()) {
          await first!.files.mkdir(`/d${i}`);
          await first!.files.writeFile(path, 'x');
        }
      });
      const processes = cluster.clients.map((client, i) => new Process(client, i + 1));
      const own: number[] = [];
      const next: number[] = [];
      await cluster.run(async () => {
        for (const [i, process] of processes.entries()) {
          own.push(await process.handle(paths[i]!));
          next.push(await process.handle(paths[(i + 1) % members]!));
          await process.lock(own[i]!, false, ignore);
        }
      });
      const startMs = cluster.world.nowMs;
      const waits = processes.map(
        (process, i) => new Watched(cluster, process.lock(next[i]!, true, ignore)),
      );
      await cluster.run(() => Promise.race(waits.map((each) => each.ended)));
      assert.ok(cluster.world.nowMs - startMs < 4000, `${cluster.world.nowMs - startMs} ms`);
      await cluster.idle(5000);
      const codes = waits.map((each) => each.code);
      const refused = codes.indexOf('EDEADLK');
      assert.deepEqual(codes.filter((code) => code === 'EDEADLK').length, 1, codes.join());
      // It gives up what it has, and the others come one after another.
      await cluster.run(async () => {
        for (let i = 0; i < members; i++) {
          const at = (refused - i + members) % members;
          if (i > 0) assert.equal(await waits[at]!.ended, '');
          await processes[at]!.flush(own[at]!);
          await processes[at]!.flush(next[at]!);
        }
      });
    });
  }

  it('a long queue stands over several targets: nobody is taken for a ring', async () => {
    const cluster = await start({ clients: 3, targets: 2 });
    await cluster.run(async ([first]) => {
      await first!.files.mkdir('/d');
      await first!.files.writeFile('/d/g', 'x');
    });
    const chain = cluster.clients.flatMap((client, i) => [
      new Process(client, 10 * i + 1),
      new Process(client, 10 * i + 2),
    ]);
    // Each waits for the one before it; the first holds both files' locks for a while.
    const runs = chain.map(async (process, i) => {
      const handles = [await process.handle('/f'), await process.handle('/d/g')];
      await new Promise<void>((resolve) => {
        cluster.world.schedule(200 * (i + 1), resolve);
      });
      await process.lock(handles[0]!, true, ignore);
      await process.lock(handles[1]!, true, ignore);
      await new Promise<void>((resolve) => {
        cluster.world.schedule(3000, resolve);
      });
      for (const handle of handles) await process.flush(handle);
    });
    await cluster.run(() => Promise.all(runs));
  });
});
