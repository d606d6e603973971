"""Random calls that change attributes, by libc (which may be intercepted) and by raw system calls, and what all of
them say. Who runs it twice, intercepted and not, gets the same text.
usage: intercept-attributes.py prepare DIRECTORY: as root, makes what the calls need
       intercept-attributes.py DIRECTORY SEED STEPS"""
import ctypes, errno, os, stat, struct, time
from intercept_random import (CWD, EMPTY_PATH, GROUP, NO_FOLLOW, OTHER, USER, attempt, libc, main, make_all, open_one,
                              seen_by_both)

SYS = {"x86_64": dict(truncate=76, ftruncate=77, fchmodat=268, fchmod=91, fchownat=260, fchown=93, utimensat=280,
                      statx=332),
       "aarch64": dict(truncate=45, ftruncate=46, fchmodat=53, fchmod=52, fchownat=54, fchown=55, utimensat=88,
                       statx=291)}[os.uname().machine]
NOW, OMIT = 0x3fffffff, 0x3ffffffe
MODES = [0o644, 0o666, 0o6755, 0o2644, 0o600, 0o464]


def prepare(directory):
    make_all(directory, [("free", 0o777), ("closed", 0o700), ("setgid", 0o2777), ("sticky", 0o1777)],
             MODES + ["listed", "dir", "link", "fifo"])


def raw(name, *values):
    converted = [ctypes.c_long(v) if isinstance(v, int) else v for v in values]
    if libc.syscall(ctypes.c_long(SYS[name]), *converted) < 0:
        raise OSError(ctypes.get_errno(), name)


def checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


def raw_stat(path, fd=CWD):
    """Of the kernel: mode, links, user, group, size, and nanoseconds of access, change, modification."""
    shown = ctypes.create_string_buffer(256)
    raw("statx", fd, path.encode(), NO_FOLLOW | (EMPTY_PATH if path == "" else 0), 0x7ff, shown)
    links, uid, gid, mode = struct.unpack_from("<IIIH", shown.raw, 16)
    size, = struct.unpack_from("<Q", shown.raw, 40)
    times = struct.unpack_from("<qIiqIiqIiqI", shown.raw, 64)
    at = [times[i] * 10**9 + times[i + 1] for i in (0, 6, 9)]
    return mode, links, uid, gid, size, at[0], at[1], at[2]


def libc_stat(path):
    shown = os.lstat(path)
    return (shown.st_mode, shown.st_nlink, shown.st_uid, shown.st_gid, shown.st_size, shown.st_atime_ns,
            shown.st_ctime_ns, shown.st_mtime_ns)


def when(nanoseconds):
    return "now" if abs(time.time_ns() - nanoseconds) < 3600 * 10**9 else "%d" % nanoseconds


