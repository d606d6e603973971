"""Directory streams by libc's own calls: what they must give, whoever answers. Prints "ok", or fails.
usage: intercept-directories.py WHAT DIRECTORY [...]"""
import ctypes, os, random, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
for name, result, arguments in [
        ("opendir", ctypes.c_void_p, [ctypes.c_char_p]), ("fdopendir", ctypes.c_void_p, [ctypes.c_int]),
        ("closedir", ctypes.c_int, [ctypes.c_void_p]), ("readdir", ctypes.c_void_p, [ctypes.c_void_p]),
        ("readdir64", ctypes.c_void_p, [ctypes.c_void_p]), ("dirfd", ctypes.c_int, [ctypes.c_void_p]),
        ("readdir64_r", ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]),
        ("rewinddir", None, [ctypes.c_void_p]), ("telldir", ctypes.c_long, [ctypes.c_void_p]),
        ("seekdir", None, [ctypes.c_void_p, ctypes.c_long]),
        ("getdents64", ctypes.c_ssize_t, [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t])]:
    function = getattr(libc, name)
    function.restype, function.argtypes = result, arguments

EBADF, UNTOUCHED = 9, 12345


def entry_at(address):
    """(name, inode, type, offset behind it, length)"""
    inode, offset = ctypes.c_uint64.from_address(address).value, ctypes.c_int64.from_address(address + 8).value
    length, kind = ctypes.c_uint16.from_address(address + 16).value, ctypes.c_uint8.from_address(address + 18).value
    return ctypes.string_at(address + 19).decode(), inode, kind, offset, length


class Directory:
    def __init__(self, path, fd=None):
        self.stream = libc.fdopendir(fd) if fd is not None else libc.opendir(path.encode())
        assert self.stream, os.strerror(ctypes.get_errno())

    @property
    def fd(self):
        return libc.dirfd(self.stream)

    def read(self, how="readdir64"):
        """The next entry; None: the end; an errno."""
        ctypes.set_errno(UNTOUCHED)
        if how == "readdir64_r":
            room, result = ctypes.create_string_buffer(280), ctypes.c_void_p()
            status = libc.readdir64_r(self.stream, room, ctypes.byref(result))
            if status != 0:
                return status
            return entry_at(result.value) if result.value else None
        address = getattr(libc, how)(self.stream)
        if address:
            return entry_at(address)
        return None if ctypes.get_errno() == UNTOUCHED else ctypes.get_errno()

    def names(self, most=1 << 30, how="readdir64"):
        found = []
        while len(found) < most:
            entry = self.read(how)
            if entry is None:
                break
            assert not isinstance(entry, int), os.strerror(entry)
            found.append(entry[0])
        return found

    def tell(self):
        return libc.telldir(self.stream)

    def seek(self, place):
        libc.seekdir(self.stream, place)

    def rewind(self):
        libc.rewinddir(self.stream)

    def close(self):
        assert libc.closedir(self.stream) == 0


def once(names):
    assert len(set(names)) == len(names), "twice: %s" % [n for n in names if names.count(n) > 1][:5]
    return set(names)


def by_kernel(path):
    """All names, by the system call alone."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return once(rest_of(fd))
    finally:
        os.close(fd)


def rest_of(fd):
    room, names = ctypes.create_string_buffer(32768), []
    while True:
        got = libc.getdents64(fd, room, len(room))
        assert got >= 0, os.strerror(ctypes.get_errno())
        if got == 0:
            return names
        at = 0
        while at < got:
            entry = entry_at(ctypes.addressof(room) + at)
            names.append(entry[0])
            at += entry[4]


def test_entries(path):
    """Names, numbers and types are lstat's, by each call."""
    wanted = by_kernel(path)
    for how in ["readdir", "readdir64", "readdir64_r"]:
        directory = Directory(path)
        seen = []
        while (entry := directory.read(how)) is not None:
            name, inode, kind = entry[:3]
            shown = os.lstat(os.path.join(path, name))
            assert name == ".." or shown.st_ino == inode, name
            assert kind == shown.st_mode >> 12, name
            assert directory.tell() == entry[3], name
            seen.append(name)
        assert directory.read(how) is None, "again"
        assert once(seen) == wanted, how
        directory.rewind()
        assert once(directory.names(how=how)) == wanted, "rewound"
        directory.close()


def test_places(path, seed):
    """telldir's places lead to where they were taken, in any order."""
    chance = random.Random(seed)
    directory, places = Directory(path), []
    while True:
        place = directory.tell()
        entry = directory.read()
        if entry is None:
            break
        places.append((place, entry[0]))
    assert places[0][0] == 0
    for i in [0, len(places) - 1, *(chance.randrange(len(places)) for _ in range(30))]:
        if chance.random() < 0.2:
            directory.rewind()
            assert directory.tell() == 0
            assert directory.names(3) == [name for _, name in places[:3]]
        directory.seek(places[i][0])
        assert directory.tell() == places[i][0]
        count = chance.choice([1, 5, 1 << 30])
        assert directory.names(count) == [name for _, name in places[i:i + count]], "seed %s" % seed
    directory.close()


def test_changes(path):
    """What is there all along is seen once; what has changed, after rewinddir at the latest."""
    stay = by_kernel(path)
    directory = Directory(path)
    seen = directory.names(40)
    for i in range(300):
        open(os.path.join(path, "new-%d" % i), "w").close()
    for i in range(0, 300, 2):
        os.unlink(os.path.join(path, "new-%d" % i))
    seen += directory.names()
    assert once(seen) >= stay
    assert once(seen) <= stay | {"new-%d" % i for i in range(300)}
    directory.rewind()
    now = stay | {"new-%d" % i for i in range(1, 300, 2)}
    assert once(directory.names()) == now
    # Behind the end, too.
    for i in range(1, 300, 2):
        os.unlink(os.path.join(path, "new-%d" % i))
    directory.rewind()
    assert once(directory.names()) == stay
    directory.close()


