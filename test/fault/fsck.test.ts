/**
 * fsck of a real cluster: clean when it is healthy, running and stopped; and each kind of damage, made
 * on purpose in the stores of the stopped cluster, is named, and repaired where docs/fsck.md says so,
 * without anything else being touched.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openVolume } from '../../src/client/files.js';
import { ManagerClient } from '../../src/common/manager-client.js';
import { findingKinds } from '../../src/fsck/findings.js';
import type { Finding, FindingKind } from '../../src/fsck/findings.js';
import { OfflineCluster } from '../../src/fsck/offline-stores.js';
import { planRepair } from '../../src/fsck/repair.js';
import { ChunkExtent, ChunkHeader } from '../../src/protocol/data-format.generated.js';
import { blockBytes } from '../../src/protocol/limits.generated.js';
import { TestCluster, sealfs, until } from '../support/cluster.js';
import { assertClean, checkStopped, linesOf } from '../support/fsck.js';
import { fill } from '../unit/fsck/content.js';
import { damages } from './fsck-damages.js';
import type { Damage } from './fsck-damages.js';
import { DamagedStores } from './fsck-stores.js';

const SERVERS = 2;
const TARGETS = 1;
/** More than any directory has that is damaged as one piece. */
const SPLIT_ENTRIES = 16;

function kindsOf(findings: readonly Finding[]): FindingKind[] {
  return [...new Set(findings.map(({ kind }) => kind))].sort();
}

