"""Random calls that look at and change names, by libc (which may be intercepted) and by raw system calls, and what
all of them say. Who runs it twice, intercepted and not, gets the same text.
usage: intercept-names.py prepare DIRECTORY: as root, makes what the calls need
       intercept-names.py DIRECTORY SEED STEPS"""
import ctypes, errno, os, random, stat, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
SYS = {"x86_64": dict(mkdirat=258, mknodat=259, unlinkat=263, linkat=265, symlinkat=266, readlinkat=267, faccessat=269,
                      renameat2=316, statx=332),
       "aarch64": dict(mknodat=33, mkdirat=34, unlinkat=35, symlinkat=36, linkat=37, faccessat=48, readlinkat=78,
                       renameat2=276, statx=291)}[os.uname().machine]
CWD = -100
USER, GROUP, OTHER = 1000, 4242, 1001
# Version 2; user::rwx, user:1000:r-x, group::r-x, mask::rwx, other::---
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in [
    (1, 7, 0xffffffff), (2, 5, USER), (4, 5, 0xffffffff), (16, 7, 0xffffffff), (32, 0, 0xffffffff)])


def prepare(directory):
    os.makedirs(directory)
    os.chmod(directory, 0o777)
    os.chdir(directory)
    for name, mode, owner, group in [
            ("free", 0o777, 0, 0), ("own", 0o755, USER, USER), ("sticky", 0o1777, 0, 0), ("ownsticky", 0o1777, USER, 0),
            ("setgid", 0o2777, 0, 99), ("group", 0o770, 0, GROUP), ("closed", 0o700, 0, 0), ("shown", 0o755, 0, 0),
            ("unseen", 0o766, 0, 0), ("listed", 0o777, 0, 0), ("default", 0o777, 0, 0), ("free/deep", 0o777, 0, 0)]:
        os.mkdir(name)
        for child, kind in [("a", "f"), ("b", "f"), ("c", "d"), ("d", "l")]:
            path = os.path.join(name, child)
            if kind == "d":
                os.mkdir(path)
            elif kind == "l":
                os.symlink("a", path)
            else:
                with open(path, "w") as file:
                    file.write(path)
            os.chown(path, {"a": USER, "b": OTHER, "c": OTHER, "d": 0}[child], GROUP, follow_symlinks=False)
        os.chown(name, owner, group)
        os.chmod(name, mode)
    os.setxattr("listed", "system.posix_acl_access", ACL)
    os.setxattr("default", "system.posix_acl_default", ACL)
    os.symlink("free", "link")


def raw(name, *values):
    converted = [ctypes.c_long(v) if isinstance(v, int) else v for v in values]
    result = libc.syscall(ctypes.c_long(SYS[name]), *converted)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def raw_stat(path, fd=CWD):
    shown = ctypes.create_string_buffer(256)
    raw("statx", fd, path.encode(), 0x100 | (0x1000 if path == "" else 0), 0x7ff, shown)
    links, uid, gid, mode = struct.unpack_from("<IIIH", shown.raw, 16)
    times = struct.unpack_from("<qIiqIiqIiqI", shown.raw, 64)
    return (oct(mode), links, uid, gid), times[9:11]


def raw_readlink(path):
    text = ctypes.create_string_buffer(4096)
    return text.raw[:raw("readlinkat", CWD, path.encode(), text, 4096)].decode()


def attempt(call, *values):
    try:
        result = call(*values)
        return "ok" if result is None or result == 0 else repr(result)
    except OSError as error:
        return errno.errorcode[error.errno]


RAW = {
    "unlink": lambda p: raw("unlinkat", CWD, p.encode(), 0),
    "rmdir": lambda p: raw("unlinkat", CWD, p.encode(), 0x200),
    "mkdir": lambda p, mode: raw("mkdirat", CWD, p.encode(), mode),
    "mknod": lambda p, mode: raw("mknodat", CWD, p.encode(), mode, 0),
    "rename": lambda p, q: raw("renameat2", CWD, p.encode(), CWD, q.encode(), 0),
    "renameat2": lambda p, q, flags: raw("renameat2", CWD, p.encode(), CWD, q.encode(), flags),
    "link": lambda p, q: raw("linkat", CWD, p.encode(), CWD, q.encode(), 0),
    "symlink": lambda text, p: raw("symlinkat", text.encode(), CWD, p.encode()),
    "readlink": raw_readlink,
    "access": lambda p, mode: raw("faccessat", CWD, p.encode(), mode) and None,
}


def checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


