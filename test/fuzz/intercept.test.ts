/**
 * A mount process whose programs write garbage to the memory that they share with it: it goes on, serves others
 * meanwhile, changes no file of theirs, and takes back what the dead had. Time and seeds: test/support/fuzz-seeds.ts.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster, until } from '../support/cluster.js';
import { firstFuzzSeed as seed, fuzzSeconds as seconds } from '../support/fuzz-seeds.js';
import { answeredCalls, preloaded } from '../support/preload.js';

/**
 * Writes and reads files of its own through shared memory, and by path, until it is told to end. The others may fill
 * the volume, as anybody may; what they had of it comes back.
 */
const victim = `
import errno, os, sys, select, time
def write(fd, data, at):
    until = time.monotonic() + 30
    while True:
        began = time.monotonic()
        try:
            assert os.pwrite(fd, data, at) == len(data)
            return began
        except OSError as error:
            if error.errno != errno.ENOSPC or time.monotonic() > until: raise
        time.sleep(0.02)
slowest, rounds = 0, 0
fds = [os.open("victim-%d" % i, os.O_RDWR | os.O_CREAT) for i in range(4)]
while not select.select([sys.stdin], [], [], 0)[0]:
    for i, fd in enumerate(fds):
        data = bytes([65 + (rounds + i) % 26]) * (1 + 7919 * rounds % 40000)
        at = 1000 * (rounds % 50)
        began = write(fd, data, at)
        assert os.pread(fd, len(data), at) == data, "victim-%d is not what was written" % i
        assert os.stat("victim-%d" % i).st_size >= at + len(data)
        slowest = max(slowest, time.monotonic() - began)
    rounds += 1
print(rounds, slowest)`;

describe('fuzzing the memory that programs share with a mount process', function () {
  this.timeout(60_000 + seconds * 2000);
  let cluster: TestCluster;
  let mount: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 1 });
    mount = cluster.mount();
    mkdirSync(join(mount, 'hostile'));
  });

  after(async () => {
    await cluster?.stop();
  });

  interface Program {
    ended: Promise<{ status: number | null; said: string }>;
    tell(text: string): void;
  }

  function python(args: string[], environment: NodeJS.ProcessEnv): Program {
    const child = spawn('python3', args, {
      cwd: mount,
      env: { ...process.env, ...environment },
      timeout: 30_000 + seconds * 2000,
      killSignal: 'SIGKILL',
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => (said += data.toString()));
    }
    // It may have failed before it is told to end.
    child.stdin.on('error', (error) => (said += `stdin: ${error.message}\n`));
    const ended = new Promise<{ status: number | null; said: string }>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status) => resolve({ status, said }));
    });
    return { ended, tell: (text) => child.stdin.write(text) };
  }

  it(`harms nobody else (SEALFS_FUZZ_SEED=${seed})`, async () => {
    const report = join(cluster.dir, 'report');
    const pid = cluster.mountPid(mount);
    const other = python(['-c', victim], preloaded(report));
    const script = join(packageRoot(), 'test/fuzz/intercept-hostile.py');
    const hostile = await python([script, join(mount, 'hostile'), `${seed}`, `${seconds}`], {})
      .ended;
    other.tell('end\n');
    const { status, said } = await other.ended;
    assert.equal(hostile.status, 0, hostile.said);
    assert.equal(cluster.mountPid(mount), pid);
    assert.equal(status, 0, said);
    const [rounds, slowest] = said.trim().split(' ').map(Number);
    assert.ok(rounds! > 2 && slowest! < 10, `${rounds} rounds, the slowest took ${slowest} s`);
    assert.ok(answeredCalls(report, 'write') >= rounds! && answeredCalls(report, 'stat') > 0);
    await until('the space that the dead had', () => {
      const { bavail, blocks } = statfsSync(mount);
      return bavail > blocks / 2;
    });
  });

  it('neither stores nor hands on data that changes under way, and harms nobody else', async () => {
    const report = join(cluster.dir, 'report-data');
    const other = python(['-c', victim], preloaded(report));
    const script = join(packageRoot(), 'test/fuzz/intercept-hostile.py');
    const words = [script, join(mount, 'hostile'), `${seed}`, '2', 'data'];
    const hostile = await python(words, {}).ended;
    other.tell('end\n');
    const { status, said } = await other.ended;
    assert.equal(status, 0, said);
    assert.equal(hostile.status, 0, hostile.said);
    const [, refused] = hostile.said.trim().split(' ').map(Number);
    assert.ok(refused! > 0, hostile.said);
    // What was stored is what its checksums say.
    readFileSync(join(mount, 'hostile/changing'));
    const lines = cluster
      .serverLog(0)
      .split('\n')
      .filter((line) => line.includes('checksums'));
    assert.ok(lines.length > 0 && lines.length <= 30, `${lines.length} lines`);
  });

  it('leaves room for as many calls as before', async () => {
    const report = join(cluster.dir, 'report-after');
    const text = `
import os, threading
def work(n):
    fd = os.open("after-%d" % n, os.O_RDWR | os.O_CREAT)
    for i in range(40): assert os.pwrite(fd, b"a" * 500000, 0) == 500000
    assert os.pread(fd, 500000, 0) == b"a" * 500000
threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
[t.start() for t in threads]; [t.join() for t in threads]`;
    const { status, said } = await python(['-c', text], preloaded(report)).ended;
    assert.equal(status, 0, said);
    // While one thread attaches, the others ask the kernel.
    assert.ok(answeredCalls(report, 'write') > 16 * 30, readFileSync(report, 'utf8'));
  });
});
