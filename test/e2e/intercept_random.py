"""What the programs of random calls have in common (intercept-attributes.py, intercept-xattrs.py): files of several
owners and modes, files that stay open, and what either side sees of them."""
import ctypes, errno, os, random, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
CWD, NO_FOLLOW, EMPTY_PATH = -100, 0x100, 0x1000
USER, GROUP, OTHER = 1000, 4242, 1001
# Version 2; user::rw-, user:1000:rw-, group::r--, mask::rw-, other::r--
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in [
    (1, 6, 0xffffffff), (2, 6, USER), (4, 4, 0xffffffff), (16, 6, 0xffffffff), (32, 4, 0xffffffff)])
OWNERS = {"u": (USER, USER), "g": (USER, GROUP), "o": (OTHER, 99), "s": (OTHER, GROUP)}
# "listed": with an access control list.
DIRECTORIES = {"dir": 0o2775, "sticky": 0o1777}


def make(path, bits, ids):
    """`bits`: the mode of a file, or what it is."""
    if bits in DIRECTORIES:
        os.mkdir(path)
    elif bits == "link":
        os.symlink("%s0" % os.path.basename(path)[0], path)
    elif bits == "fifo":
        os.mkfifo(path)
    else:
        with open(path, "w") as file:
            file.write(path * 10)
    os.chown(path, *ids, follow_symlinks=False)
    if isinstance(bits, int):
        os.chmod(path, bits)
    elif bits == "listed":
        os.setxattr(path, "system.posix_acl_access", ACL)
    elif bits != "link":
        os.chmod(path, DIRECTORIES.get(bits, 0o2775))


def make_all(directory, places, kinds, also=lambda path, number: None):
    """In each place one of each kind of each owner: u0, u1, …"""
    os.makedirs(directory)
    os.chmod(directory, 0o777)
    os.chdir(directory)
    for place, mode in places:
        os.mkdir(place)
        for owner, ids in OWNERS.items():
            for number, bits in enumerate(kinds):
                path = os.path.join(place, "%s%d" % (owner, number))
                make(path, bits, ids)
                also(path, number)
        os.chown(place, 0, GROUP)
        os.chmod(place, mode)


def attempt(call, *values):
    try:
        result = call(*values)
        return "ok" if result is None or result == 0 else result
    except OSError as error:
        return errno.errorcode[error.errno]


def open_one(chance, path, opened):
    flags = chance.choice([os.O_RDWR, os.O_RDWR, os.O_RDONLY, os.O_WRONLY | os.O_APPEND])
    fd = os.open(path, flags | os.O_NONBLOCK)
    opened.append((fd, path))
    if len(opened) > 5:
        os.close(opened.pop(0)[0])
    if flags == os.O_RDONLY:
        return os.pread(fd, 10, 0)
    return os.write(fd, b"opened")


def seen_by_both(chance, path, sights, text):
    """What either side sees, in any order."""
    if chance.random() < 0.5:
        sights = sights[::-1]
    seen = [attempt(sight, path) for sight in sights]
    if seen[0] != seen[1]:
        sys.exit("%s: %s" % (text, seen))
    return seen[0]


def main(prepare, step):
    if sys.argv[1] == "prepare":
        prepare(sys.argv[2])
        return
    os.chdir(sys.argv[1])
    chance = random.Random(int(sys.argv[2]))
    opened = []
    own = os.open("free/own", os.O_RDWR | os.O_CREAT, 0o644), "free/own"
    os.write(own[0], b"opened")
    for number in range(int(sys.argv[3])):
        print(number, step(chance, opened, own), flush=True)
