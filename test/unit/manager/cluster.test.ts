/**
 * Membership, health and volumes over a store in memory with a clock of its own. Protects: who
 * becomes a member, when an epoch is published, that nothing is announced before it is committed.
 */
import assert from 'node:assert/strict';
import { SealfsError } from '../../../src/common/errors.js';
import type { RegisterRequest } from '../../../src/common/manager-api.js';
import { registerRequestSchema } from '../../../src/common/manager-api.js';
import { Cluster, rootInodeOf } from '../../../src/manager/cluster.js';
import type { ClusterStore, StoreWrite } from '../../../src/manager/cluster-store.js';

class MemoryStore implements ClusterStore {
  readonly records = new Map<string, string>();
  failNext = false;

  async load(): Promise<Map<string, unknown>> {
    return new Map([...this.records].map(([key, value]) => [key, JSON.parse(value) as unknown]));
  }

  async commit(writes: StoreWrite[]): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.failNext) {
      this.failNext = false;
      throw new Error('disk full');
    }
    for (const { key, value } of writes) {
      if (value === undefined) this.records.delete(key);
      else this.records.set(key, JSON.stringify(value));
    }
  }

  async close(): Promise<void> {
    this.records.clear();
  }
}

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

function registration(serverId: string, targets: number[], port = 7000): RegisterRequest {
  return {
    serverId,
    targets: targets.map((n) => ({
      targetId: uuid(n),
      endpoints: [`tcp://127.0.0.1:${port + n}`],
      totalBytes: 1000,
      freeBytes: 900,
    })),
  };
}

const parse = (request: RegisterRequest) => registerRequestSchema.parse(request);

function hasCode(code: string, text: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof SealfsError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  };
}