describe('fsck', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let metaDirs: string[];
  let stores: DamagedStores;
  let healthy: string[];

  before(async () => {
    cluster = await TestCluster.start({
      servers: SERVERS,
      targets: TARGETS,
      dataSize: '128M',
      splitEntries: SPLIT_ENTRIES,
    });
    metaDirs = Array.from({ length: SERVERS }, (_, i) => join(cluster.dir, `meta-${i}`));
    const volume = await new ManagerClient(cluster.url).volume('default');
    const files = await openVolume({ managerUrl: cluster.url, volume });
    await fill(files);
    await files.mkdir('/grown');
    for (let i = 0; i < 3 * SPLIT_ENTRIES; i++) await files.writeFile(`/grown/g${i}`, 'x');
    await files.close();
  });

  after(async () => {
    await cluster?.stop();
  });

  it('finds nothing in a healthy cluster that runs, and refuses what needs a stopped one', () => {
    const checked = sealfs('fsck', '--manager', cluster.url);
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
    assert.match(checked.stdout, /^checked 2 targets.*\nclean\n$/);
    for (const args of [['--repair'], ['--data']]) {
      const refused = sealfs('fsck', '--manager', cluster.url, ...args);
      assert.equal(refused.status, 2);
      assert.match(refused.stderr, /stopped cluster/);
    }
    const busy = sealfs('fsck', '--meta-dir', metaDirs[0]!, '--meta-dir', metaDirs[1]!);
    assert.equal(busy.status, 2);
    assert.match(busy.stderr, /^sealfs: --meta-dir: a server uses .*meta-0; stop it first.*\n$/);
  });

  it('finds nothing in a healthy cluster that is stopped', async () => {
    await Promise.all([0, 1].map((index) => cluster.killServer(index, 'SIGTERM')));
    const { counts } = await assertClean(metaDirs);
    assert.ok(counts.inodes > 20 && counts.verifiedBytes > 2 ** 20, JSON.stringify(counts));
    const offline = await OfflineCluster.open(metaDirs, false);
    await offline.close();
    const directories = metaDirs.flatMap((dir) => {
      return Array.from({ length: TARGETS }, (_, i) => join(dir, `target-${i}`));
    });
    stores = new DamagedStores(directories, (bucket) => offline.cluster.holderOf(bucket));
    await stores.load();
    healthy = stores.text();
  });

  it('says which directories are missing, and which are none', () => {
    const part = sealfs('fsck', '--meta-dir', metaDirs[0]!);
    assert.equal(part.status, 2);
    assert.match(part.stderr, /servers of the cluster are missing/);
    const none = sealfs('fsck', '--meta-dir', cluster.dir);
    assert.equal(none.status, 2);
    assert.match(none.stderr, /not the metadata directory of a server/);
  });

  async function repair(): Promise<{ found: Finding[]; remaining: Finding[] }> {
    const offline = await OfflineCluster.open(metaDirs, true);
    try {
      const plan = await planRepair(offline.cluster);
      await offline.write(plan.changes);
      return { found: plan.first.findings, remaining: plan.remaining };
    } finally {
      await offline.close();
    }
  }

  /** Everything as it was, whatever the damage and its repair have changed. */
  async function restore(): Promise<void> {
    const before = stores.pairs;
    await stores.load();
    const changed = stores.differences(before);
    stores.pairs = before;
    await stores.change(stores.undo(changed));
  }

  /** Returns whether everything is as it was before. */
  async function checkDamage(damage: Damage): Promise<boolean> {
    await stores.change(damage.make(stores));
    const { found, remaining } = await repair();
    const lines = linesOf(found).join('\n');
    assert.deepEqual(kindsOf(found), [...damage.finds].sort(), lines);
    const again = await checkStopped(metaDirs);
    assert.deepEqual(linesOf(again.findings), linesOf(remaining), 'the second run');
    const isNamed = found.some((finding) => finding.repair === '');
    assert.equal(
      remaining.length > 0 && isNamed,
      damage.repair === 'no',
      linesOf(remaining).join(),
    );
    if (damage.repair !== 'back') return false;
    const before = stores.pairs;
    await stores.load();
    const now = stores.text();
    stores.pairs = before;
    assert.deepEqual(now, healthy);
    return true;
  }

  for (const damage of damages) {
    it(`names ${damage.name}; repaired: ${damage.repair}`, async () => {
      let isBack = false;
      try {
        isBack = await checkDamage(damage);
      } finally {
        if (!isBack) await restore();
      }
    });
  }

  it('names a block that does not match its checksum', async () => {
    const chunk = stores.chunk('medium');
    const block = chunk.value.readUInt32LE(ChunkHeader.SIZE + ChunkExtent.block);
    const devices = JSON.parse(stores.property('devices', chunk.target).value.toString()) as {
      path: string;
    }[];
    const { path } = devices[0]!;
    const at = block * blockBytes + 100;
    const flip = (): void => {
      const fd = openSync(path, 'r+');
      const byte = Buffer.alloc(1);
      readSync(fd, byte, 0, 1, at);
      byte[0]! ^= 1;
      writeSync(fd, byte, 0, 1, at);
      closeSync(fd);
    };
    flip();
    const { findings } = await checkStopped(metaDirs);
    flip();
    assert.deepEqual(kindsOf(findings), ['checksum']);
    assert.equal(findings[0]!.path, '/a/medium');
    await assertClean(metaDirs);
  });

  it('has a damage of each kind', () => {
    const covered = new Set<string>([...damages.flatMap(({ finds }) => finds), 'checksum']);
    assert.deepEqual(
      findingKinds.filter((kind) => !covered.has(kind)),
      [],
    );
  });

  it('prints findings, repairs them, and then says that all is clean', async () => {
    const damage = damages.find(({ finds }) => finds[0] === 'link-count')!;
    await stores.change(damage.make(stores));
    const dirs = metaDirs.flatMap((dir) => ['--meta-dir', dir]);
    const found = sealfs('fsck', ...dirs);
    assert.equal(found.status, 1, found.stderr);
    assert.match(
      found.stdout,
      /^link-count: \/a\/\S+: link count 5 instead of 2 .*--repair: set it to 2/,
    );
    const json = JSON.parse(sealfs('fsck', ...dirs, '--json').stdout) as { clean: boolean };
    assert.equal(json.clean, false);
    const repaired = sealfs('fsck', ...dirs, '--repair');
    assert.equal(repaired.status, 0, repaired.stderr);
    assert.match(repaired.stdout, /1 findings, 0 left/);
    assert.equal(sealfs('fsck', ...dirs, '--data').status, 0);
  });

  it('finds damage in a cluster that runs, and nothing that is only being changed', async () => {
    const damage = damages.find(({ finds }) => finds[0] === 'dangling-entry')!;
    const changes = damage.make(stores);
    await stores.change(changes);
    for (const index of [0, 1]) cluster.startServer(index);
    await until('the targets to be up', () => cluster.targetsUp() === SERVERS * TARGETS);
    const found = sealfs('fsck', '--manager', cluster.url, '--json');
    assert.equal(found.status, 1, found.stderr);
    const { findings } = JSON.parse(found.stdout) as { findings: { kind: string; path: string }[] };
    assert.deepEqual(
      findings.map(({ kind, path }) => `${kind} ${path}`),
      ['dangling-entry default:/many/ghost'],
    );
  });
});
