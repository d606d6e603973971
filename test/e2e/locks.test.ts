/**
 * Locks of files between processes of three mounts of one cluster: fcntl(2), open file descriptions,
 * flock(2). The calls are made by native/posix, one script line after another, and by flock(1).
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { nativeFolder } from '../../src/native/load.js';
import { TestCluster, sleep } from '../support/cluster.js';

const posix = join(nativeFolder(), 'sealfs_posix');

/** A process in a mount, with descriptors $f of `f` and $g of `g`. */
class Caller {
  readonly #child;
  readonly #lines: AsyncIterator<string>;
  readonly ended: Promise<unknown>;

  constructor(mount: string) {
    this.#child = spawn(posix, { cwd: mount, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.ended = new Promise((resolve) => this.#child.once('exit', resolve));
  }

  static async open(mount: string): Promise<Caller> {
    const caller = new Caller(mount);
    for (const name of ['f', 'g']) await caller.call(`${name}= open ${name} O_RDWR`);
    return caller;
  }

  /** The answer to one line; 'gone': the process has ended. */
  async call(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    const answer = await this.#lines.next();
    if (answer.done === true) return 'gone';
    return answer.value === '0' ? 'ok' : answer.value;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(signal);
    await this.ended;
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.ended;
  }
}

/** Still unanswered after a moment. */
async function waits(answer: Promise<string>): Promise<void> {
  const first = await Promise.race([answer, sleep(300).then(() => 'waiting')]);
  assert.equal(first, 'waiting');
}

/** Both lock byte `at` of one file, and want that of the other's. */
async function refusesOne(first: Caller, second: Caller, at: number): Promise<void> {
  assert.equal(await first.call(`lock $f write ${at} 1`), 'ok');
  assert.equal(await second.call(`lock $g write ${at} 1`), 'ok');
  const answers = [first.call(`lockwait $g write ${at} 1`)];
  await sleep(100);
  answers.push(second.call(`lockwait $f write ${at} 1`));
  const early = await Promise.race(answers.map(async (answer, i) => ({ i, told: await answer })));
  assert.equal(early.told, 'EDEADLK');
  const refused = early.i === 0 ? first : second;
  await refused.call('lock $f none 0 0');
  await refused.call('lock $g none 0 0');
  assert.equal(await answers[1 - early.i]!, 'ok');
}