describe('Cluster', () => {
  let store: MemoryStore;
  let now: number;
  const open = (): Promise<Cluster> => Cluster.open(store, { nowMs: () => now, wallMs: () => 0 });

  beforeEach(() => {
    store = new MemoryStore();
    now = 1000;
  });

  it('gives a new cluster an id that it keeps', async () => {
    const first = await open();
    assert.equal(first.epoch, 0);
    assert.equal((await open()).clusterId, first.clusterId);
  });

  it('makes targets members until the first volume, standby afterwards', async () => {
    const cluster = await open();
    const reply = await cluster.register(parse(registration('b', [2, 1])));
    assert.equal(reply.epoch, 1);
    assert.deepEqual(
      reply.map.members.map((member) => member.targetId),
      [uuid(1), uuid(2)],
    );
    await cluster.createVolume('v');
    const later = await cluster.register(parse(registration('c', [3])));
    assert.equal(later.epoch, 1);
    assert.equal(later.map.members.length, 2);
    const roles = cluster.servers().map((server) => server.targets.map((target) => target.role));
    assert.deepEqual(roles, [['member', 'member'], ['standby']]);
    await cluster.deleteVolume('v');
    await cluster.register(parse(registration('d', [4])));
    assert.equal(cluster.map().members.length, 2, 'membership stays fixed for ever');
  });

  it('publishes an epoch for new endpoints, none for an unchanged registration', async () => {
    const cluster = await open();
    const epochs: number[] = [];
    const stop = cluster.onMap((map) => epochs.push(map.epoch));
    await cluster.register(parse(registration('a', [1])));
    await cluster.createVolume('v');
    await cluster.register(parse(registration('a', [1])));
    await cluster.register(parse(registration('a', [1], 8000)));
    stop();
    assert.deepEqual(epochs, [1, 2]);
    assert.deepEqual(cluster.map().members[0]!.endpoints, ['tcp://127.0.0.1:8001']);
  });

  it('keeps the weight of a member once membership is fixed', async () => {
    const cluster = await open();
    const heavy = registration('a', [1]);
    heavy.targets[0]!.weight = 5;
    await cluster.register(parse(registration('a', [1])));
    await cluster.register(parse(heavy));
    assert.equal(cluster.map().members[0]!.weight, 5);
    await cluster.createVolume('v');
    heavy.targets[0]!.weight = 7;
    await cluster.register(parse(heavy));
    assert.equal(cluster.map().members[0]!.weight, 5);
  });

  it('takes nothing over when the store fails, and works afterwards', async () => {
    const cluster = await open();
    store.failNext = true;
    await assert.rejects(cluster.register(parse(registration('a', [1]))), /disk full/);
    assert.equal(cluster.epoch, 0);
    assert.deepEqual(cluster.servers(), []);
    await cluster.register(parse(registration('a', [1])));
    store.failNext = true;
    await assert.rejects(cluster.createVolume('v'), /disk full/);
    assert.deepEqual(cluster.volumes(), []);
    assert.equal((await cluster.createVolume('v')).id, 1);
  });

  it('refuses another cluster, a target named twice, one that is served elsewhere', async () => {
    const cluster = await open();
    await cluster.register(parse(registration('a', [1])));
    await assert.rejects(
      cluster.register(parse({ ...registration('a', [1]), clusterId: uuid(9) })),
      hasCode('USAGE', /belongs to cluster/),
    );
    await assert.rejects(
      cluster.register(parse(registration('a', [5, 5]))),
      hasCode('USAGE', /named twice/),
    );
    await assert.rejects(
      cluster.register(parse(registration('b', [1]))),
      hasCode('BUSY', /served by server a/),
    );
    now += 11_000;
    await cluster.register(parse(registration('b', [1])));
    assert.equal(cluster.map().members[0]!.serverId, 'b');
  });

  it('judges servers by their heartbeats', async () => {
    const cluster = await open();
    await cluster.register(parse(registration('a', [1])));
    const state = (): string => cluster.servers()[0]!.state;
    assert.equal(state(), 'up');
    now += 3000;
    assert.equal(state(), 'suspect');
    now += 7000;
    assert.equal(state(), 'down');
    const beat = { targetId: uuid(1), totalBytes: 10, freeBytes: 4, inodes: 3, devices: [] };
    assert.deepEqual(cluster.heartbeat('a', { epoch: 1, targets: [beat] }), { epoch: 1 });
    assert.equal(state(), 'up');
    assert.equal(cluster.servers()[0]!.targets[0]!.freeBytes, 4);
    assert.equal(cluster.epoch, 1, 'health changes no membership');
    assert.ok(cluster.heartbeat('a', { epoch: 0, targets: [] }).map);
  });

  it('calls servers suspect after its own restart until they are heard', async () => {
    await (await open()).register(parse(registration('a', [1])));
    now += 1_000_000;
    const cluster = await open();
    assert.equal(cluster.servers()[0]!.state, 'suspect');
    assert.equal(cluster.servers()[0]!.silentMs, null);
    now += 10_000;
    assert.equal(cluster.servers()[0]!.state, 'down');
    cluster.heartbeat('a', { epoch: 1, targets: [] });
    assert.equal(cluster.servers()[0]!.state, 'up');
  });

  it('sends unknown servers and foreign targets back to register', async () => {
    const cluster = await open();
    await cluster.register(parse(registration('a', [1])));
    const beat = { targetId: uuid(1), totalBytes: 0, freeBytes: 0, inodes: 0, devices: [] };
    for (const targets of [[], [beat]]) {
      assert.throws(
        () => cluster.heartbeat('x', { epoch: 0, targets }),
        hasCode('NOT_FOUND', /regist/),
      );
    }
  });

  it('creates volumes only over targets, never reuses an id, deletes', async () => {
    const cluster = await open();
    await assert.rejects(cluster.createVolume('v'), hasCode('UNAVAILABLE', /no target/));
    await cluster.register(parse(registration('a', [1])));
    const volume = await cluster.createVolume('v');
    assert.equal(volume.id, 1);
    assert.equal(volume.rootInode, rootInodeOf(1));
    assert.equal(volume.createdAt, '1970-01-01T00:00:00.000Z');
    await assert.rejects(cluster.createVolume('v'), hasCode('EXISTS', /'v' exists/));
    await cluster.deleteVolume('v');
    await assert.rejects(cluster.deleteVolume('v'), hasCode('NOT_FOUND', /no volume 'v'/));
    assert.equal((await cluster.createVolume('v')).id, 2);
  });

  it('gives one id to each of many creations at once', async () => {
    const cluster = await open();
    await cluster.register(parse(registration('a', [1])));
    const names = Array.from({ length: 50 }, (_, n) => `v${n}`);
    const volumes = await Promise.all(names.map((name) => cluster.createVolume(name)));
    assert.equal(new Set(volumes.map((volume) => volume.id)).size, 50);
  });

  it('comes back from its store as it was', async () => {
    const cluster = await open();
    await cluster.register(parse(registration('a', [1, 2])));
    const volume = await cluster.createVolume('v');
    await cluster.register(parse(registration('b', [3])));
    const again = await open();
    assert.deepEqual(again.map(), cluster.map());
    assert.deepEqual(again.volumes(), [volume]);
    assert.deepEqual(
      again.servers().flatMap((server) => server.targets.map((target) => target.role)),
      ['member', 'member', 'standby'],
    );
  });

  it('refuses a damaged or newer store', async () => {
    await open();
    const good = store.records.get('cluster')!;
    store.records.set('cluster', good.replace('"epoch":0', '"epoch":-1'));
    await assert.rejects(open(), hasCode('CORRUPT', /record 'cluster': epoch/));
    store.records.set('cluster', good.replace('"format":1', '"format":2'));
    await assert.rejects(open(), hasCode('UNSUPPORTED', /format 2/));
    store.records.set('cluster', good);
    store.records.set('target/x', '{"targetId":"x"}');
    await assert.rejects(open(), hasCode('CORRUPT', /target\/x/));
  });

  it('places roots below 2^53 with the id as their sequence', () => {
    const buckets = new Set<number>();
    for (let id = 1; id <= 1000; id++) {
      const inode = rootInodeOf(id);
      assert.ok(Number.isSafeInteger(inode));
      assert.equal(inode % 2 ** 37, id);
      buckets.add(Math.floor(inode / 2 ** 37));
    }
    assert.ok(buckets.size > 900, `${buckets.size} buckets for 1000 volumes`);
  });
});