def test_offsets(path):
    """The kernel's offset is where a buffer ends: whoever has the descriptor goes on there."""
    wanted = by_kernel(path)
    directory = Directory(path)
    first = directory.names(1)
    other = Directory(path, os.dup(directory.fd))
    behind = once(other.names())
    other.close()
    # The end is the copy's, too.
    buffered = first + directory.names()
    assert once(buffered) | behind == wanted and not once(buffered) & behind
    # Moved by hand, it counts.
    os.lseek(directory.fd, 0, os.SEEK_SET)
    assert once(directory.names()) == wanted
    directory.rewind()
    head = directory.names(2)
    tail = rest_of(directory.fd)
    head += directory.names()
    assert once(head + tail) == wanted and tail
    directory.rewind()
    assert os.lseek(directory.fd, 0, os.SEEK_CUR) == 0
    assert once(rest_of(directory.fd)) == wanted and directory.read() is None
    directory.close()
    # From somewhere on.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    room = ctypes.create_string_buffer(4096)
    got = libc.getdents64(fd, room, 4096)
    names, at = [], 0
    while at < got:
        names.append(entry_at(ctypes.addressof(room) + at)[0])
        at += entry_at(ctypes.addressof(room) + at)[4]
    directory = Directory(path, fd)
    assert once(names + directory.names()) == wanted
    directory.close()


def test_fork(path):
    """A child goes on where its parent was, and shares the offset with it."""
    wanted = by_kernel(path)
    for count in [0, 1, 300, 3000]:
        directory = Directory(path)
        head = directory.names(count)
        pid = os.fork()
        if pid == 0:
            try:
                assert once(head + directory.names()) == wanted
                directory.rewind()
                assert once(directory.names()) == wanted
                fresh = Directory(path)
                assert once(fresh.names()) == wanted
                fresh.close()
                directory.close()
                os._exit(0)
            except BaseException as error:
                print("child", error, flush=True)
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        # The child has left the offset at the end.
        assert once(head + directory.names()) <= wanted
        directory.rewind()
        assert once(directory.names()) == wanted
        directory.close()


def test_ends(path):
    """A directory that was removed has no entries, a descriptor that was closed has none to give."""
    # Its server may be another than that of its name, and hear of it later.
    for how in ["at once", "rewound"] * 50:
        gone = os.path.join(path, "gone")
        os.mkdir(gone)
        directory = Directory(gone)
        if how == "rewound":
            assert directory.names() == [".", ".."]
            directory.rewind()
        os.rmdir(gone)
        entry = directory.read()
        assert entry is None, (how, entry)
        directory.close()
    directory = Directory(path)
    os.close(directory.fd)
    assert directory.read() == EBADF
    libc.closedir(directory.stream)
    assert not libc.opendir(os.path.join(path, "absent").encode()) and ctypes.get_errno() == 2
    # Another file at its number.
    directory = Directory(path)
    os.mkdir(os.path.join(path, "elsewhere"))
    other = os.open(os.path.join(path, "elsewhere"), os.O_RDONLY | os.O_DIRECTORY)
    directory.names(1)
    directory.rewind()
    os.dup2(other, directory.fd)
    assert directory.names() == [".", ".."]
    directory.close()
    os.close(other)
    os.rmdir(os.path.join(path, "elsewhere"))


def test_threads(path):
    """Each entry of one stream goes to one thread; streams of their own do not mind each other."""
    wanted, failed = by_kernel(path), []
    threading.excepthook = lambda raised: failed.append(repr(raised.exc_value))
    shared, seen = Directory(path), []

    def alone():
        for _ in range(5):
            directory = Directory(path)
            assert once(directory.names()) == wanted
            directory.close()

    def together():
        seen.extend(shared.names(how="readdir64_r"))

    threads = [threading.Thread(target=each) for each in [alone, together] * 4]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed, failed
    assert once(seen) == wanted
    shared.close()


def test_times(path):
    """Reading changes the access time, as relatime has it."""
    os.utime(path, (1000, 2000))
    directory = Directory(path)
    directory.names()
    directory.close()
    assert os.stat(path).st_atime > 2000


def test_watch(path, prefix):
    """Until told to end: all that begins with the prefix is there once, whatever comes and goes beside it."""
    wanted = {name for name in by_kernel(path) if name.startswith(prefix)}
    told = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
    directory, rounds = Directory(path), 0
    while not told.is_set() or rounds < 3:
        names = once(directory.names())
        assert {name for name in names if name.startswith(prefix)} == wanted
        assert {".", ".."} <= names
        directory.rewind()
        rounds += 1
    directory.close()


def test_churn(path, prefix, seconds):
    """Names come and go."""
    end, i = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        for j in range(20):
            open(os.path.join(path, prefix + str(i + j)), "w").close()
        for j in range(20):
            os.unlink(os.path.join(path, prefix + str(i + j)))
        i += 20


def test_wait(path):
    """Begins to read, goes on when told, and says how it ended: an errno, or 0."""
    directory = Directory(path)
    count = len(directory.names(1))
    print("began", flush=True)
    sys.stdin.readline()
    while (entry := directory.read()) is not None and not isinstance(entry, int):
        count += 1
    print(count, entry or 0, flush=True)
    directory.rewind()
    entry = directory.read()
    print(entry if isinstance(entry, int) else "an entry", flush=True)


globals()["test_" + sys.argv[1]](*sys.argv[2:])
print("ok")
