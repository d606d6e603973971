/**
 * Attributes that intercepted programs change through shared memory, on a real mount: each call says and does what it
 * says and does through the kernel, to each user, and either way shows at once in the other. A failure prints its
 * seed; SEALFS_INTERCEPT_SEED=n runs just that one.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster } from '../support/cluster.js';
import { InterceptedUsers, USERS } from '../support/intercepted-users.js';

const seed = process.env['SEALFS_INTERCEPT_SEED'] ?? `${randomInt(1_000_000)}`;
const STEPS = process.env['SEALFS_INTERCEPT_STEPS'] ?? '500';

const CALLS = ['truncate', 'chmod', 'chown', 'utimens', 'ftruncate', 'fchmod', 'futimens', 'fsync'];

describe('attributes through shared memory', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let users: InterceptedUsers;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    users = new InterceptedUsers(cluster, cluster.mount());
  });

  after(async () => {
    await cluster?.stop();
  });

  for (const [number, who] of Object.keys(USERS).entries()) {
    it(`are the kernel's attributes, and calls answer as it does: ${who}`, function () {
      if (process.getuid?.() !== 0) this.skip();
      const script = join(packageRoot(), 'test/e2e/intercept-attributes.py');
      users.assertSame(who, script, `${number}`, seed, STEPS);
      users.count(CALLS);
    });
  }

  it('came through it, all of them', function () {
    if (process.getuid?.() !== 0) this.skip();
    users.assertCounted(CALLS);
  });

  it('are left to the kernel where they may not be changed, or a limit or a program is in the way', function () {
    if (process.getuid?.() !== 0) this.skip();
    const text = `
import os, signal, sys
signal.signal(signal.SIGXFSZ, lambda *_: print("told", flush=True))
path = sys.argv[1]
for call in (lambda: os.truncate(path, 0), lambda: os.truncate(path, 5000), lambda: os.chmod(path, 0o600),
             lambda: os.chown(path, 1, -1), lambda: os.utime(path)):
    try: call(); print("done", flush=True)
    except OSError as error: print(os.strerror(error.errno), flush=True)`;
    const script = `
      echo text > kept; cp "$(command -v sleep)" asleep
      shim() { LD_PRELOAD=${users.library} SEALFS_INTERCEPT_PATHS=always python3 -c '${text}' "$1"; }
      ./asleep 20 & while [ "$(cat /proc/$!/comm)" != asleep ]; do sleep 0.01; done
      shim asleep; kill $!; wait $! 2> /dev/null; shim asleep
      (ulimit -f 1; shim kept); stat -c %s kept
      mount -o remount,bind,ro .; shim kept; mount -o remount,bind,rw .`;
    const lines = users.run(false, 'root', 'bash', '-c', script).trim().split('\n');
    const busy = 'Text file busy';
    const done = ['done', 'done', 'done'];
    const readOnly = Array.from({ length: 5 }, () => 'Read-only file system');
    const expected = [busy, busy, ...done, 'done', 'done', ...done];
    expected.push('done', 'told', 'File too large', ...done, '0', ...readOnly);
    assert.deepEqual(lines, expected);
  });

  it('are what the kernel goes by at once, whoever asks it', function () {
    if (process.getuid?.() !== 0) this.skip();
    const text = `
import ctypes, os
libc = ctypes.CDLL(None)
def known(path):
    "The kernel looks it up, and remembers it."
    shown = ctypes.create_string_buffer(256)
    assert libc.syscall(332 if os.uname().machine == "x86_64" else 291, -100, path.encode(), 0x100, 0x7ff, shown) == 0
def kernel(user, call):
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user); call()
            os._exit(0)
        except OSError as error: os._exit(error.errno)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os.mkdir("asked", 0o1777); os.chmod("asked", 0o1777)
def made(name):
    path = os.path.join("asked", name)
    os.mknod(path, 0o644); known(path)
    return path
for name, call in [("mode", lambda p: os.chmod(p, 0o600)), ("times", lambda p: os.utime(p, (1, 2))),
                   ("list", lambda p: os.setxattr(p, "system.posix_acl_access", bytes.fromhex(
                       "02000000" "01000600ffffffff" "04000400ffffffff" "20000400ffffffff"))),
                   ("name", os.unlink)]:
    given, taken = made(name + "-given"), made(name + "-taken")
    os.chown(taken, 1000, 1000); known(taken); known(given)
    os.chown(given, 1000, 1000); os.chown(taken, 0, 0)
    print(name, kernel(1000, lambda: call(given)), kernel(1000, lambda: call(taken)))
path = made("linked")
os.chmod(path, 0o666); known(path); os.chmod(path, 0o6777)
print("link", kernel(1000, lambda: os.link(path, path + "-too")))
path = made("group")
os.chown(path, 1000, 1000); known(path); os.chown(path, -1, 50)
print("group", kernel(1000, lambda: os.chmod(path, 0o2755)), oct(os.stat(path).st_mode))`;
    const expected = users.run(false, 'root', 'python3', '-c', `${text}\nos.rename("asked", "by")`);
    assert.match(expected, /^mode 0 1\ntimes 0 1\nlist 0 1\nname 0 1\n/);
    assert.equal(users.run(true, 'root', 'python3', '-c', text), expected);
    for (const call of ['chown', 'chmod', 'mknod']) assert.ok(users.answered(call) > 0, call);
  });

  it('are judged by the kernel for who has become somebody else', function () {
    if (process.getuid?.() !== 0) this.skip();
    const text = `
import os
fd = os.open("became", os.O_RDWR | os.O_CREAT, 0o644)
os.write(fd, b"x" * 70000); os.fchmod(fd, 0o600); os.chmod("became", 0o640); os.utime("became", (1, 2))
os.setresuid(1000, 1000, 1000)
for call in (lambda: os.fchmod(fd, 0o666), lambda: os.chmod("became", 0o666), lambda: os.fchown(fd, 1000, -1),
             lambda: os.utime(fd, (3, 4)), lambda: os.truncate("became", 0)):
    try: call(); print("allowed")
    except PermissionError as error: print(error.errno)
os.ftruncate(fd, 5); print(os.fstat(fd).st_size)`;
    const printed = users.run(true, 'root', 'python3', '-c', text);
    assert.equal(printed, '1\n1\n1\n1\n13\n5\n');
    assert.ok(users.answered('fchmod') > 0 && users.answered('chmod') > 0);
  });
});
