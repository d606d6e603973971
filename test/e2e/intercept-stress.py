"""Calls on few names of one directory that others work in, too, and on own names, which must be there when they were
made, and gone when they were removed.
usage: intercept-stress.py WHO SECONDS"""
import os, random, sys, time

who, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
chance = random.Random(who)


def attempt(call, *values):
    try:
        return call(*values)
    except OSError as error:
        return error.errno


def make(path, flags=0):
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | flags))


def others():
    one, two = ("stress/%d" % chance.randrange(12) for _ in range(2))
    call, *values = chance.choice([(make, one), (os.unlink, one), (os.mkdir, one), (os.rmdir, one), (os.stat, one),
                                   (os.rename, one, two), (os.link, one, two), (os.symlink, two, one),
                                   (os.listdir, "stress")])
    attempt(call, *values)


def own(path):
    assert not os.path.lexists(path), "not there yet"
    make(path, os.O_EXCL)
    assert os.path.lexists(path), "made"
    os.rename(path, path + "x")
    assert not os.path.lexists(path), "renamed"
    assert os.stat(path + "x").st_nlink == 1
    os.unlink(path + "x")
    assert not os.path.lexists(path + "x"), "removed"
    os.mkdir(path)
    make(path + "/f")
    assert attempt(os.rmdir, path) == 39, "not empty"
    os.unlink(path + "/f")
    os.rmdir(path)
    assert not os.path.lexists(path), "removed directory"


rounds = 0
while time.monotonic() < end:
    rounds += 1
    others()
    own("stress/%s-%d" % (who, rounds % 5))
print(rounds)
