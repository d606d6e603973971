/** Reading, writing and lengths: error cases, places far behind the end, limits of the process. */
import { places } from './places.js';
import type { Places } from './places.js';

const TOP = '9223372036854775807'; // 8 EiB - 1
const LARGEST = '9007199254740991'; // of a file here: 2^53 - 1
const BEYOND = '9007199254740992';

describe('reading and writing', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('move the place, and end where the file ends', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      read $f 10
      write $f ""
      stat f size
      write $f hello
      read $f 10
      lseek $f 0 SEEK_SET
      read $f 3
      read $f 0
      read $f 10
      read $f 10
      lseek $f 100 SEEK_SET
      read $f 10
      stat f size
      write $f !
      stat f size
      pread $f 0 200
      lseek $f -1 SEEK_END
      read $f 10
      lseek $f -200 SEEK_END
      lseek $f -200 SEEK_CUR
      lseek $f -1 SEEK_SET
      lseek $f 0 9
      lseek $f 10 SEEK_END
      lseek $f 0 SEEK_CUR
      pread $f -1 4
      pwrite $f -1 x
      pread $f 101 4
      read 99 1
      write 99 x
      lseek 99 0 SEEK_SET
      dup 99
      writes $f 0 3000000
      lseek $f 0 SEEK_CUR
      digest $f 0 4000000
    `);
  });

  it('of several pieces of memory at once', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      pwritev $f -1 0 one "" two three
      lseek $f 0 SEEK_CUR
      pwritev $f 100 0 far
      lseek $f 0 SEEK_CUR
      preadv $f 0 0 3 0 3 100
      preadv $f -1 0 3 3
      preadv $f 1000 0 5
      pwritev $f 0 RWF_DSYNC synced
      pwritev $f 0 RWF_SYNC synced
      pwritev $f 0 1024 x
      pwritev $f -2 0 x
      preadv $f -2 0 1
      vectors $f 0
      vectors $f 1024
      vectors $f 1025
      vectors $f -1
      vectors 99 1
      pwritev $f 1048570 0 across-the-border
      preadv $f 1048565 0 6 7 40
      stat f size
    `);
  });

  it('of memory that is not there', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      d= open . O_RDONLY|O_DIRECTORY
      symlink x link
      setxattr f user.a value
      write $f hello
      bad read $f
      bad write $f
      bad readv $f
      bad getdents $d
      bad fstat $f
      bad open $f
      bad stat $f
      bad mkdir $f
      bad rename $f
      bad readlink $f
      bad utimens $f
      bad fgetxattr $f
      pread $f 0 10
      stat f size
    `);
  });

  it('far behind every end', async () => {
    await ground.compareInMemory(`
      f= open f O_RDWR|O_CREAT 0644
      write $f hello
      lseek $f ${TOP} SEEK_SET
      read $f 10
      write $f x
      lseek $f 1 SEEK_CUR
      pread $f ${TOP} 1
      pread $f 9223372036854775806 1
      pread $f ${BEYOND} 10
      pread $f ${LARGEST} 10
      pread $f 4611686018427387904 1048576
      pwrite $f ${TOP} x
      lseek $f ${BEYOND} SEEK_DATA
      lseek $f ${TOP} SEEK_HOLE
      lseek $f 4611686018427387904 SEEK_DATA
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE ${BEYOND} 4096
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 100 9223372036854770000
      fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 100 ${TOP}
      stat f size
      syncrange $f ${TOP} 0
      truncate f -1
      ftruncate $f -1
      truncate f -9223372036854775808
    `);
  });

  it('up to the largest file, and not beyond', async () => {
    await ground.expect(`
      f= open f O_RDWR|O_CREAT 0644  => ok
      ftruncate $f ${LARGEST}  => 0
      stat f size  => ${LARGEST}
      pread $f 9007199254740985 10  => 6 "\\x00\\x00\\x00\\x00\\x00\\x00"
      pread $f ${LARGEST} 10  => 0
      pwrite $f 9007199254740986 abcde  => 5
      pread $f 9007199254740984 10  => 7 "\\x00\\x00abcde"
      lseek $f 0 SEEK_DATA  => 9007199254740986
      lseek $f 0 SEEK_HOLE  => 0
      lseek $f 0 SEEK_END  => ${LARGEST}
      pwrite $f ${LARGEST} x  => EFBIG
      pwrite $f 9007199254740990 xy  => 1
      pwrite $f ${BEYOND} x  => EFBIG
      pwrite $f 4611686018427387904 x  => EFBIG
      truncate f ${BEYOND}  => EFBIG
      ftruncate $f ${BEYOND}  => EFBIG
      truncate f ${TOP}  => EFBIG
      fallocate $f 0 ${BEYOND} 1  => EFBIG
      fallocate $f 0 9007199254740000 4096  => EFBIG
      fallocate $f FALLOC_FL_ZERO_RANGE ${BEYOND} 4096  => EFBIG
      a= open f O_WRONLY|O_APPEND  => ok
      write $a x  => EFBIG
      stat f size  => ${LARGEST}
      ftruncate $f 0  => 0
      lseek $f 0 SEEK_DATA  => ENXIO
    `);
  });

  it('within RLIMIT_FSIZE', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fsizelimit 1000
      writes $f 0 900
      writes $f 900 900
      writes $f 1000 1
      writes $f 5000 1
      stat f size
      ftruncate $f 1001
      ftruncate $f 1000
      truncate f 2000
      fallocate $f 0 0 2000
      fallocate $f FALLOC_FL_KEEP_SIZE 0 2000
      stat f size
      a= open f O_WRONLY|O_APPEND
      write $a x
      fsizelimit -1
      write $a x
      stat f size
    `);
  });

  it('in ranges to be synchronised', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 2000000 1
      syncrange $f 0 0 SYNC_FILE_RANGE_WRITE
      syncrange $f 0 0 SYNC_FILE_RANGE_WAIT_BEFORE
      syncrange $f 5000000 4096
      syncrange $f 0 0 0
      syncrange $f 0 0 8
      syncrange $f 0 -1
      syncrange $f ${TOP} 10
      mkdir d 0755
      d= open d O_RDONLY
      syncrange $d 0 0
      symlink f l
      p= open l O_PATH|O_NOFOLLOW
      syncrange $p 0 0
    `);
  });

  it('of files that are gone, and of several descriptors', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 2500000 1
      unlink f
      fstat $f nlink,size
      fill $f 2500000 500000 1
      digest $f 0 4000000
      fchmod $f 0600
      fstat $f mode
      ftruncate $f 10
      fallocate $f 0 0 5000
      fstat $f size
      fsync $f
      fdlink $f f
      fdopen $f O_RDONLY
      g= open f O_RDWR|O_CREAT 0644
      write $g other
      digest $f 0 10
      close $f
      g2= dup $g
      write $g2 -more
      lseek $g 0 SEEK_CUR
      unlink f
      close $g
      pread $g2 0 100
      fstat $g2 nlink
    `);
  });
});

describe('truncate', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('cuts and extends with zeros, on every border', async () => {
    const sizes = [0, 1, 8191, 8192, 8193, 1048575, 1048576, 1048577, 3145728, 5000000];
    const each = sizes.map(
      (size) => `
        fill $f 0 4000000 1
        ftruncate $f ${size}
        stat f size
        digest $f 0 6000000
        truncate f 4500000
        digest $f 0 6000000
        ftruncate $f 0
      `,
    );
    await ground.compare(`f= open f O_RDWR|O_CREAT 0644\n${each.join('')}`);
  });

  it('asks for permission to write, once', async () => {
    await ground.compare(`
      mknod f file 0644
      as 1000:1000 truncate f 0
      chmod f 0666
      as 1000:1000 truncate f 100
      as 1000:1000 w= open f O_RDWR
      chmod f 0444
      as 1000:1000 ftruncate $w 50
      as 1000:1000 truncate f 10
      truncate f 20
      stat f size
      mknod fifo fifo 0666
      truncate fifo 0
      p= open fifo O_RDWR
      ftruncate $p 0
      mkdir d 0777
      truncate d 0
      truncate d -1
      symlink f l
      truncate l 5
      stat f size
      ftruncate 99 0
      ftruncate 99 -1
    `);
  });
});
