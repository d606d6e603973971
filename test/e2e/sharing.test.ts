/**
 * Two mounts of one volume, under leases: what one of them changes the other sees at once, though both
 * kernels remember names, absent names and attributes. And who is stopped does not hold up the others
 * for longer than docs/leases.md says, nor shows what is old when it goes on.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { TestCluster, sleep, until } from '../support/cluster.js';

/** SEALFS_SHARING_ROUNDS: of each loop; from LONG_ROUNDS on with what takes long. */
const ROUNDS = Number(process.env['SEALFS_SHARING_ROUNDS'] ?? '100');
const LONG_ROUNDS = 1000;

describe('two mounts under leases', () => {
  let cluster: TestCluster;
  let one: string;
  let other: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 2, targets: 1 });
    one = cluster.mount('one');
    other = cluster.mount('other');
    fs.mkdirSync(join(one, 'd'));
  });

  after(async () => {
    await cluster?.stop();
  });

  /** The two by turns: who changes, who looks. */
  function turns(i: number): [string, string] {
    return i % 2 === 0 ? [one, other] : [other, one];
  }

  it('see names come and go at once, absent ones too', () => {
    for (let i = 0; i < ROUNDS; i++) {
      const [writer, reader] = turns(i);
      const name = `d/f${i % 7}`;
      assert.equal(fs.existsSync(join(reader, name)), false, `${i}: before`);
      fs.writeFileSync(join(writer, name), `${i}`);
      assert.equal(fs.readFileSync(join(reader, name), 'utf8'), `${i}`);
      assert.ok(fs.readdirSync(join(reader, 'd')).includes(`f${i % 7}`));
      fs.unlinkSync(join(writer, name));
      assert.equal(fs.existsSync(join(reader, name)), false, `${i}: after`);
    }
  });

  it('see sizes, modes and times at once', () => {
    const name = 'd/attributes';
    fs.writeFileSync(join(one, name), '');
    for (let i = 1; i <= ROUNDS; i++) {
      const [writer, reader] = turns(i);
      fs.statSync(join(reader, name));
      fs.appendFileSync(join(writer, name), 'x');
      assert.equal(fs.statSync(join(reader, name)).size, i);
      fs.chmodSync(join(writer, name), 0o600 + (i & 0o77));
      assert.equal(fs.statSync(join(reader, name)).mode & 0o777, 0o600 + (i & 0o77));
      fs.utimesSync(join(writer, name), i, i);
      assert.equal(fs.statSync(join(reader, name)).mtimeMs, i * 1000);
    }
    fs.unlinkSync(join(one, name));
  });

  it('see a name change hands at once: rename over, links, directories', () => {
    for (let i = 0; i < ROUNDS; i++) {
      const [writer, reader] = turns(i);
      const [a, b] = ['d/new', 'd/current'];
      fs.writeFileSync(join(writer, a), `version ${i}`);
      fs.renameSync(join(writer, a), join(writer, b));
      assert.equal(fs.readFileSync(join(reader, b), 'utf8'), `version ${i}`);
      assert.equal(fs.existsSync(join(reader, a)), false);
      fs.mkdirSync(join(writer, 'd/sub'));
      const links = fs.statSync(join(reader, 'd')).nlink;
      assert.ok(fs.statSync(join(reader, 'd/sub')).isDirectory());
      fs.rmdirSync(join(reader, 'd/sub'));
      assert.equal(fs.existsSync(join(writer, 'd/sub')), false);
      assert.equal(fs.statSync(join(writer, 'd')).nlink, links - 1);
    }
    fs.unlinkSync(join(one, 'd/current'));
  });

  it('see what has become of a name that was moved where they both work', () => {
    for (const mount of [one, other]) fs.mkdirSync(join(mount, `only-${mount === one}`));
    for (let i = 0; i < ROUNDS; i++) {
      const [mover, changer] = turns(i);
      const from = join(mover, `only-${mover === one}`, 'f');
      const to = 'd/moved';
      fs.writeFileSync(join(changer, to), '');
      fs.writeFileSync(from, '');
      const { ino } = fs.statSync(from);
      // The kernel of who moves it takes along what it believes of the name.
      fs.renameSync(from, join(mover, to));
      assert.equal(fs.statSync(join(mover, to)).ino, ino);
      fs.renameSync(join(changer, to), join(changer, 'd/away'));
      assert.equal(fs.existsSync(join(mover, to)), false, `${i}: moved on`);
      fs.unlinkSync(join(changer, 'd/away'));
    }
    for (const mount of [one, other]) fs.rmdirSync(join(mount, `only-${mount === one}`));
  });

  it('see what changes in a directory that one of them had for itself', async () => {
    const dir = join(one, 'own');
    fs.mkdirSync(dir);
    for (let i = 0; i < 50; i++) fs.writeFileSync(join(dir, `f${i}`), '');
    // Nothing was contended for a second: it is held as a whole again.
    await sleep(1500);
    assert.equal(fs.readdirSync(dir).length, 50);
    for (let i = 0; i < 20; i++) {
      assert.equal(fs.existsSync(join(dir, `new${i}`)), false);
      fs.writeFileSync(join(other, 'own', `new${i}`), '');
      assert.equal(fs.existsSync(join(dir, `new${i}`)), true);
    }
    fs.rmSync(dir, { recursive: true });
    assert.equal(fs.existsSync(join(other, 'own')), false);
  });

  it('go by the owner that an inode has now', async function () {
    if (process.getuid?.() !== 0) this.skip();
    const sticky = join(one, 'sticky');
    fs.mkdirSync(sticky);
    fs.chmodSync(sticky, 0o1777);
    const names = ['removed', 'moved', 'replaced', 'changed'];
    for (const name of [...names, 'mine']) {
      fs.writeFileSync(join(sticky, name), '');
      fs.chownSync(join(sticky, name), 1000, 1000);
    }
    await sleep(1500);
    // This kernel has heard of the owner, and believes the names.
    for (const name of names) fs.statSync(join(sticky, name));
    for (const name of names) fs.chownSync(join(other, 'sticky', name), 1001, 1001);
    const script = `import os, sys
for call in [lambda: os.unlink('removed'), lambda: os.rename('moved', 'elsewhere'),
             lambda: os.rename('mine', 'replaced'), lambda: os.chmod('changed', 0o600),
             lambda: os.utime('changed', (1, 1))]:
    try: call(); print('done')
    except OSError as error: print(error.strerror)
os.chmod('mine', 0o600); os.utime('mine', (1, 1)); os.rename('mine', 'still mine'); os.unlink('still mine')`;
    const as = ['--reuid=1000', '--regid=1000', '--clear-groups', 'python3', '-c', script];
    const said = execFileSync('setpriv', as, {
      cwd: sticky,
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin' },
    });
    assert.equal(said, 'Operation not permitted\n'.repeat(5));
    for (const name of names) assert.equal(fs.statSync(join(sticky, name)).uid, 1001, name);
    assert.deepEqual(fs.readdirSync(sticky).sort(), [...names].sort());
    fs.rmSync(sticky, { recursive: true });
  });

  it('go on without one that is stopped, which then shows what is true, and without one killed', async function () {
    this.timeout(90_000);
    // It takes as long as a recall may wait.
    if (ROUNDS < LONG_ROUNDS) this.skip();
    const name = 'd/while-stopped';
    fs.writeFileSync(join(one, name), 'old');
    await sleep(1500);
    assert.equal(fs.statSync(join(other, name)).size, 3);
    assert.equal(fs.existsSync(join(other, 'd/absent')), false);
    const third = cluster.mount('third');
    fs.mkdirSync(join(third, 't'));
    assert.deepEqual(fs.readdirSync(join(third, 't')), []);
    assert.equal(fs.existsSync(join(third, 't/absent')), false);
    const pid = cluster.mountPid(other);
    process.kill(pid, 'SIGSTOP');
    process.kill(cluster.mountPid(third), 'SIGKILL');
    cluster.abandonMount(third);
    try {
      const began = Date.now();
      // All at once: each of the dead is waited for once.
      const inThird = fs.promises.writeFile(join(one, 't/absent'), 'made');
      await fs.promises.writeFile(join(one, name), 'new and longer');
      await fs.promises.writeFile(join(one, 'd/absent'), '');
      await inThird;
      const tookMs = Date.now() - began;
      assert.ok(tookMs < 20_000, `${tookMs} ms`);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    const stats = await fs.promises.stat(join(other, name));
    assert.equal(stats.size, 14);
    await fs.promises.access(join(other, 'd/absent'));
    await until('both to work on', () => fs.readFileSync(join(other, name), 'utf8').length === 14);
  });
});
