/** Space: fallocate, holes, lseek to data and holes, over chunks and targets. */
import { places } from './places.js';
import type { Places } from './places.js';

describe('space of files', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('preallocates, with and without a new size', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fallocate $f 0 0 5000000
      stat f size
      digest $f 0 6000000
      fallocate $f FALLOC_FL_KEEP_SIZE 5000000 3000000
      stat f size
      fill $f 1000000 2500000 1
      fallocate $f 0 0 9000000
      digest $f 0 10000000
      stat f size
      truncate f 3000000
      fallocate $f FALLOC_FL_KEEP_SIZE 0 100
      digest $f 0 10000000
      posix_fallocate $f 2999990 20
      stat f size
    `);
  });

  it('makes holes and zeroes ranges, at chunk borders and off them', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 7340032 2
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 100 50
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 1000000 3000000
      digest $f 0 8000000
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 1048576 1048576
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 7000000 9000000
      digest $f 0 8000000
      stat f size
      fill $f 2000000 10000 3
      fallocate $f FALLOC_FL_ZERO_RANGE 5000000 1100000
      fallocate $f FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE 7000000 1100000
      stat f size
      fallocate $f FALLOC_FL_ZERO_RANGE 7000000 1100000
      stat f size
      digest $f 0 9000000
      fill $f 5500000 200000 4
      digest $f 0 9000000
    `);
  });

  it('finds data and holes', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      lseek $f 0 SEEK_DATA
      lseek $f 0 SEEK_HOLE
      ftruncate $f 20971520
      lseek $f 0 SEEK_DATA
      lseek $f 0 SEEK_HOLE
      lseek $f 20971520 SEEK_HOLE
      lseek $f 20971519 SEEK_HOLE
      lseek $f -1 SEEK_DATA
      fill $f 3145728 2097152 1
      fill $f 10485760 4096 1
      fill $f 20967424 4096 1
      lseek $f 0 SEEK_DATA
      lseek $f 3145728 SEEK_DATA
      lseek $f 4000000 SEEK_DATA
      lseek $f 3145728 SEEK_HOLE
      lseek $f 4194304 SEEK_HOLE
      lseek $f 5242880 SEEK_DATA
      lseek $f 10489856 SEEK_DATA
      lseek $f 20967424 SEEK_HOLE
      lseek $f 0 SEEK_CUR
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 4194304 8192
      lseek $f 3145728 SEEK_HOLE
      lseek $f 4194304 SEEK_DATA
      fallocate $f 0 0 1048576
      lseek $f 0 SEEK_DATA
    `);
  });

  it('says what Linux says of wrong calls', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      r= open f O_RDONLY
      d= open . O_RDONLY|O_DIRECTORY
      mknod fifo fifo 0644
      p= open fifo O_RDWR|O_NONBLOCK
      fallocate $f 0 0 0
      fallocate $f 0 -1 10
      fallocate $f 0 0 -10
      fallocate $f 0 9223372036854775807 10
      fallocate $f FALLOC_FL_PUNCH_HOLE 0 4096
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE 0 4096
      fallocate $f 128 0 4096
      fallocate $r 0 0 4096
      fallocate $d 0 0 4096
      fallocate $p 0 0 4096
      fallocate 99 0 0 4096
      lseek $d 0 SEEK_SET
      lseek $p 0 SEEK_DATA
      lseek $f 0 7
      stat f size
    `);
  });

  it('refuses to move data, clearly', async () => {
    await ground.expect(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 3145728 1  => 3145728
      fallocate $f FALLOC_FL_COLLAPSE_RANGE 0 1048576  => EOPNOTSUPP
      fallocate $f FALLOC_FL_INSERT_RANGE 0 1048576  => EOPNOTSUPP
      stat f size  => 3145728
    `);
  });

  it('clears the set-ID bits and changes the times as a write does', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 10000 1
      chown f 1000 1000
      chmod f 06775
      snap f
      as 1000:1000 g= open f O_RDWR
      as 1000:1000 fallocate $g FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 0 5000
      stat f mode,size
      changed f
      chmod f 06775
      as 1000:1000 fallocate $g 0 0 50000
      stat f mode,size
    `);
  });
});
