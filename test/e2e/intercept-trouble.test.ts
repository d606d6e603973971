/**
 * Programs under the preload library in trouble: threads that fork, execute and close each other's descriptors, death in
 * the middle of anything, and mount processes that stop, die and come back under programs that wait. They get
 * errors or wait, as without the library; they never hang, and never touch what is not theirs.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readlinkSync, rmSync, statSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestCluster, sleep, until } from '../support/cluster.js';
import { answeredCalls, preloaded } from '../support/preload.js';

/** errno(3) of a mount whose process has gone: ENOTCONN, ECONNABORTED; EIO of a request that was under way. */
const deadMount = /^(107|103|5)$/;

/** How many rounds; more in npm run test:full. */
const rounds = Number(process.env['SEALFS_PROGRAM_ROUNDS'] ?? '1');

interface Program {
  lines: string[];
  ended: Promise<number | null>;
  tell(text: string): void;
  kill(): void;
}

describe('intercepted programs in trouble', function () {
  this.timeout(60_000 + rounds * 20_000);
  let cluster: TestCluster;
  let mount: string;
  let report: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    mount = cluster.mount();
    report = join(cluster.dir, 'report');
  });

  after(async () => {
    await cluster?.stop();
  });

  /** Its lines are collected as they come; errors go to this process's own. */
  function start(text: string, ...args: string[]): Program {
    rmSync(report, { force: true });
    const child = spawn('python3', ['-c', text, ...args], {
      cwd: cluster.dir,
      env: { ...process.env, ...preloaded(report) },
      stdio: ['pipe', 'pipe', 'inherit'],
      timeout: 90_000,
      killSignal: 'SIGKILL',
    });
    const lines: string[] = [];
    let rest = '';
    child.stdout.on('data', (data: Buffer) => {
      const parts = (rest + data.toString()).split('\n');
      rest = parts.pop()!;
      lines.push(...parts);
    });
    child.stdin.on('error', () => child.kill('SIGKILL'));
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    return {
      lines,
      ended,
      tell: (said) => child.stdin.write(said),
      kill: () => child.kill('SIGKILL'),
    };
  }

  async function finished(program: Program): Promise<string[]> {
    assert.equal(await program.ended, 0, program.lines.slice(-20).join('\n'));
    return program.lines;
  }

  it('fork and execute from many threads while others write', async () => {
    const text = `
import os, subprocess, sys, threading
os.chdir(sys.argv[1])
busy = True
def write(n):
    fd = os.open("busy-%d" % n, os.O_RDWR | os.O_CREAT)
    i = 0
    while busy:
        data = bytes([65 + i % 26]) * 9000
        os.pwrite(fd, data, i % 10 * 9000); os.write(fd, data)
        assert os.pread(fd, 9000, i % 10 * 9000) == data
        os.lseek(fd, 0, 0); i += 1
def fork(n):
    for i in range(int(sys.argv[2])):
        fd = os.open("forked-%d" % n, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.write(fd, b"parent ")
        pid = os.fork()
        if pid == 0:
            os.write(fd, b"child ")
            mine = os.open("child-%d" % n, os.O_RDWR | os.O_CREAT)
            os.pwrite(mine, b"c" * 5000, 0)
            if os.pread(mine, 5000, 0) != b"c" * 5000: os._exit(1)
            if i % 2: os.dup2(fd, 1); os.execvp("sh", ["sh", "-c", "printf executed"])
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        os.write(fd, b" end")
        wanted = b"parent child " + (b"executed" if i % 2 else b"") + b" end"
        found = os.pread(fd, 100, 0)
        assert found == wanted, (found, wanted)
        assert subprocess.run(["cat", "forked-%d" % n], stdout=subprocess.PIPE).stdout == wanted
        os.close(fd)
failed = []
threading.excepthook = lambda args: failed.append(repr(args.exc_value))
writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
forkers = [threading.Thread(target=fork, args=(n,)) for n in range(4)]
[t.start() for t in writers + forkers]; [t.join() for t in forkers]
busy = False
[t.join() for t in writers]
print(failed)`;
    assert.deepEqual(await finished(start(text, mount, `${8 * rounds}`)), ['[]']);
  });

  it('close, copy and open over each other without harm to what is private', async () => {
    const text = `
import errno, os, random, sys, threading, time
os.chdir(sys.argv[1])
end = time.monotonic() + float(sys.argv[2])
# At numbers that nobody else closes, and no others: one of the slots' would be written to.
for n in range(4):
    fd = os.open("private-%d" % n, os.O_RDWR | os.O_CREAT)
    os.dup2(fd, 100 + n); os.close(fd)
shared = [os.open("slot-%d" % i, os.O_RDWR | os.O_CREAT) for i in range(6)]
calls = 0
def chaos(n):
    global calls
    chance = random.Random(n)
    while time.monotonic() < end:
        fd = chance.choice(shared)
        kind = chance.randrange(7)
        try:
            if kind == 0: os.close(fd)
            elif kind == 1: os.dup2(os.open("slot-%d" % chance.randrange(6), os.O_RDWR), fd)
            elif kind == 2: os.dup2(chance.choice(shared), fd)
            elif kind == 3: os.pwrite(fd, b"p" * 3000, chance.randrange(10000))
            elif kind == 4: os.write(fd, b"w" * 3000)
            elif kind == 5: os.pread(fd, 3000, 0)
            else: os.lseek(fd, 0, 0); os.read(fd, 3000); os.fstat(fd)
            calls += 1
        except OSError as error:
            # EBUSY: dup2 while another thread opens a file at that number.
            if error.errno not in (errno.EBADF, errno.EBUSY): raise
        if chance.random() < 0.01: os.closerange(200, 4096)
def private(n):
    fd = 100 + n
    i = 0
    while time.monotonic() < end:
        data = bytes([48 + (i + n) % 60]) * 7000
        assert os.pwrite(fd, data, 0) == 7000 and os.pread(fd, 8000, 0) == data
        os.lseek(fd, 0, 0); assert os.write(fd, data) == 7000 and os.lseek(fd, 0, 1) == 7000
        assert os.fstat(fd).st_size == 7000
        i += 1
failed = []
threading.excepthook = lambda args: failed.append(repr(args.exc_value))
threads = [threading.Thread(target=t, args=(n,)) for n in range(4) for t in (chaos, private)]
[t.start() for t in threads]; [t.join() for t in threads]
print(failed, calls > 100)
fd = os.open("afterwards", os.O_RDWR | os.O_CREAT); os.write(fd, b"x" * 99); print(os.fstat(fd).st_size)`;
    const lines = await finished(start(text, mount, `${rounds}`));
    assert.deepEqual(lines, ['[] True', '99']);
    assert.ok(answeredCalls(report, 'write') > 0);
  });

  it('leave no file, lock or space behind when they are killed anywhere', async () => {
    const directory = join(mount, 'killed');
    mkdirSync(directory);
    const before = statfsSync(mount).bfree;
    const text = `
import fcntl, os, subprocess, sys, threading
os.chdir(sys.argv[1])
def work(n):
    i = 0
    while True:
        name = "gone-%d-%d" % (os.getpid(), n)
        fd = os.open(name, os.O_RDWR | os.O_CREAT)
        os.unlink(name)
        lock = os.open("lock", os.O_RDWR | os.O_CREAT)
        fcntl.lockf(lock, fcntl.LOCK_EX); os.pwrite(lock, b"l" * 100, 0); os.close(lock)
        for j in range(8): os.pwrite(fd, b"k" * 300000, j * 300000); os.pread(fd, 4096, 0)
        if n == 0: subprocess.run(["cp", "--sparse=never", "/proc/self/fd/%d" % fd, "copy"], pass_fds=[fd])
        os.path.exists("none-%d" % i)
        os.close(fd); i += 1
print("ready", flush=True)
[threading.Thread(target=work, args=(n,)).start() for n in range(3)]`;
    for (let round = 0; round < 2 * rounds; round++) {
      const programs = [start(text, directory), start(text, directory)];
      await until('programs to run', () => programs.every(({ lines }) => lines.length > 0));
      await sleep(100 + ((round * 37) % 90));
      for (const program of programs) program.kill();
      for (const program of programs) await program.ended;
    }
    const lock = `
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX); os.pwrite(fd, b"mine", 0); print("locked")`;
    assert.deepEqual(await finished(start(lock, join(directory, 'lock'))), ['locked']);
    rmSync(directory, { recursive: true });
    await until('all space to be free again', () => statfsSync(mount).bfree >= before - 256);
  });

  it('wait while the mount process is stopped', async () => {
    const text = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
i = 0
while i < 50 or len(sys.stdin.readline()) == 0:
    assert os.pwrite(fd, b"s" * 4096, 0) == 4096; i += 1
    print(i, flush=True)
    if i == 20: assert sys.stdin.readline() == "stopped\\n"`;
    const program = start(text, join(mount, 'stopped'));
    await until('calls', () => program.lines.length === 20);
    const pid = cluster.mountPid(mount);
    process.kill(pid, 'SIGSTOP');
    try {
      program.tell('stopped\n');
      await sleep(500);
      assert.equal(program.lines.length, 20);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await until('more calls', () => program.lines.length === 50);
    program.tell('end\n');
    await finished(program);
  });

  it('know where they are while the name of that directory is looked up again', async () => {
    const text = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.realpath.restype = libc.get_current_dir_name.restype = ctypes.c_char_p
os.chdir(sys.argv[1])
os.environ.pop("PWD", None)
print(os.getpid(), flush=True)
while sys.stdin.readline() == "where\\n":
    try: print(os.getcwd(), flush=True)
    except OSError as error: print(error.errno, flush=True)
    print(libc.get_current_dir_name(), libc.realpath(b"here", None), flush=True)`;
    const directory = join(mount, 'where');
    const file = join(directory, 'removed');
    const here = join(directory, 'here');
    mkdirSync(directory);
    writeFileSync(here, '');
    writeFileSync(file, '');
    const program = start(text, directory);
    await until('it to begin', () => program.lines.length > 0);
    const link = `/proc/${program.lines[0]}/cwd`;
    // The kernel is told to forget all names.
    statSync(file);
    await finished(start('import os, sys; os.unlink(sys.argv[1])', file));
    const pid = cluster.mountPid(mount);
    process.kill(pid, 'SIGSTOP');
    const asking = spawn('stat', [directory], { stdio: 'ignore' });
    try {
      const asked = new Promise((resolve) => asking.once('close', resolve));
      const end = Date.now() + 2000;
      // One that remembers no names (before Linux 6.16) asks for it and believes it all the while.
      const asks = (): boolean => readlinkSync(link).endsWith(' (deleted)') || Date.now() > end;
      await until('the kernel to ask for the name', asks);
      program.tell('where\n');
      await sleep(300);
      process.kill(pid, 'SIGCONT');
      await asked;
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await until('an answer', () => program.lines.length === 3);
    assert.deepEqual(program.lines.slice(1), [directory, `b'${directory}' b'${here}'`]);

    // One that is there again is another.
    rmSync(directory, { recursive: true });
    mkdirSync(directory);
    program.tell('where\n');
    await until('an answer', () => program.lines.length === 5);
    assert.deepEqual(program.lines.slice(3), ['2', 'None None']);
    program.tell('end\n');
    await finished(program);
    rmSync(directory, { recursive: true });
  });

  /** Works in a directory of the mount, which is not there while nothing is mounted. */
  const worker = `
import os, sys, select, time
directory = sys.argv[1] + "/work"
os.makedirs(directory, exist_ok=True)
held = os.open(directory + "/held", os.O_RDWR | os.O_CREAT) if sys.argv[2] == "true" else None
n = 0
while True:
    if select.select([sys.stdin], [], [], 0.002)[0]:
        if sys.stdin.readline() == "end\\n": break
        print("pauses", flush=True); sys.stdin.readline()
    try:
        fd = os.open(directory + "/f%d" % (n % 5), os.O_RDWR | os.O_CREAT)
        try:
            data = b"%d" % n * 1000
            assert os.pwrite(fd, data, 0) == len(data) and os.pread(fd, len(data), 0) == data
        finally: os.close(fd)
        n += 1
        print("works", flush=True)
    except OSError as error:
        print(error.errno, flush=True); time.sleep(0.02)
if held is not None:
    try: os.pwrite(held, b"x", 0); print("alive")
    except OSError as error: print(error.errno)
print(n)`;
  const worked = ({ lines }: Program): number => lines.filter((line) => line === 'works').length;

  it('use the next mount, too, when theirs is unmounted', async () => {
    const path = cluster.mount('again');
    const program = start(worker, path, 'false');
    await until('calls', () => worked(program) > 20);
    program.tell('pause\n');
    await until('a pause', () => program.lines.at(-1) === 'pauses');
    cluster.unmount(path);
    // Its device number may be that of the first.
    cluster.mount('again');
    program.tell('go on\n');
    const before = worked(program);
    await until('calls again', () => worked(program) >= before + 100);
    program.tell('end\n');
    const all = Number((await finished(program)).at(-1));
    assert.ok(answeredCalls(report, 'write') >= all - 30, 'it attached to the next mount');
    cluster.unmount(path);
  });

  it('get an error when the mount process dies under a call that waits for servers', async () => {
    const second = cluster.mount('second');
    const text = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b"w" * 4096, 0)
print("ready", flush=True); sys.stdin.readline()
try:
    while True: os.pwrite(fd, b"w" * 4096, 0)
except OSError as error: print(error.errno)`;
    const program = start(text, join(second, 'waiting'));
    await until('it to begin', () => program.lines.length > 0);
    const mountPid = cluster.mountPid(second);
    const server = cluster.serverPid(0);
    process.kill(server, 'SIGSTOP');
    try {
      program.tell('go\n');
      await sleep(700);
      process.kill(mountPid, 'SIGKILL');
      const lines = await finished(program);
      assert.match(lines.at(-1)!, deadMount);
    } finally {
      process.kill(server, 'SIGCONT');
    }
    cluster.abandonMount(second);
    assert.ok(answeredCalls(report, 'write') > 0);
  });

  // What the dead client had is given to others after half a minute.
  for (const holds of rounds > 1 ? [true, false] : []) {
    it(`go on when a mount comes back that they ${holds ? 'have' : 'had'} files of`, async () => {
      const path = cluster.mount('again');
      const program = start(worker, path, `${holds}`);
      await until('calls', () => worked(program) > 20);
      process.kill(cluster.mountPid(path), 'SIGKILL');
      await until('errors', () => program.lines.some((line) => line !== 'works'));
      const before = worked(program);
      cluster.abandonMount(path);
      cluster.mount('again');
      await until('calls again', () => worked(program) >= before + 60, 45_000);
      program.tell('end\n');
      const lines = await finished(program);
      // The descriptor is of the mount that has gone.
      if (holds) assert.match(lines.at(-2)!, deadMount);
      const all = Number(lines.at(-1));
      assert.ok(answeredCalls(report, 'write') >= all - 30, 'it attached to the next mount');
      cluster.unmount(path);
    });
  }
});
