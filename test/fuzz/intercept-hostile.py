"""Attaches to a mount as the preload library does (native/common/intercept_layout.h), then writes garbage to what it
shares with the mount process, in children that die in the middle of it.
usage: intercept-hostile.py DIRECTORY SEED SECONDS
       intercept-hostile.py DIRECTORY SEED SECONDS data: proper calls, whose data changes while they are under way;
       prints how many were done, and how many were refused"""
import mmap, os, random, select, signal, socket, struct, sys, threading, time

directory, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
LANES, LANE, DATA, DATA_BYTES = 64, 4096, 65536, 1 << 20
REGION = DATA + LANES * DATA_BYTES
BELL, ASLEEP = 64, 128
OPERATIONS = 52  # some more than there are
end = time.monotonic() + seconds
pipes = []


def attach():
    """The connection and the region; None: refused, for there are too many of us."""
    device = os.stat(directory).st_dev
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(20)
    connection.connect("\0sealfs-intercept/%d:%d" % (os.major(device), os.minor(device)))
    message, fds, _, _ = socket.recv_fds(connection, 8, 1)
    magic, status = struct.unpack("<II", message)
    assert magic == 0x53464C31, magic
    if status != 0:
        connection.close()
        return None
    region = mmap.mmap(fds[0], REGION)
    os.close(fds[0])
    connection.settimeout(0)
    return connection, region


def descriptors():
    """Of all kinds."""
    path = os.path.join(directory, "own-%d" % os.getpid())
    own = os.open(path, os.O_RDWR | os.O_CREAT)
    os.truncate(path, 5_000_000)
    gone = os.open(path + "-gone", os.O_RDWR | os.O_CREAT)
    os.unlink(path + "-gone")
    many = select.epoll()
    pipes.extend(os.pipe() for _ in range(50))
    for ends in pipes:
        many.register(ends[0])
    return [own, gone, os.dup(many.fileno()), os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY | os.O_APPEND),
            os.open(path, os.O_PATH), os.open(directory, os.O_RDONLY), os.open(directory, os.O_PATH | os.O_DIRECTORY),
            os.open(directory, os.O_RDONLY | os.O_DIRECTORY),
            os.open("/etc/passwd", os.O_RDONLY), os.open("/proc/self/fdinfo/0", os.O_RDONLY), pipes[0][0]]


class Writer:
    def __init__(self, chance, connection, region, fds):
        self.chance, self.connection, self.region = chance, connection, region
        self.fds = fds
        self.handles = [0, 1, 0x10001]
        self.inodes = [os.fstat(fd).st_ino for fd in fds]

    def word(self, at, value):
        struct.pack_into("<I", self.region, at, value & 0xFFFFFFFF)

    def ring(self, bits):
        struct.pack_into("<Q", self.region, BELL, bits)
        try:
            self.connection.send(b"!")
        except BlockingIOError:
            pass

    def request(self, lane, operation, handle, offset, length, flags, second=(0, 0)):
        struct.pack_into("<IIIIQIIII", self.region, LANE + 128 * lane, 1, 0, operation, handle, offset, length, flags,
                         *second)

    def learn(self):
        """Handles of what can be opened, as the library would."""
        for fd, inode in zip(self.fds, self.inodes):
            self.request(0, 1, fd, inode, 0, 0)
            self.ring(1)
            until = time.monotonic() + 2
            while struct.unpack_from("<I", self.region, LANE)[0] != 2 and time.monotonic() < until:
                time.sleep(0.0005)
            status, _, value = struct.unpack_from("<IIQ", self.region, LANE + 64)
            if status == 0:
                self.handles.append(value)

    def nearly_right(self):
        chance = self.chance
        for _ in range(chance.randrange(1, 20)):
            handle = chance.choice(self.handles if chance.random() < 0.8 else self.fds)
            offset = chance.choice([0, 4096, 4_999_999, chance.getrandbits(64), 2**52, *self.inodes])
            length = chance.choice([0, 1, 10, 24, 4096, 70_000, DATA_BYTES, DATA_BYTES + 1, chance.getrandbits(32)])
            self.request(chance.randrange(LANES), chance.randrange(OPERATIONS), handle, offset, length,
                         chance.choice([0, 0, 1, 2, chance.getrandbits(32)]))
        self.ring(chance.getrandbits(64))

    def path(self):
        lane = self.chance.randrange(LANES)
        parts = [b"own", b"..", b".", b"", b"x" * 300, b"\xff\0\x01", b"own-1", b"dir"]
        path = b"/".join(self.chance.choices(parts, k=self.chance.randrange(1, 80)))[:DATA_BYTES]
        self.region[DATA + lane * DATA_BYTES:DATA + lane * DATA_BYTES + len(path)] = path
        # Cut anywhere, it is two paths.
        first = self.chance.choice([len(path), self.chance.randrange(len(path) + 1)])
        rest, handle = len(path) - first, self.chance.choice(self.handles)
        second = self.chance.choice([(0, 0), (0, rest), (0, 24), (handle, rest)])
        self.request(lane, 5 + self.chance.randrange(OPERATIONS - 5), self.chance.choice(self.handles), 0, first,
                     self.chance.choice([0, 1, 2, 0o22000755]), second)
        self.ring(1 << lane)

    def attribute(self):
        chance, lane = self.chance, self.chance.randrange(LANES)
        path = chance.choice([b"", b"", b"own-%d" % os.getpid(), b"dir", b"own-1/x"])
        name = chance.choice([b"user.a", b"user.", b"user.\xff\0\x01", b"trusted.a", b"", b"user." + b"n" * 300])
        value = chance.choice([0, 1, 4096, 30_000, 65_536, 65_537, chance.getrandbits(64)])
        self.region[DATA + lane * DATA_BYTES:DATA + lane * DATA_BYTES + len(path + name)] = path + name
        self.request(lane, 29 + chance.randrange(4), chance.choice(self.handles), value, len(path),
                     chance.choice([0, 0, 1, 2, 4, 6, 8]), (0, len(name)))
        self.ring(1 << lane)

    def noise(self):
        at = self.chance.choice([0, BELL, ASLEEP, LANE, DATA, self.chance.randrange(REGION - 4096)])
        bytes_ = self.chance.choice([1, 8, 200, 4096])
        self.region[at:at + bytes_] = self.chance.randbytes(bytes_)

    def messages(self):
        try:
            for _ in range(self.chance.randrange(300)):
                self.connection.send(self.chance.randbytes(self.chance.randrange(1, 100)))
        except BlockingIOError:
            pass

    def numbers(self):
        """The descriptors are other files from now on, while they are asked about."""
        fd = self.chance.choice(self.fds)
        os.dup2(self.chance.choice(self.fds), fd)

    def step(self):
        kinds = [self.nearly_right] * 6 + [self.path] * 4 + [self.attribute] * 3 + [self.noise] * 2 + [self.messages, self.numbers]
        self.chance.choice(kinds)()


