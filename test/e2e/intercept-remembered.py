"""Random changes of names and attributes, made here and behind this program's back, while it remembers what stat told it.
usage: intercept-remembered.py MOUNT OTHER SEED STEPS: MOUNT and OTHER are two mounts of one volume
       intercept-remembered.py ask PATH: for each line of standard input, what PATH is"""
import ctypes, os, random, stat, sys

libc = ctypes.CDLL(None, use_errno=True)
# By machine: raw system calls go past every library.
SYS = {"x86_64": dict(newfstatat=262, unlinkat=263, mkdirat=258, renameat2=316, linkat=265, fchmodat=268,
                      truncate=76, openat=257, close=3, write=1, utimensat=280, symlinkat=266),
       "aarch64": dict(newfstatat=79, unlinkat=35, mkdirat=34, renameat2=276, linkat=37, fchmodat=53,
                       truncate=45, openat=56, close=57, write=64, utimensat=88, symlinkat=36)}[os.uname().machine]
AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW = -100, 0x200, 0x100


def raw(name, *values):
    words = [v.encode() if isinstance(v, str) else ctypes.c_long(v) if isinstance(v, int) else v for v in values]
    result = libc.syscall(ctypes.c_long(SYS[name]), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


class Raw:
    """Changes by system calls of its own: the kernel's way, whatever is preloaded."""

    def create(self, path):
        raw("close", raw("openat", AT_FDCWD, path, os.O_WRONLY | os.O_CREAT, 0o644))

    def append(self, path):
        fd = raw("openat", AT_FDCWD, path, os.O_WRONLY | os.O_APPEND, 0)
        raw("write", fd, b"more", 4)
        raw("close", fd)

    def mkdir(self, path):
        raw("mkdirat", AT_FDCWD, path, 0o755)

    def rmdir(self, path):
        raw("unlinkat", AT_FDCWD, path, AT_REMOVEDIR)

    def unlink(self, path):
        raw("unlinkat", AT_FDCWD, path, 0)

    def rename(self, path, to):
        raw("renameat2", AT_FDCWD, path, AT_FDCWD, to, 0)

    def link(self, path, to):
        raw("linkat", AT_FDCWD, path, AT_FDCWD, to, 0)

    def symlink(self, path, to):
        raw("symlinkat", "a", AT_FDCWD, to)

    def chmod(self, path, mode):
        raw("fchmodat", AT_FDCWD, path, mode)

    def truncate(self, path, size):
        raw("truncate", path, size)

    def utime(self, path, seconds):
        times = (ctypes.c_long * 4)(seconds, 0, seconds, 5)
        raw("utimensat", AT_FDCWD, path, ctypes.byref(times), 0)


class Libc:
    """The same by libc, which may be intercepted."""

    def create(self, path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))

    def append(self, path):
        fd = os.open(path, os.O_WRONLY)
        os.pwrite(fd, b"x" * 40000, random.randrange(8))
        os.close(fd)

    mkdir, rmdir, unlink = (staticmethod(f) for f in (os.mkdir, os.rmdir, os.unlink))
    rename, link, chmod, truncate = (staticmethod(f) for f in (os.rename, os.link, os.chmod, os.truncate))

    def symlink(self, path, to):
        os.symlink("a", to)

    def utime(self, path, seconds):
        os.utime(path, ns=(seconds * 10**9, seconds * 10**9 + 5))



def shown(path, follows, ask):
    try:
        found = ask(path, follows)
    except OSError as error:
        return error.errno
    return (found.st_ino, found.st_mode, found.st_nlink, found.st_size, found.st_uid, found.st_mtime_ns, found.st_ctime_ns)


def by_libc(path, follows):
    return os.stat(path) if follows else os.lstat(path)


def by_kernel(path, follows):
    """As newfstatat(2), by a descriptor: fstat of what the kernel has opened by path alone is the kernel's."""
    flags = 0o10000000 | (0 if follows else os.O_NOFOLLOW)  # O_PATH
    fd = raw("openat", AT_FDCWD, path, flags, 0)
    try:
        return os.fstat(fd)
    finally:
        raw("close", fd)


def play(mount, other, seed, steps):
    chance = random.Random(seed)
    names = ["a", "b", "c"]
    paths = names + [f"{x}/{y}" for x in names for y in names] + ["a/a/a", "b/a/b", "c/b/a"]
    doers = [(Libc(), mount), (Raw(), mount), (Raw(), other), (Libc(), other)]
    kinds = ["create", "append", "mkdir", "rmdir", "unlink", "rename", "link", "symlink", "chmod", "truncate", "utime"]
    for number in range(steps):
        doer, root = chance.choice(doers)
        kind = chance.choice(kinds)
        path = f"{root}/{chance.choice(paths)}"
        arguments = {"rename": [f"{root}/{chance.choice(paths)}"], "link": [f"{root}/{chance.choice(paths)}"],
                     "symlink": [f"{root}/{chance.choice(paths)}"], "chmod": [chance.choice([0o600, 0o755, 0o700])],
                     "truncate": [chance.randrange(9000)], "utime": [chance.randrange(10**9)]}.get(kind, [])
        try:
            getattr(doer, kind)(path, *arguments)
        except OSError:
            pass
        for each in chance.sample(paths, 5):
            follows = chance.random() < 0.5
            for root in (mount, other):
                wanted = shown(f"{root}/{each}", follows, by_kernel)
                for again in range(3):
                    got = shown(f"{root}/{each}", follows, by_libc)
                    if got != wanted:
                        sys.exit(f"seed {seed}, step {number}: {kind} {path} {arguments} by {type(doer).__name__}: "
                                 f"{root}/{each} is {got}, not {wanted}, at look {again}")
    print("ok")


def ask(path):
    for line in sys.stdin:
        try:
            found = os.stat(path)
            print("%o %d" % (stat.S_IMODE(found.st_mode), found.st_size), flush=True)
        except OSError as error:
            print(error.errno, flush=True)


if sys.argv[1] == "ask":
    ask(sys.argv[2])
else:
    play(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
