"""Random calls about extended attributes, space and owners of open files, by libc (which may be intercepted) and by
raw system calls, and what all of them say. Who runs it twice, intercepted and not, gets the same text.
usage: intercept-xattrs.py prepare DIRECTORY: as root, makes what the calls need
       intercept-xattrs.py DIRECTORY SEED STEPS"""
import ctypes, errno, hashlib, os, stat, struct, sys
from intercept_random import (ACL, CWD, EMPTY_PATH, GROUP, NO_FOLLOW, OTHER, USER, attempt, libc, main, make_all, open_one,
                              seen_by_both)

for name in ["getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"]:
    getattr(libc, name).restype = ctypes.c_ssize_t
CALLS = ["setxattr", "lsetxattr", "fsetxattr", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr",
         "flistxattr", "removexattr", "lremovexattr", "fremovexattr"]
FIRST, SYS_FALLOCATE, SYS_STATX, SYS_FCHOWN = {"x86_64": (188, 285, 332, 93), "aarch64": (5, 47, 291, 55)}[os.uname().machine]
SYS = {name: FIRST + i for i, name in enumerate(CALLS)}
MODES = [0o644, 0o666, 0o6755, 0o2664, 0o600, 0o464, 0o200]


def prepare(directory):
    def also(path, number):
        if number % 2 == 0 and not os.path.islink(path):
            os.setxattr(path, "user.was there", b"w" * (number * 1000))
            os.setxattr(path, "trusted.hidden", b"t")

    make_all(directory, [("free", 0o777), ("closed", 0o700)], MODES + ["listed", "dir", "sticky", "link", "fifo"], also)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def raw(number, *values):
    return checked(libc.syscall(ctypes.c_long(number), *[
        ctypes.c_long(v) if isinstance(v, int) else v for v in values]))


def shown_by_kernel(path):
    """Mode, owner, size, blocks, ctime."""
    shown = ctypes.create_string_buffer(256)
    raw(SYS_STATX, CWD, path.encode(), NO_FOLLOW, 0x7ff, shown)
    _, uid, gid, mode = struct.unpack_from("<IIIH", shown.raw, 16)
    size, blocks = struct.unpack_from("<QQ", shown.raw, 40)
    seconds, nanoseconds = struct.unpack_from("<qI", shown.raw, 96)
    return mode, uid, gid, size, blocks, seconds * 10**9 + nanoseconds


def shown_by_libc(path):
    shown = os.lstat(path)
    return shown.st_mode, shown.st_uid, shown.st_gid, shown.st_size, shown.st_blocks, shown.st_ctime_ns


def xattr_call(by_raw, kind, prefix, where, *values):
    """kind: as libc has it, without what is before it: "", "l" or "f"."""
    where = where if isinstance(where, int) else where.encode()
    name = prefix + kind
    if by_raw:
        return raw(SYS[name], where, *values)
    converted = [ctypes.c_size_t(v) if isinstance(v, int) else v for v in values]
    return checked(getattr(libc, name)(where, *converted))


NAMES = [b"user.a", b"user.a", b"user.b", b"user.was there", b"user.\xc3\xa4", b"user." + b"n" * 250]
ODD_NAMES = [b"user.", b"user", b"", b"x", b"trusted.a", b"trusted.hidden", b"system.a", b"security.a", b"user.\x01",
             b"user." + b"n" * 251, b"system.posix_acl_access", b"USER.a"]
SIZES = [0, 0, 1, 5, 100, 4096, 8192, 8193, 30000, 65535, 65536]


def some_name(chance):
    return chance.choice(ODD_NAMES if chance.random() < 0.2 else NAMES)


def some_value(chance):
    size = 65537 if chance.random() < 0.05 else chance.choice(SIZES)
    return bytes([97 + chance.randrange(26)]) * size


def do_xattr(kind, chance, where, prefix, by_raw):
    def call(*values):
        return xattr_call(by_raw, kind, prefix, where, *values)
    if kind == "setxattr":
        value = some_value(chance)
        flags = chance.choice([0, 0, 0, 1, 2, 3, 4])
        name = some_name(chance)
        if name == b"system.posix_acl_access":
            value = ACL
        return (name, len(value), flags), attempt(call, name, value, len(value), flags)
    if kind == "removexattr":
        name = some_name(chance)
        return name, attempt(call, name)
    size = chance.choice(SIZES + [2**20])
    room = ctypes.create_string_buffer(b"!" * (size + 1))
    given = room if size > 0 or chance.random() < 0.5 else None
    name = [some_name(chance)] if kind == "getxattr" else []
    result = attempt(call, *name, given, size)
    what = room.raw[:result] if isinstance(result, int) and size > 0 else b""
    untouched = room.raw[len(what):] == b"!" * (size + 1 - len(what)) + b"\0"
    if kind == "listxattr":
        what = sorted(what.split(b"\0"))
    else:
        what = hashlib.md5(what).hexdigest()
    return (name, size), (result, what, untouched if result in (len(what), "ok", "ERANGE") else "")


