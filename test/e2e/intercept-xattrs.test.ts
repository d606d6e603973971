/**
 * Extended attributes, space and owners of open files that intercepted programs ask for through shared memory, on a
 * real mount: each call says and does what it says and does through the kernel, to each user, and either way shows at
 * once in the other. A failure prints its seed; SEALFS_INTERCEPT_SEED=n runs just that one.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster } from '../support/cluster.js';
import { InterceptedUsers, USERS } from '../support/intercepted-users.js';

const seed = process.env['SEALFS_INTERCEPT_SEED'] ?? `${randomInt(1_000_000)}`;
const STEPS = process.env['SEALFS_INTERCEPT_STEPS'] ?? '500';

const CALLS = ['getxattr', 'setxattr', 'listxattr', 'removexattr', 'fallocate', 'fchown'];

describe('extended attributes and space through shared memory', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let users: InterceptedUsers;
  let other: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    users = new InterceptedUsers(cluster, cluster.mount());
    other = cluster.mount('other');
  });

  after(async () => {
    await cluster?.stop();
  });

  for (const [number, who] of Object.keys(USERS).entries()) {
    it(`are the kernel's, and calls answer as it does: ${who}`, function () {
      if (process.getuid?.() !== 0) this.skip();
      const script = join(packageRoot(), 'test/e2e/intercept-xattrs.py');
      users.assertSame(who, script, `${number}`, seed, STEPS);
      users.count(CALLS);
    });
  }

  it('came through it, all of them', function () {
    if (process.getuid?.() !== 0) this.skip();
    users.assertCounted(CALLS);
  });

  it('are what another mount sees at once', function () {
    const text = `
import os, sys
there = os.path.join(sys.argv[1], "seen")
fd = os.open("seen", os.O_RDWR | os.O_CREAT); os.write(fd, b"x" * 70000)
for i in range(50):
    value = b"%d" % i * (1 + 500 * (i % 7))
    os.setxattr("seen" if i % 2 else fd, "user.i", value)
    assert os.getxattr(there, "user.i") == value, i
    os.setxattr(there, "user.i", value + b"!")
    assert os.getxattr(fd if i % 2 else "seen", "user.i") == value + b"!", i
    os.posix_fallocate(fd, 0, 100000 + i)
    assert os.stat(there).st_size == 100000 + i, i
    os.removexattr("seen", "user.i")
    assert os.listxattr(there) == []
    os.truncate(there, 5)
    assert os.fstat(fd).st_size == 5`;
    users.run(true, 'root', 'python3', '-c', text, other);
    for (const call of CALLS.slice(0, 5)) assert.ok(users.answered(call) > 40, call);
  });

  it('are not asked for by what is no name, whatever is known of the file', () => {
    const text = `
import os
open("unnamed", "w").close()
for path in ("unnamed", "."):
    for name in ("x", "system.a", "user."):
        for i in range(3):
            try: print("has", os.getxattr(path, name))
            except OSError as error: print(error.errno, end=" ")
            os.stat(path); os.listxattr(path)`;
    const expected = '95 95 95 95 95 95 22 22 22 '.repeat(2);
    for (const intercepted of [false, true]) {
      assert.equal(users.run(intercepted, 'root', 'python3', '-c', text), expected);
    }
  });

  it('are left to the kernel where they may not be changed, or a limit is in the way', function () {
    if (process.getuid?.() !== 0) this.skip();
    const text = `
import os, signal, sys
signal.signal(signal.SIGXFSZ, lambda *_: print("told", flush=True))
fd = os.open("limited", os.O_RDWR)
os.pread(fd, 3, 0)
for call in (lambda: os.setxattr("limited", "user.a", b"1"), lambda: os.setxattr(fd, "user.a", b"1"),
             lambda: os.posix_fallocate(fd, 0, 5000), lambda: os.fchown(fd, 0, 0),
             lambda: os.removexattr("limited", "user.a"), lambda: os.getxattr("limited", "user.a")):
    try: call(); print("done", flush=True)
    except OSError as error: print(os.strerror(error.errno), flush=True)`;
    const script = `
      echo text > limited
      shim() { LD_PRELOAD=${users.library} SEALFS_INTERCEPT_PATHS=always python3 -c '${text}'; }
      (ulimit -f 1; shim); stat -c %s limited
      sed -i s/O_RDWR/O_RDONLY/ limited; mount -o remount,bind,ro .
      LD_PRELOAD=${users.library} python3 -c '${text.replace('O_RDWR', 'O_RDONLY')}'
      mount -o remount,bind,rw .`;
    const lines = users.run(false, 'root', 'bash', '-c', script).trim().split('\n');
    const readOnly = 'Read-only file system';
    assert.deepEqual(lines, [
      ...['done', 'done', 'told', 'File too large', 'done', 'done', 'No data available', '5'],
      ...[readOnly, readOnly, 'Bad file descriptor', readOnly, readOnly, 'No data available'],
    ]);
  });

  it('are judged by the kernel for who has become somebody else', function () {
    if (process.getuid?.() !== 0) this.skip();
    const text = `
import os
fd = os.open("became", os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"x" * 70000); os.setxattr(fd, "user.a", b"1"); os.setxattr("became", "user.b", b"1")
os.setresuid(1000, 1000, 1000)
for call in (lambda: os.getxattr(fd, "user.a"), lambda: os.getxattr("became", "user.a"),
             lambda: os.setxattr(fd, "user.a", b"2"), lambda: os.removexattr("became", "user.a"),
             lambda: os.fchown(fd, 1000, -1)):
    try: call(); print("allowed")
    except PermissionError as error: print(error.errno)
print(len(os.listxattr(fd)))`;
    const printed = users.run(true, 'root', 'python3', '-c', text);
    assert.equal(printed, '13\n13\n13\n13\n1\n2\n');
    assert.ok(users.answered('setxattr') === 2);
  });

  it('are counted where they are always the kernel’s', () => {
    const text = `
import fcntl, mmap, os
fd = os.open("counted", os.O_RDWR | os.O_CREAT); os.write(fd, b"x" * 70000); os.pread(fd, 70000, 0)
to = os.open("to", os.O_RDWR | os.O_CREAT); os.write(to, b"x" * 70000)
os.copy_file_range(fd, to, 100, 0, 0); os.sendfile(to, fd, 0, 100)
os.preadv(fd, [bytearray(5)], 0, os.RWF_HIPRI); os.pwritev(fd, [b"12345"], 0, os.RWF_DSYNC)
os.posix_fadvise(fd, 0, 5, os.POSIX_FADV_WILLNEED)
fcntl.flock(fd, fcntl.LOCK_EX); fcntl.lockf(fd, fcntl.LOCK_EX)
mmap.mmap(fd, 4096).close()`;
    users.run(true, 'root', 'python3', '-c', text);
    for (const call of ['copy_file_range', 'sendfile', 'fadvise', 'preadv2', 'pwritev2', 'mmap']) {
      assert.equal(users.leftToKernel(call), 1, call);
    }
    assert.equal(users.leftToKernel('lock'), 2);
  });
});