def change_words(writer, chance):
    """Requests change while they are read, and so does all the rest."""
    while True:
        lane = LANE + 128 * chance.randrange(LANES)
        writer.word(lane + 4 * chance.randrange(20), chance.choice([0, 1, 2, 3, 5, 4096, chance.getrandbits(32)]))


def remove_files(pid):
    """Some have filled the volume."""
    for name in ("own-%d" % pid, "own-%d-gone" % pid):
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:
            pass


def child(number):
    chance = random.Random("%d %d" % (seed, number))
    attached = attach()
    if attached is None:
        return
    writer = Writer(chance, *attached, descriptors())
    writer.learn()
    if chance.random() < 0.5:
        threading.Thread(target=change_words, args=(writer, random.Random(number)), daemon=True).start()
    until = min(end, time.monotonic() + chance.random() * 0.6)
    while time.monotonic() < until:
        try:
            writer.step()
        except (ConnectionError, BrokenPipeError):
            break  # it was sent away
    # Calls are under way.
    os.kill(os.getpid(), chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]))


def main():
    number, running = 0, {}
    while time.monotonic() < end or number == 0:
        while len(running) < 3:
            number += 1
            pid = os.fork()
            if pid == 0:
                try:
                    child(number)
                except BaseException as error:
                    print("child %d: %r" % (number, error), flush=True)
                    os._exit(1)
                os._exit(0)
            running[pid] = number
        pid, status = os.waitpid(-1, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            # Its memory stays a while with nobody behind it.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        elif os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
            sys.exit("child %d of seed %d ended with %d" % (running[pid], seed, os.WEXITSTATUS(status)))
        del running[pid]
        remove_files(pid)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        remove_files(pid)
    print("%d programs" % number)


def change_data(region):
    count = 0
    while True:
        count += 1
        for at in range(0, 4 * DATA_BYTES, DATA_BYTES // 4):
            struct.pack_into("<I", region, DATA + at + count % 4096, count & 0xFFFFFFFF)


def data():
    connection, region = attach()
    path = os.path.join(directory, "changing")
    writer = Writer(random.Random(seed), connection, region, [os.open(path, os.O_RDWR | os.O_CREAT)])
    writer.learn()
    changer = os.fork()
    if changer == 0:
        change_data(region)
    try:
        print(*write_and_read(region, writer))
    finally:
        os.kill(changer, signal.SIGKILL)
        os.waitpid(changer, 0)


def write_and_read(region, writer):
    """How many calls were done, and how many were refused."""
    ended = {0: 0, 5: 0}  # EIO
    while time.monotonic() < end:
        lengths = [writer.chance.choice([100, 4096, 8000, 20_000, DATA_BYTES]) for _ in range(4)]
        for lane, length in enumerate(lengths):
            writer.request(lane, writer.chance.choice([3, 4]), writer.handles[-1], lane * DATA_BYTES, length, 0)
        writer.ring(0b1111)
        until = time.monotonic() + 10
        for lane in range(4):
            while struct.unpack_from("<I", region, LANE + 128 * lane)[0] != 2:
                assert time.monotonic() < until, "a call does not end"
                time.sleep(0.0002)
            ended[struct.unpack_from("<I", region, LANE + 128 * lane + 64)[0]] += 1
    return ended[0], ended[5]


if sys.argv[4:] == ["data"]:
    data()
else:
    main()
