"""Four ranks on one shared file, by MPI-IO: blocks in turn, by all together and each alone, and a shared pointer.
usage: mpirun -np 4 python3 intercept-mpi.py PATH"""
import sys
from mpi4py import MPI

world = MPI.COMM_WORLD
rank, ranks = world.Get_rank(), world.Get_size()
BLOCK, BLOCKS = 100_000, 8
path = sys.argv[1]


def block(whose, i):
    return bytes([65 + (whose * BLOCKS + i) % 26]) * BLOCK


def check(what, got, wanted):
    if bytes(got) != wanted:
        print("rank %d: %s is not what was written" % (rank, what), flush=True)
        world.Abort(1)


file = MPI.File.Open(world, path, MPI.MODE_CREATE | MPI.MODE_RDWR)
file.Set_atomicity(True)
for i in range(BLOCKS):
    write = file.Write_at_all if i % 2 == 0 else file.Write_at
    write((i * ranks + rank) * BLOCK, block(rank, i))
file.Sync()
world.Barrier()
for whose in range(ranks):
    for i in range(BLOCKS):
        found = bytearray(BLOCK)
        read = file.Read_at_all if i % 2 == 0 else file.Read_at
        read((i * ranks + whose) * BLOCK, found)
        check("block %d of rank %d" % (i, whose), found, block(whose, i))
if file.Get_size() != ranks * BLOCKS * BLOCK:
    world.Abort(1)
# In the order of ranks, behind one another.
file.Seek_shared(ranks * BLOCKS * BLOCK)
file.Write_ordered(bytes([48 + rank]) * 1000)
file.Sync()
file.Close()
world.Barrier()
with open(path, "rb") as whole:
    content = whole.read()
check("the file", content[:ranks * BLOCKS * BLOCK],
      b"".join(block(whose, i) for i in range(BLOCKS) for whose in range(ranks)))
check("what was written in order", content[ranks * BLOCKS * BLOCK:],
      b"".join(bytes([48 + whose]) * 1000 for whose in range(ranks)))
if rank == 0:
    print("done")
