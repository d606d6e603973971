/**
 * Random I/O (native/posix/fsx.h) on the mount: reads, writes, mappings, truncations, fallocate, copies,
 * O_DIRECT, in random order against a model. A failure prints its seed; SEALFS_FSX_SEED=n runs just
 * that one.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { sleep, until } from '../support/cluster.js';
import { ground, rounds, startProgram } from './programs-ground.js';
import type { Ended, Ground, Running } from './programs-ground.js';

const fixedSeed = process.env['SEALFS_FSX_SEED'];
const seconds = 2 * rounds;

describe('random I/O on a mount', function () {
  this.timeout(60_000 + 8 * seconds * 1000);
  let place: Ground;

  before(async () => {
    place = await ground();
    mkdirSync(join(place.mount, 'fsx'));
  });

  /** Runs it in a directory that it makes. */
  function startFsx(directory: string, ...args: string[]): Running {
    mkdirSync(directory);
    const seed = fixedSeed ?? `${randomInt(2 ** 32)}`;
    const options = ['--seed', seed, '--operations', '1e9', '--seconds', `${seconds}`, ...args];
    const program = join(packageRoot(), 'build/Release/sealfs_fsx');
    return startProgram(program, [directory, ...options], { timeoutMs: 60_000 + seconds * 2000 });
  }

  function fsx(name: string, ...args: string[]): Running {
    return startFsx(join(place.mount, 'fsx', name), ...args);
  }

  function assertPassed({ status, out, err }: Ended): void {
    assert.equal(status, 0, `${out}${err}`);
    const counted = /seed \d+: (\d+) operations/.exec(out);
    assert.ok(Number(counted?.[1]) > 20, out);
  }

  it('gives back what was written last', async () => {
    const runs = [fsx('large'), fsx('small', '--largest', '70000')];
    for (const run of runs) assertPassed(await run.ended);
  });

  it('gives another client the same', async () => {
    const other = join(place.other, 'fsx/two');
    assertPassed(await fsx('two', '--other', other, '--largest', '3000000').ended);
  });

  it('gives back the same when two clients take turns', async () => {
    const third = place.cluster.mount('third', 'attr=0,entry=0');
    const shared = ['--shared', join(third, 'fsx/turns')];
    assertPassed(await startFsx(join(place.other, 'fsx/turns'), ...shared).ended);
    place.cluster.unmount(third);
  });

  it('gives back the same when servers are killed under it', async () => {
    const running = fsx('killed');
    for (let round = 0; round < 1 + rounds; round++) {
      await sleep(500);
      await place.cluster.killServer(round % 2);
      await sleep(100);
      place.cluster.startServer(round % 2);
      await sleep(600);
    }
    assertPassed(await running.ended);
  });

  it('notices a byte that somebody else has changed', async () => {
    const running = fsx('changed', '--largest', '5000');
    const path = join(place.mount, 'fsx/changed/a');
    let failed: Ended | undefined;
    void running.ended.then((ended) => (failed = ended));
    await until('its file', () => existsSync(path));
    await until('it to notice', async () => {
      writeFileSync(path, 'x', { flag: 'r+' });
      return failed !== undefined;
    });
    assert.equal(failed?.status, 1);
    assert.match(failed?.err ?? '', /seed \d+, operation \d+/);
  });
});
