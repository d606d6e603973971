"""Fills the volume, makes sure of what was acknowledged, makes room and goes on.
usage: full-disk.py MOUNT OTHER SEED: MOUNT and OTHER are two mounts of one volume"""
import errno, os, random, sys, time

mount, other, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = random.Random(seed)
MIB = 1 << 20
SIZES = [MIB, 300_000, 65_536, 4096, 100]
ROOM_SECONDS = 20  # removed data is given back in the background


def is_full(error):
    return error.errno == errno.ENOSPC


def piece(at, length):
    """What is to stand from `at` on: never the same at two multiples of 8."""
    first = at - at % 8
    words = b"".join(word.to_bytes(8, "little") for word in range(first, at + length + 8, 8))
    return words[at - first : at - first + length]


def write_all(fd, at, length):
    """Bytes that were acknowledged; fewer only if the disk is full."""
    done = 0
    while done < length:
        try:
            done += os.pwrite(fd, piece(at + done, length - done), at + done)
        except OSError as error:
            if not is_full(error):
                raise
            break
    return done


def check(path, length):
    with open(path, "rb") as file:
        for at in range(0, length, MIB):
            count = min(MIB, length - at)
            found = file.read(count)
            assert found == piece(at, count), f"{path}: what was acknowledged at {at} is not there"


def fill(fd, start):
    """From large pieces to small ones, until not even those fit; returns how far it came."""
    at = start
    for size in SIZES:
        refused = 0
        while refused < 3:
            done = write_all(fd, at, size)
            at += done
            refused += done < size
    return at


kept = f"{mount}/kept"
with open(kept, "wb", buffering=0) as file:
    assert write_all(file.fileno(), 0, 4 * MIB) == 4 * MIB

fd = os.open(f"{mount}/big", os.O_RDWR | os.O_CREAT)
length = fill(fd, 0)
assert length > 16 * MIB, f"full after {length} bytes"
os.fsync(fd)
assert os.fstat(fd).st_size == length, "the size is that of what was acknowledged"
assert os.stat(f"{other}/big").st_size == length
check(f"{other}/big", length)
check(f"{mount}/big", length)

# A change in place needs room or none; it is there as a whole or not at all.
for _ in range(20):
    at = rng.randrange(4 * MIB - 8192)
    with open(kept, "r+b", buffering=0) as file:
        try:
            file.seek(at)
            file.write(piece(at, 8192))
        except OSError as error:
            assert is_full(error), error
check(kept, 4 * MIB)
check(f"{other}/kept", 4 * MIB)

# Names need no room for data.
os.mkdir(f"{mount}/d")
os.rename(kept, f"{mount}/d/kept")
os.symlink("kept", f"{mount}/d/link")
os.chmod(f"{mount}/d/kept", 0o600)
check(f"{other}/d/link", 4 * MIB)
os.rename(f"{mount}/d/kept", kept)
os.unlink(f"{mount}/d/link")
os.rmdir(f"{mount}/d")

# What is cut off is room for others.
half = length // 2
os.ftruncate(fd, half)
end = time.monotonic() + ROOM_SECONDS
second = os.open(f"{mount}/second", os.O_RDWR | os.O_CREAT)
done = 0
while done < 8 * MIB:
    done += write_all(second, done, min(MIB, 8 * MIB - done))
    assert time.monotonic() < end, f"room for {done} bytes after {length - half} were cut off"
check(f"{other}/second", done)
check(f"{other}/big", half)

# And so is what is removed, once it is closed.
os.unlink(f"{mount}/big")
check_open = os.pread(fd, 8192, 0)
assert check_open == piece(0, 8192), "an open file outlives its name"
os.close(fd)
end = time.monotonic() + ROOM_SECONDS
while done < 24 * MIB:
    done += write_all(second, done, min(MIB, 24 * MIB - done))
    assert time.monotonic() < end, f"room for {done} bytes after all but {done} were removed"
os.fsync(second)
os.close(second)
check(f"{other}/second", done)
os.unlink(f"{mount}/second")
os.unlink(kept)