describe('locks between mounts', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let mounts: string[];
  let inFirst: Caller;
  let inSecond: Caller;

  before(async () => {
    cluster = await TestCluster.start({ servers: 2, targets: 2 });
    mounts = ['mnt', 'second'].map((name) => cluster.mount(name));
    for (const name of ['f', 'g']) writeFileSync(join(mounts[0]!, name), 'x');
  });

  after(async () => {
    await cluster?.stop();
  });

  beforeEach(async () => {
    inFirst = await Caller.open(mounts[0]!);
    inSecond = await Caller.open(mounts[1]!);
  });

  afterEach(async () => {
    await inFirst.end();
    await inSecond.end();
  });

  it('keep others out, byte by byte', async () => {
    assert.equal(await inFirst.call('lock $f write 10 10'), 'ok');
    assert.equal(await inSecond.call('lock $f read 19 1'), 'EAGAIN');
    assert.equal(await inSecond.call('locked $f write 0 0'), 'write 10 10');
    assert.equal(await inSecond.call('lock $f write 20 10'), 'ok');
    assert.equal(await inFirst.call('locked $f read 15 0'), 'write 20 10');
    assert.equal(await inFirst.call('lock $f none 12 2'), 'ok');
    assert.equal(await inSecond.call('lock $f write 12 2'), 'ok');
    assert.equal(await inSecond.call('lock $f write 11 1'), 'EAGAIN');
  });

  it('are waited for, and go with their process', async () => {
    assert.equal(await inFirst.call('lock $f write 0 0'), 'ok');
    const waiting = inSecond.call('lockwait $f write 5 5');
    await waits(waiting);
    await inFirst.kill();
    assert.equal(await waiting, 'ok');
    inFirst = await Caller.open(mounts[0]!);
    const never = inFirst.call('lockwait $f write 5 5');
    await waits(never);
    await inFirst.kill();
    assert.equal(await never, 'gone');
    assert.equal(await inSecond.call('lock $f none 0 0'), 'ok');
    inFirst = await Caller.open(mounts[0]!);
    assert.equal(await inFirst.call('lock $f write 0 0'), 'ok', 'the dead one waits no more');
  });

  it('of open files and flock(2) end with the last close', async () => {
    assert.equal(await inFirst.call('ofdlock $f write 0 10'), 'ok');
    assert.equal(await inFirst.call('flock $f LOCK_EX|LOCK_NB'), 'ok');
    assert.equal(await inSecond.call('ofdlock $f write 9 1'), 'EAGAIN');
    assert.equal(await inSecond.call('flock $f LOCK_SH|LOCK_NB'), 'EAGAIN');
    assert.equal(await inSecond.call('lock $f write 10 1'), 'ok');
    const waiting = inSecond.call('flock $f LOCK_SH');
    await waits(waiting);
    assert.equal(await inFirst.call('close $f'), 'ok');
    assert.equal(await waiting, 'ok');
    const late = inSecond.call('ofdlockwait $f write 9 1');
    assert.equal(await late, 'ok');
  });

  it('give up for a signal', async () => {
    assert.equal(await inFirst.call('flock $f LOCK_EX'), 'ok');
    const path = join(mounts[1]!, 'f');
    const started = Date.now();
    // flock(1) is let go by its alarm.
    const run = spawnSync('timeout', ['20', 'flock', '-w', '0.5', path, 'true']);
    assert.equal(run.status, 1);
    assert.ok(Date.now() - started < 5000);
    assert.equal(await inFirst.call('flock $f LOCK_UN'), 'ok');
    assert.equal(spawnSync('timeout', ['20', 'flock', '-n', path, 'true']).status, 0);
  });

  it('refuse one of those who wait for each other, whichever targets they wait at', async () => {
    const root = mounts[0]!;
    // Directories, and what is made in them, lie on all targets.
    const names = ['one', 'two', 'three'].map((name) => join(name, 'file'));
    for (const name of names) {
      mkdirSync(join(root, name, '..'));
      writeFileSync(join(root, name), 'x');
    }
    await Promise.all(
      names.map(async (name, i) => {
        const callers = [new Caller(root), new Caller(mounts[1]!)];
        for (const caller of callers) {
          await caller.call('f= open f O_RDWR');
          await caller.call(`g= open ${name} O_RDWR`);
        }
        await refusesOne(callers[0]!, callers[1]!, i);
        for (const caller of callers) await caller.end();
      }),
    );
  });

  it('survive a server that is killed, and nobody gets in between', async () => {
    assert.equal(await inFirst.call('lock $f write 0 10'), 'ok');
    assert.equal(await inFirst.call('lock $g write 0 10'), 'ok');
    const waiting = [inSecond.call('lockwait $f write 0 1')];
    await sleep(100);
    for (const server of [0, 1]) {
      await cluster.killServer(server);
      cluster.startServer(server);
    }
    await waits(waiting[0]!);
    assert.equal(await inFirst.call('lock $f read 20 1'), 'ok');
    assert.equal(await inFirst.call('locked $g write 0 0'), 'free');
    assert.equal(await inFirst.call('lock $g none 0 0'), 'ok');
    await waits(waiting[0]!);
    assert.equal(await inFirst.call('lock $f none 0 0'), 'ok');
    assert.equal(await waiting[0]!, 'ok');
  });

  // It takes the time for which a target waits for a silent client.
  if (process.env['SEALFS_LOCKS_FULL'] !== undefined) {
    it('of mounts that are killed or stopped go after a while', async () => {
      const doomed = ['third', 'fourth'].map((name) => cluster.mount(name));
      const dying = await Promise.all(doomed.map((mount) => Caller.open(mount)));
      assert.equal(await dying[0]!.call('lock $f write 0 10'), 'ok');
      assert.equal(await dying[1]!.call('lock $f write 10 10'), 'ok');
      const pids = doomed.map((mount) => cluster.mountPid(mount));
      process.kill(pids[0]!, 'SIGKILL');
      process.kill(pids[1]!, 'SIGSTOP');
      const startedMs = Date.now();
      assert.equal(await inFirst.call('lockwait $f write 0 0'), 'ok');
      const tookMs = Date.now() - startedMs;
      assert.ok(tookMs > 10_000, `${tookMs} ms: they might have come back`);
      process.kill(pids[1]!, 'SIGCONT');
      // An unlock that is on its way when the client learns it is answered as if nothing had happened.
      await sleep(1500);
      assert.equal(await dying[1]!.call('lock $f none 10 10'), 'EIO', 'it is told');
      assert.equal(await dying[1]!.call('lock $f write 10 1'), 'EAGAIN');
      for (const caller of dying) await caller.kill();
      cluster.abandonMount(doomed[0]!);
    });
  }
});
