/**
 * Programs with the preload library on a real mount: what they read and write through shared memory and through the
 * kernel is one file with one offset, whatever they do with their descriptors, and nothing of them is left when
 * they are killed. A failure of the random part prints its seed; SEALFS_INTERCEPT_SEED=n runs just that one.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster, program, sleep, until } from '../support/cluster.js';
import { answeredCalls, preloaded } from '../support/preload.js';

const both = join(packageRoot(), 'test/e2e/intercept-both.py');
/** More than the library keeps paths of (native/intercept/places.cc). */
const MANY_MOUNTS = 70;
/** With 250 there are seeds that leave none of a kind of call to the library. */
const STEPS = '1000';
const seed = process.env['SEALFS_INTERCEPT_SEED'] ?? `${randomInt(1_000_000)}`;

describe('intercepted programs', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let mount: string;
  let reports: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    mount = cluster.mount();
    reports = join(cluster.dir, 'report');
  });

  after(async () => {
    await cluster?.stop();
  });

  function environment(): NodeJS.ProcessEnv {
    return { ...process.env, ...preloaded(reports) };
  }

  /** To its end, without an error; returns what it printed. */
  function run(command: string, ...args: string[]): string {
    rmSync(reports, { force: true });
    const ended = spawnSync(command, args, {
      cwd: mount,
      env: environment(),
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(ended.status, 0, `${command} ${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
    return ended.stdout;
  }

  function python(text: string): string {
    return run('python3', '-c', text);
  }

  /** Calls of this kind in the last `run` that were answered through shared memory. */
  function answered(call: string): number {
    return answeredCalls(reports, call);
  }

  it('copy and compare with coreutils', () => {
    const content = Buffer.alloc(3_000_001, 'sealfs intercepts ');
    writeFileSync(join(cluster.dir, 'source'), content);
    run('cp', join(cluster.dir, 'source'), 'copy');
    assert.ok(answered('write') > 0);
    assert.ok(readFileSync(join(mount, 'copy')).equals(content));
    run('cmp', join(cluster.dir, 'source'), 'copy');
    run('bash', '-c', 'cat copy > other');
    assert.ok(readFileSync(join(mount, 'other')).equals(content));
  });

  it('redirect, append and share offsets in a shell', () => {
    const script = `
      set -e
      echo one > out; echo two >> out
      (echo three; echo four) >> out
      exec 7> shared; echo a >&7; (echo b >&7); sh -c 'echo c >&7'; echo d >&7; exec 7>&-
      while read -r line; do echo "<$line>"; done < out
      cat shared | tr '\\n' ' '
      { read -r first; read -r second; cat; } < out | wc -l
      sort -o out out; cat out`;
    const expected = '<one>\n<two>\n<three>\n<four>\na b c d 2\nfour\none\nthree\ntwo\n';
    assert.equal(run('bash', '-c', script), expected);
  });

  for (const kinds of [
    [],
    ['pread', 'pwrite', 'read', 'write', 'seek', 'stat', 'truncate', 'sync', 'reopen', 'anew'],
  ]) {
    it(`agree with a model, by libc and by raw system calls${kinds.length > 0 ? ', plain' : ''}`, () => {
      mkdirSync(join(mount, `both-${kinds.length}`));
      run('python3', both, `both-${kinds.length}`, seed, STEPS, ...kinds);
      for (const call of ['read', 'write', 'ftruncate', 'fsync']) {
        assert.ok(answered(call) > 0, `${call}, seed ${seed}`);
      }
    });
  }

  it('see the same attributes by path as the kernel shows', () => {
    run(
      'bash',
      '-c',
      'mkdir -p a/b; echo hi > a/b/f; ln -s a l; ln -s a/b/f lf; mkfifo a/p; mkdir -m 0 no',
    );
    const text = `
import os
for path in ["a", "a/b/f", "./a//b/./f", "a/b/none", "l/b/f", "lf", "l", "a/b/f/x", "a/../a/b/f", "a/b/", "a/p",
             "a/.", os.getcwd() + "/a/b/f", os.getcwd(), "/etc/passwd", "x" * 256, "", "no/f", "none/f"]:
    for call in (os.stat, os.lstat):
        try:
            found = call(path)
            print(path, tuple(found), found.st_blocks, found.st_blksize, found.st_mtime_ns, found.st_rdev)
        except OSError as error:
            print(path, error.errno)
os.chdir("a/b"); print(os.stat("f").st_size, os.stat("../b/f").st_size)`;
    const plain = spawnSync('python3', ['-c', text], { cwd: mount, encoding: 'utf8' });
    assert.equal(python(text), plain.stdout);
    assert.ok(answered('stat') > 10);
  });

  it('answer for nothing but the mount, also before they have begun', () => {
    // Constructors of libraries run before the preload library's own.
    const early = `
#include <sys/stat.h>
#include <stdio.h>
struct stat seen;
static int look(void) { return stat("/etc/passwd", &seen) | stat("${mount}/copy", &seen); }
int first = -1;
__attribute__((constructor)) static void begin(void) { first = look(); }
int again(void) { return look(); }`;
    const main = `
#include <stdio.h>
extern int first; int again(void);
int main(void) { printf("%d %d\\n", first, again()); }`;
    const at = join(cluster.dir, 'early');
    writeFileSync(`${at}.c`, early);
    writeFileSync(`${at}-main.c`, main);
    const library = ['-shared', '-fPIC', '-o', `${at}.so`, `${at}.c`];
    assert.equal(spawnSync('gcc', library).status, 0);
    assert.equal(spawnSync('gcc', ['-o', at, `${at}-main.c`, `${at}.so`]).status, 0);
    run('bash', '-c', 'echo hi > copy');
    assert.equal(run(at), '0 0\n');
    assert.ok(answered('stat') > 0);
  });

  it('find their mount on a machine that has many', function () {
    if (process.getuid?.() !== 0) this.skip();
    run('bash', '-c', 'echo hi > among-many');
    const places = Array.from({ length: MANY_MOUNTS }, (_, i) => join(cluster.dir, `bound-${i}`));
    for (const place of places) mkdirSync(place);
    try {
      for (const place of places) {
        assert.equal(spawnSync('mount', ['--bind', mount, place]).status, 0, place);
      }
      assert.equal(run('stat', '-c', '%s', join(places.at(-1)!, 'among-many')), '3\n');
      assert.ok(answered('stat') > 0);
    } finally {
      spawnSync('umount', places);
    }
  });

  it('see what is mounted below', function () {
    if (process.getuid?.() !== 0) this.skip();
    run('bash', '-c', 'mkdir -p covered; echo hi > covered/f');
    const below = join(mount, 'covered');
    for (let round = 0; round < 3; round++) {
      assert.equal(run('stat', '-c', '%s', 'covered/f'), '3\n');
      assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'none', below]).status, 0);
      try {
        assert.equal(run('bash', '-c', 'stat covered/f >&/dev/null || echo covered'), 'covered\n');
      } finally {
        spawnSync('umount', [below]);
      }
    }
  });

  it('find out at once what others do to names and attributes', () => {
    const text = `
import os, subprocess
def other(command): subprocess.run(command, shell=True, check=True, env={"PATH": os.environ["PATH"]})
for i in range(8):
    other("echo %s > changing" % ("x" * i)); assert os.stat("changing").st_size == i + 1
    other("chmod 6%d0 changing" % i); assert os.stat("changing").st_mode & 0o777 == 0o600 + 8 * i
    other("mv changing moved"); assert not os.path.exists("changing"); os.stat("moved")
    other("rm moved"); assert not os.path.exists("moved")`;
    python(text);
    assert.ok(answered('stat') > 10);
  });

  it('never write to another file than their own, whatever threads close', () => {
    const text = `
import os, threading
def work(number):
    for i in range(60):
        fd = os.open("thread-%d-%d" % (number, i % 4), os.O_RDWR | os.O_CREAT)
        mine = bytes([65 + number]) * 5000
        os.pwrite(fd, mine, 0)
        os.write(fd, mine)
        assert os.pread(fd, 5000, 0) == mine
        os.close(fd)
threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
[t.start() for t in threads]; [t.join() for t in threads]
for n in range(6):
    for i in range(4):
        assert open("thread-%d-%d" % (n, i), "rb").read() == bytes([65 + n]) * 5000
print("done")`;
    assert.equal(python(text), 'done\n');
    assert.ok(answered('write') > 0);
  });

  it("read and write whole what becomes the kernel's in the middle", () => {
    const text = `
import fcntl, os, threading
big = os.urandom(24 << 20)
def parts(data): return [data[:5], b"", data[5:9000001], data[9000001:]]
def work(name, call, has_begun):
    done = []
    thread = threading.Thread(target=lambda: done.append(call()))
    thread.start()
    while thread.is_alive() and not has_begun(): pass
    other = os.open(name, os.O_RDWR)
    fcntl.lockf(other, fcntl.LOCK_EX)
    thread.join()
    assert done == [len(big)], (name, done)
    return other
for name in ("pwrite", "write", "pwritev", "writev"):
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    seen = os.open(name, os.O_RDONLY)
    call = {"pwrite": lambda: os.pwrite(fd, big, 0), "write": lambda: os.write(fd, big),
            "pwritev": lambda: os.pwritev(fd, parts(big), 0), "writev": lambda: os.writev(fd, parts(big))}[name]
    other = work(name, call, lambda: os.fstat(seen).st_size > 0)
    assert os.lseek(fd, 0, 1) == (0 if name[0] == "p" else len(big)), name
    assert open(name, "rb").read() == big, name
    [os.close(each) for each in (fd, seen, other)]
    if name != "pwrite": os.unlink(name)
for name in ("preadv", "readv"):
    fd = os.open("pwrite", os.O_RDONLY)
    into = [bytearray(len(part)) for part in parts(big)]
    call = (lambda: os.preadv(fd, into, 0)) if name == "preadv" else (lambda: os.readv(fd, into))
    os.close(work("pwrite", call, lambda: into[0] != bytes(5)))
    assert os.lseek(fd, 0, 1) == (0 if name[0] == "p" else len(big)), name
    assert b"".join(into) == big, name
    os.close(fd)
os.unlink("pwrite")
print("done")`;
    assert.equal(python(text), 'done\n');
    assert.ok(answered('read') > 0 && answered('write') > 0);
  });

  it('fork and execute in a storm, each with files of its own', () => {
    const script = `
      mkdir -p storm; cd storm
      for i in $(seq 40); do (printf %s $i > f$i; cat f$i > g$i; cat g$i > /dev/null) & done
      wait
      for i in $(seq 40); do [ "$(cat g$i)" = $i ] || echo "g$i is wrong"; done
      echo done`;
    assert.equal(run('bash', '-c', script), 'done\n');
    const text = `
import os, multiprocessing
def child(n):
    fd = os.open("child-%d" % n, os.O_RDWR | os.O_CREAT)
    for i in range(30): os.write(fd, bytes([65 + n]) * 1000)
    os.lseek(fd, 0, 0)
    assert os.read(fd, 100000) == bytes([65 + n]) * 30000
with multiprocessing.get_context("fork").Pool(4) as pool: pool.map(child, range(12))
print("done")`;
    assert.equal(python(text), 'done\n');
  });

  it('show others what they have written at once', () => {
    const text = `
import os, sys
fd = os.open("seen", os.O_RDWR | os.O_CREAT)
for i in range(50):
    os.pwrite(fd, b"x" * 100, i * 100)
    print(i, flush=True); sys.stdin.readline()`;
    const path = join(mount, 'seen');
    const child = spawn('python3', ['-c', text], {
      cwd: mount,
      env: environment(),
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let expected = 0;
    return new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.stdout.on('data', (printed: Buffer) => {
        // A line may come in two pieces.
        if (!printed.includes('\n')) return;
        expected += 100;
        try {
          assert.equal(statSync(path).size, expected);
          assert.equal(readFileSync(path, 'latin1').length, expected);
          child.stdin.write('\n');
        } catch (error) {
          child.kill('SIGKILL');
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
      child.once('exit', (code) => {
        if (code === 0) resolve();
        else reject(new Error(`the program ended with ${code}`));
      });
    });
  });

  it('leave nothing behind when they are killed', async () => {
    const text = `
import os, threading
def work(number):
    fd = os.open("killed-%d" % number, os.O_RDWR | os.O_CREAT)
    i = 0
    while True:
        os.pwrite(fd, b"k" * 20000, (i % 50) * 20000); i += 1
        os.pread(fd, 1000, 0)
[threading.Thread(target=work, args=(n,)).start() for n in range(4)]`;
    for (let round = 0; round < 3; round++) {
      const child = spawn('python3', ['-c', text], { cwd: mount, env: environment() });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await until('all threads to write', () => existsSync(join(mount, 'killed-3')));
      await sleep(200 + 100 * round);
      child.kill('SIGKILL');
      await ended;
    }
    for (let n = 0; n < 4; n++) rmSync(join(mount, `killed-${n}`));
    python('open("after", "wb", 0).write(b"x" * 100000)');
    assert.ok(answered('write') > 0);
  });

  it('are run, and reported on, by the command line', () => {
    const ended = spawnSync(
      process.execPath,
      [
        program,
        'intercept',
        '--report',
        '--json',
        '--',
        'sh',
        '-c',
        'dd if=copy of=copied bs=64k status=none; exit 3',
      ],
      { cwd: mount, encoding: 'utf8', timeout: 30_000 },
    );
    assert.equal(ended.status, 3, ended.stderr);
    const { programs } = JSON.parse(ended.stdout) as { programs: unknown[] };
    assert.ok(programs.length > 0);
  });

  it('get errors, not silence, when the mount process dies', async () => {
    const second = cluster.mount('second');
    const text = `
import os
fd = os.open("dying", os.O_RDWR | os.O_CREAT)
print("ready", flush=True)
try:
    while True: os.pwrite(fd, b"d" * 4096, 0)
except OSError as error:
    print(error.errno, flush=True); os._exit(0)`;
    const child = spawn('python3', ['-c', text], {
      cwd: second,
      env: environment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    while (!printed.includes('ready')) await sleep(20);
    await sleep(200);
    process.kill(cluster.mountPid(second), 'SIGKILL');
    const late = sleep(10_000).then(() => 'late');
    assert.notEqual(await Promise.race([ended, late]), 'late');
    cluster.abandonMount(second);
    // ENOTCONN, as the kernel has it; or EIO of a request that was under way there.
    assert.match(printed, /^ready\n(107|103|5)\n$/);
  });
});