def allocate(chance, fd, by_raw):
    mode = chance.choice([0, 0, 1, 3, 16, 17, 2, 8, 64, 19, 0x80])
    offset, length = chance.choice([0, 1, 4096, 100_000, 3 * 2**20, -1, 2**62]), chance.choice(
        [1, 4096, 5000, 2**20, 2**21 + 5, 0, -5, 2**62])
    if offset + length > 2**31:
        length = 2**62
    if by_raw:
        return (mode, offset, length), attempt(raw, SYS_FALLOCATE, fd, mode, offset, length)
    if mode == 0 and chance.random() < 0.5:
        status = libc.posix_fallocate64(fd, ctypes.c_long(offset), ctypes.c_long(length))
        return (mode, offset, length), errno.errorcode[status] if status else 0
    call = chance.choice([libc.fallocate, libc.fallocate64])
    return (mode, offset, length), attempt(lambda: checked(call(fd, mode, ctypes.c_long(offset), ctypes.c_long(length))))


def change_owner(chance, fd, by_raw):
    ids = [-1, -1, 0, USER, OTHER]
    user, group = chance.choice(ids), chance.choice(ids + [GROUP, GROUP, 99, 4243])
    if by_raw:
        return (user, group), attempt(raw, SYS_FCHOWN, fd, user, group)
    if chance.random() < 0.3:
        return (user, group), attempt(lambda: checked(libc.fchownat(fd, b"", user, group, EMPTY_PATH)))
    return (user, group), attempt(lambda: checked(libc.fchown(fd, user, group)))


def data_of(path):
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return ""
    with open(path, "rb") as file:
        return hashlib.md5(file.read(8 * 2**20)).hexdigest()


def step(chance, opened, own):
    kind = chance.choice(["setxattr"] * 4 + ["getxattr"] * 4 + ["listxattr"] * 2 + ["removexattr"] * 2 +
                         ["fallocate"] * 4 + ["fchown", "fchown", "open", "open"])
    name = chance.choice([".", "u8/", "none", "x" * 256, ""]) if chance.random() < 0.05 else "%s%d" % (
        chance.choice("uugos"), chance.randrange(len(MODES) + 5))
    path = os.path.join(chance.choice(["free"] * 6 + ["closed", "none", "free/u0"]), name)
    by_raw = chance.random() < 0.3
    prefix = chance.choice(["", "", "l", "f"])
    if kind == "open":
        values, result = "", attempt(open_one, chance, path, opened)
    else:
        where = path
        if kind in ("fallocate", "fchown") or prefix == "f":
            where, path = chance.choice(opened) if opened and chance.random() < 0.6 else own
        # A look brings the kernel up to date.
        before = attempt(shown_by_kernel, path) if chance.random() < 0.4 else "not looked at"
        if kind == "fallocate":
            values, result = allocate(chance, where, by_raw)
        elif kind == "fchown":
            values, result = change_owner(chance, where, by_raw)
        else:
            values, result = do_xattr(kind, chance, where, prefix, by_raw)
        if not isinstance(before, str):
            after = attempt(shown_by_kernel, path)
            result = "%s, changed %s" % (result, after if isinstance(after, str) else before[5] != after[5])
    text = "%s%s %s %s: %s" % (prefix, kind, path[:50], values, result)
    if chance.random() < 0.5:
        return text
    seen = seen_by_both(chance, path, [shown_by_kernel, shown_by_libc], text)
    lists = [attempt(raw, SYS["llistxattr"], path.encode(), None, 0), attempt(
        lambda: checked(libc.llistxattr(path.encode(), None, 0)))]
    if lists[0] != lists[1]:
        sys.exit("%s: %s" % (text, lists))
    shown = seen if isinstance(seen, str) else "%o %s" % (seen[0], seen[1:5])
    return "%s; %s %s %s" % (text, shown, lists[0], attempt(data_of, path) if kind == "fallocate" else "")


main(prepare, step)