def in_directory(call):
    """The same relative to a descriptor of the directory."""
    def by_descriptor(path, *rest):
        above, name = os.path.split(path)
        fd = os.open(above or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            return call(name, *rest, dir_fd=fd)
        finally:
            os.close(fd)
    return by_descriptor


LIBC = {
    "unlink": os.unlink, "rmdir": os.rmdir, "mkdir": os.mkdir, "rename": os.rename, "symlink": os.symlink,
    "mknod": lambda p, mode: os.mkfifo(p, mode & 0o7777) if stat.S_ISFIFO(mode) else os.mknod(p, mode),
    "link": lambda p, q: os.link(p, q, follow_symlinks=False), "readlink": os.readlink,
    "renameat2": lambda p, q, flags: checked(libc.renameat2(CWD, p.encode(), CWD, q.encode(), flags)),
    "access": lambda p, mode: checked(libc.access(p.encode(), mode)),
}
AT = {"unlink": in_directory(os.unlink), "rmdir": in_directory(os.rmdir), "mkdir": in_directory(os.mkdir),
      "readlink": in_directory(os.readlink), "mknod": in_directory(os.mknod)}
DIRECTORIES = ["free", "free", "own", "sticky", "sticky", "ownsticky", "setgid", "group", "closed", "shown", "unseen",
               "listed", "default", "free/deep", "link", "none", "free/a"]
NAMES = ["a", "b", "c", "d", "e", "f", "g"]
ODD = [".", "..", "a/", "c/", "x" * 255, "x" * 256, ""]


def step(chance, opened):
    def some_path():
        name = chance.choice(ODD) if chance.random() < 0.05 else chance.choice(NAMES)
        return os.path.join(chance.choice(DIRECTORIES), name)

    kind = chance.choice(["unlink", "unlink", "rmdir", "mkdir", "mkdir", "mknod", "mknod", "rename", "rename", "renameat2", "link",
                          "symlink", "readlink", "access", "open", "open", "umask"])
    way = chance.random()
    calls = RAW if way < 0.4 else AT if way > 0.8 and kind in AT else LIBC
    path, other = some_path(), some_path()
    node = chance.choice([0, stat.S_IFREG, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR, stat.S_IFLNK])
    values = {"mknod": [path, node | chance.choice([0o644, 0o6755, 0o2745, 0o600])],
              "mkdir": [path, chance.choice([0o777, 0o700, 0o2755, 0o1777])], "rename": [path, other],
              "renameat2": [path, other, chance.choice([1, 2])], "link": [path, other],
              "symlink": [chance.choice(["a", "../free/a", ""]), path],
              "access": [path, chance.choice([0, 1, 2, 4, 6, 7])]}.get(kind, [path])
    above = [os.path.dirname(p) for p in (path, other)]
    before = [attempt(lambda: raw_stat(p)[1]) for p in above]
    if kind == "umask":
        mask = chance.choice([0, 0o022, 0o077])
        os.umask(mask)
        return "umask %o" % mask
    if kind == "open":
        def create(p):
            fd = os.open(p, os.O_RDWR | os.O_CREAT, 0o644)
            opened.append(fd)
            if len(opened) > 6:
                os.close(opened.pop(0))
            os.pwrite(fd, p.encode() + b" of %d" % len(opened), 0)
        result = attempt(create, path)
    else:
        result = attempt(calls[kind], *values)
    # What either side sees of it, then the other.
    sights = [lambda p: attempt(lambda: raw_stat(p)[0]), lambda p: attempt(lambda: look(p))]
    if chance.random() < 0.5:
        sights.reverse()
    seen = [sight(p) for p in (path, other) for sight in sights]
    if len(set(seen[:2])) != 1 or len(set(seen[2:])) != 1:
        sys.exit("%s %s: %s" % (kind, values, seen))
    changed = [attempt(lambda: raw_stat(p)[1]) != was for p, was in zip(above, before)]
    files = [(attempt(lambda: raw_stat("", fd)[0]), attempt(os.pread, fd, 300, 0)) for fd in opened[-2:]]
    return "%s %s: %s, %s %s %s" % (kind, values, result, seen[::2], changed, files)


def look(path):
    shown = os.lstat(path)
    return oct(shown.st_mode), shown.st_nlink, shown.st_uid, shown.st_gid


if sys.argv[1] == "prepare":
    prepare(sys.argv[2])
else:
    os.chdir(sys.argv[1])
    os.umask(0o022)
    chance = random.Random(int(sys.argv[2]))
    opened = []
    for number in range(int(sys.argv[3])):
        print(number, step(chance, opened), flush=True)
    for directory in sorted(set(DIRECTORIES)):
        print(directory, attempt(lambda: sorted(os.listdir(directory))))