def seconds_of(times, unit):
    """As timespec (unit 1) or timeval (unit 1000)."""
    return None if times is None else struct.pack("<qqqq", *(
        [times[0][0], times[0][1] // unit, times[1][0], times[1][1] // unit]))


def utime(path, times):
    return checked(libc.utime(path.encode(), None if times is None else struct.pack("<qq", times[0][0], times[1][0])))


LIBC = {
    "truncate": [os.truncate, lambda p, n: checked(libc.truncate64(p.encode(), ctypes.c_long(n)))],
    "chmod": [os.chmod, lambda p, mode: checked(libc.fchmodat(CWD, p.encode(), mode, 0))],
    "chown": [os.chown, lambda p, u, g: checked(libc.fchownat(CWD, p.encode(), u, g, 0))],
    "lchown": [os.lchown, lambda p, u, g: checked(libc.fchownat(CWD, p.encode(), u, g, NO_FOLLOW))],
    "utimens": [lambda p, times, flags: checked(libc.utimensat(CWD, p.encode(), seconds_of(times, 1), flags))],
    "utimes": [lambda p, times: checked(libc.utimes(p.encode(), seconds_of(times, 1000))),
               lambda p, times: checked(libc.lutimes(p.encode(), seconds_of(times, 1000))),
               lambda p, times: checked(libc.futimesat(CWD, p.encode(), seconds_of(times, 1000))), utime],
    "ftruncate": [os.ftruncate], "fchmod": [os.fchmod], "fchown": [os.fchown],
    "futimens": [lambda fd, times: checked(libc.futimens(fd, seconds_of(times, 1))),
                 lambda fd, times: checked(libc.futimes(fd, seconds_of(times, 1000)))],
    "fsync": [os.fsync, os.fdatasync],
}
RAW = {
    "truncate": lambda p, n: raw("truncate", p.encode(), n),
    "chmod": lambda p, mode: raw("fchmodat", CWD, p.encode(), mode),
    "chown": lambda p, u, g: raw("fchownat", CWD, p.encode(), u, g, 0),
    "lchown": lambda p, u, g: raw("fchownat", CWD, p.encode(), u, g, NO_FOLLOW),
    "utimens": lambda p, times, flags: raw("utimensat", CWD, p.encode(), seconds_of(times, 1), flags),
    "ftruncate": lambda fd, n: raw("ftruncate", fd, n), "fchmod": lambda fd, mode: raw("fchmod", fd, mode),
    "fchown": lambda fd, u, g: raw("fchown", fd, u, g),
    "futimens": lambda fd, times: raw("utimensat", fd, None, seconds_of(times, 1), 0),
}
DIRECTORIES = ["free", "free", "free", "free", "sticky", "sticky", "setgid", "closed", "none", "free/u0"]
ODD = [".", "..", "u7/", "u7", "none", "x" * 256, ""]


def some_times(chance):
    if chance.random() < 0.2:
        return None
    nanoseconds = [NOW, OMIT, OMIT, 0, 5000, 999_999_000]
    if chance.random() < 0.1:
        nanoseconds = [10**9, -1, NOW]
    return [(chance.choice([0, -5, 77, 2**33, 10**12]), chance.choice(nanoseconds)) for _ in range(2)]


def values_of(kind, chance):
    ids = [-1, -1, 0, USER, OTHER]
    if kind in ("truncate", "ftruncate"):
        return [chance.choice([0, 1, 5000, 2**21, 2**62, -1])]
    if kind in ("chmod", "fchmod"):
        return [chance.choice([0o644, 0o666, 0o6755, 0o7777, 0o2600, 0o1700, 0o100644])]
    if kind in ("chown", "lchown", "fchown"):
        return [chance.choice(ids), chance.choice(ids + [GROUP, GROUP, 99, 4243])]
    if kind == "utimens":
        return [some_times(chance), chance.choice([0, 0, NO_FOLLOW, 0x8000])]
    return [some_times(chance)] if kind in ("utimes", "futimens") else []


def by_somebody(user, call, path):
    """By a child that becomes the user, which by then works through the kernel."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            call(path)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    return errno.errorcode.get(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "ok")


def link_and_unlink(path):
    os.link(path, path + "-link", follow_symlinks=False)
    os.unlink(path + "-link")


BASIC_ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, 0xffffffff) for tag, bits in [
    (1, 6), (4, 4), (32, 4)])
BY_OTHERS = [lambda p: os.chmod(p, 0o2666), lambda p: os.chmod(p, 0o664), lambda p: os.utime(p, (5, 6)),
             lambda p: os.setxattr(p, "system.posix_acl_access", BASIC_ACL), link_and_unlink,
             lambda p: os.chown(p, -1, 99), lambda p: os.rename(p, p + "-moved") or os.rename(p + "-moved", p)]


def step(chance, opened, own):
    kind = chance.choice(["truncate", "truncate", "chmod", "chmod", "chown", "chown", "lchown", "utimens", "utimens",
                          "utimes", "ftruncate", "fchmod", "fchown", "futimens", "fsync", "open", "open",
                          "by others", "by others"])
    name = chance.choice(ODD) if chance.random() < 0.05 else "%s%d" % (chance.choice("uugos"), chance.randrange(10))
    path = os.path.join(chance.choice(DIRECTORIES), name)
    values = values_of(kind, chance)
    by_raw = chance.random() < 0.3
    if kind == "open":
        result = attempt(open_one, chance, path, opened)
    elif kind == "by others":
        number, user = chance.randrange(len(BY_OTHERS)), chance.choice([USER, OTHER])
        values = [number, user]
        result = by_somebody(user, BY_OTHERS[number], path)
    else:
        what = path
        call = RAW[kind] if by_raw and kind in RAW else chance.choice(LIBC[kind])
        if kind in ("ftruncate", "fchmod", "fchown", "futimens", "fsync"):
            what, path = chance.choice(opened) if opened and chance.random() < 0.6 else own
        # A look brings the kernel up to date.
        before = attempt(raw_stat, path) if chance.random() < 0.4 else "not looked at"
        result = attempt(call, what, *values)
        if not isinstance(before, str):
            after = attempt(raw_stat, path)
            result = "%s, changed %s" % (result, after if isinstance(after, str) else before[6] != after[6])
    text = "%s %s %s: %s" % (kind, path, values, result)
    if chance.random() < 0.5:
        return text
    shown = seen_by_both(chance, path, [raw_stat, libc_stat], text)
    if not isinstance(shown, str):
        # Whether a link that is followed is read depends on what the kernel remembers of it.
        accessed = "" if stat.S_ISLNK(shown[0]) else when(shown[5])
        shown = "%o %s" % (shown[0], (*shown[1:5], accessed, when(shown[7])))
    return "%s; %s" % (text, shown)


main(prepare, step)
