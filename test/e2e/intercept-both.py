"""Random calls on files, by libc (which may be intercepted) and by raw system calls, against a model.
usage: intercept-both.py DIRECTORY SEED STEPS [KIND…]: only those kinds of calls"""
import ctypes, mmap, os, random, sys

directory, seed, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
KINDS = ["pread", "pwrite", "read", "write", "seek", "stat", "truncate", "sync", "reopen", "anew", "dup",
         "fork", "mmap", "append", "other"]
kinds = sys.argv[4:] or KINDS
chance = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
SYS = {"x86_64": dict(read=0, write=1, lseek=8, pread=17, pwrite=18, dup=32, close=3, fsync=74, ftruncate=77),
       "aarch64": dict(read=63, write=64, lseek=62, pread=67, pwrite=68, dup=23, close=57, fsync=82,
                       ftruncate=46)}[os.uname().machine]


def raw(name, *values):
    result = libc.syscall(ctypes.c_long(SYS[name]), *[ctypes.c_long(v) if isinstance(v, int) else v for v in values])
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def raw_pread(fd, length, at):
    buffer = ctypes.create_string_buffer(length)
    got = raw("pread", fd, buffer, length, at)
    return buffer.raw[:got]


def raw_read(fd, length):
    buffer = ctypes.create_string_buffer(length)
    got = raw("read", fd, buffer, length)
    return buffer.raw[:got]


def raw_write(fd, data):
    return raw("write", fd, data, len(data))


def raw_pwrite(fd, data, at):
    return raw("pwrite", fd, data, len(data), at)


class File:
    def __init__(self, number):
        self.path = os.path.join(directory, "both-%d" % number)
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self.data = bytearray()
        self.at = 0

    def put(self, at, data):
        if at > len(self.data):
            self.data.extend(bytes(at - len(self.data)))
        self.data[at:at + len(data)] = data

    def check(self, what, got, wanted):
        if got != wanted:
            short = lambda v: v if not isinstance(v, (bytes, bytearray)) else "%d bytes %r" % (len(v), bytes(v[:16]))
            sys.exit("seed %d: %s of %s: %s, not %s" % (seed, what, self.path, short(got), short(wanted)))


def step(file):
    kind = chance.choice(kinds)
    by_raw = chance.random() < 0.3
    length = chance.choice([1, 10, 4095, 4096, 8192, 20000, 70000])
    limit = 300000
    at = chance.randrange(limit)
    data = bytes([chance.randrange(256)]) * length
    if kind == "pread":
        got = raw_pread(file.fd, length, at) if by_raw else os.pread(file.fd, length, at)
        file.check("pread", got, bytes(file.data[at:at + length]))
    elif kind == "pwrite":
        file.check("pwrite", (raw_pwrite if by_raw else os.pwrite)(file.fd, data, at), length)
        file.put(at, data)
    elif kind == "read":
        got = (raw_read if by_raw else os.read)(file.fd, length)
        file.check("read", got, bytes(file.data[file.at:file.at + length]))
        file.at += len(got)
    elif kind == "write":
        file.check("write", (raw_write if by_raw else os.write)(file.fd, data), length)
        file.put(file.at, data)
        file.at += length
    elif kind == "seek":
        file.at = at
        file.check("lseek", os.lseek(file.fd, at, os.SEEK_SET), at)
        if chance.random() < 0.3:
            file.check("end", os.lseek(file.fd, 0, os.SEEK_END), len(file.data))
            file.at = len(file.data)
    elif kind == "stat":
        file.check("fstat", os.fstat(file.fd).st_size, len(file.data))
        file.check("stat", os.stat(file.path).st_size, len(file.data))
    elif kind == "truncate":
        raw("ftruncate", file.fd, at) if by_raw else os.ftruncate(file.fd, at)
        file.data = file.data[:at] if at <= len(file.data) else file.data + bytes(at - len(file.data))
    elif kind == "sync":
        raw("fsync", file.fd) if by_raw else chance.choice([os.fsync, os.fdatasync])(file.fd)
    elif kind == "reopen":
        (raw if by_raw else lambda _, fd: os.close(fd))("close", file.fd)
        file.fd = os.open(file.path, os.O_RDWR)
        file.at = 0
    elif kind == "anew":
        os.close(file.fd)
        os.unlink(file.path)
        file.fd = os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        file.data = bytearray()
        file.at = 0
    elif kind == "dup":
        other = raw("dup", file.fd) if by_raw else os.dup(file.fd)
        file.check("lseek", os.lseek(other, 0, os.SEEK_CUR), file.at)
        # A raw duplicate is not seen: its number takes no part in what moves the offset.
        file.check("read", os.pread(other, length, 0), bytes(file.data[:length]))
        if not by_raw:
            file.check("write", os.write(other, data), length)
            file.put(file.at, data)
            file.at += length
        os.close(other)
    elif kind == "fork":
        child = os.fork()
        if child == 0:
            os._exit(0 if os.write(file.fd, data) == length else 1)
        file.check("child", os.waitpid(child, 0)[1], 0)
        file.put(file.at, data)
        file.at += length
    elif kind == "mmap" and len(file.data) > 0 and chance.random() < 0.3:
        with mmap.mmap(file.fd, 0) as view:
            file.check("mapping", view[:], bytes(file.data))
            place = chance.randrange(len(file.data))
            view[place] = 7
            file.data[place] = 7
            file.check("read of what was mapped", os.pread(file.fd, 1, place), b"\x07")
    elif kind == "append":
        fd = os.open(file.path, os.O_WRONLY | os.O_APPEND)
        file.check("append", os.write(fd, data), length)
        file.put(len(file.data), data)
        file.check("its offset", os.lseek(fd, 0, os.SEEK_CUR), len(file.data))
        os.close(fd)
    elif kind == "other":
        # The same number, another file, behind the library's back.
        raw("close", file.fd)
        other = os.open("/proc/self/status", os.O_RDONLY)
        os.read(other, 10)
        raw("close", other)
        file.fd = os.open(file.path, os.O_RDWR)
        file.at = 0


files = [File(i) for i in range(3)]
for i in range(steps):
    step(chance.choice(files))
for file in files:
    with open(file.path, "rb") as whole:
        file.check("all", whole.read(), bytes(file.data))
    os.close(file.fd)
    os.unlink(file.path)
