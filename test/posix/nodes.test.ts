/** Nodes that are not files, names and paths at their limits, times far from now. */
import { places } from './places.js';
import type { Places } from './places.js';

describe('nodes, names and times', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('makes every kind of node, with its mode, device number and owner', async () => {
    await ground.compare(`
      mknod fifo fifo 0640
      mknod sock socket 0755
      mknod null char 0666 1 3
      mknod disk block 0600 259 1048575
      mknod plain file 0604
      mknod dir directory 0755
      mknod fifo fifo 0640
      mknod missing/fifo fifo 0640
      mknod plain/fifo fifo 0640
      as 1000:1000 mknod theirs fifo 0666
      as 1000:1000 mknod device char 0666 1 3
      stat fifo type,mode,nlink,size,uid,gid,rdev
      stat sock type,mode,nlink,size,rdev
      stat null type,mode,nlink,size,rdev
      stat disk type,mode,nlink,size,rdev
      stat plain type,mode,nlink,size,rdev
      stat theirs type,mode,uid,gid
      list .
      n= open null O_RDWR
      write $n text
      read $n 10
      open sock O_RDWR
      open fifo O_RDWR|O_NONBLOCK
      recent fifo
      chmod null 0400
      chown fifo 12 34
      link sock sock2
      rename sock2 sock3
      stat sock3 type,nlink
      stat fifo type,uid,gid
      unlink null
      unlink fifo
      unlink sock
      unlink sock3
      unlink disk
      list .
    `);
  });

  it('applies the umask to every kind of node', async () => {
    await ground.compare(`
      umask 027
      mkdir d 0777
      mknod f fifo 0666
      x= open x O_RDWR|O_CREAT 0666
      symlink target s
      stat d mode
      stat f mode
      stat x mode
      lstat s mode
      umask 0
      y= open y O_RDWR|O_CREAT 07777
      mkdir e 07777
      stat y mode
      stat e mode
    `);
  });

  it('refuses names and paths that are too long', async () => {
    await ground.compare(`
      namemax .
      mknod {n*255} file 0644
      mknod {n*256} file 0644
      mkdir {n*256} 0755
      symlink x {n*256}
      link {n*255} {n*256}
      rename {n*255} {n*256}
      rename {n*255} {m*255}
      unlink {n*256}
      stat {n*256} type
      open {n*256} O_RDONLY
      stat {./*2047}{m*2} type
      stat {./*1920}{m*255} type
      stat {./*2100}x type
      symlink {t*4095} long
      symlink {t*4096} longer
      symlink "" empty
      readlink long
      readlink long 7
      deep {d*200} 40
      rmdir {d*200}
    `);
  });

  it('keeps times before 1970, after 2038 and to the nanosecond', async () => {
    await ground.compare(`
      a= open a O_RDWR|O_CREAT 0644
      utimens a 1.000000001 2.999999999
      stat a atime,mtime
      utimens a 2147483648.5 4294967296.123456789
      stat a atime,mtime
      utimens a -1 -1.5
      stat a atime,mtime
      utimens a -2147483648 -2147483648
      stat a atime,mtime
      futimens $a 0 15032385535
      fstat $a atime,mtime
      utimens a omit 7
      stat a atime,mtime
      utimens a 8 omit
      stat a atime,mtime
      mkdir d 0755
      utimens d 1000000000000.5 1.25 
      symlink x s
      utimens s 3 4 AT_SYMLINK_NOFOLLOW
      lstat s atime,mtime
      utimens missing 1 1
    `);
    // ext4 ends in 2446; here seconds have 53 bits.
    await ground.expect(`
      mknod f file 0644
      utimens f 1000000000000.5 -1000000000000.25
      stat f atime,mtime    => 1000000000000.500000000 -1000000000001.750000000
    `);
  });

  it('lets the right users set times', async () => {
    await ground.compare(`
      as 1000:1000 mknod mine file 0644
      as 1001:1001 utimens mine 1 1
      as 1001:1001 utimens mine now now
      chmod mine 0666
      as 1001:1001 utimens mine 1 1
      as 1001:1001 utimens mine now now
      as 1001:1001 utimens mine now omit
      as 1000:1000 utimens mine 5 6
      stat mine atime,mtime
    `);
  });
});

describe('times that operations change', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('of files', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      recent f
      snap f
      write $f hello
      changed f
      snap f
      chmod f 0600
      changed f
      snap f
      chown f 1 1
      changed f
      snap f
      ftruncate $f 100
      changed f
      snap f
      ftruncate $f 100
      changed f
      snap f
      truncate f 100
      changed f
      snap f
      link f g
      changed f
      snap f
      rename g h
      changed f
      snap f
      unlink h
      changed f
      snap f
      utimens f 1 omit
      changed f
      snap f
      utimens f omit omit
      changed f
      snap f
      utimens f now now
      changed f
      snap f
      fsync $f
      changed f
      snap f
      open f O_RDWR|O_TRUNC
      changed f
      snap f
      open f O_RDWR|O_TRUNC
      changed f
      snap f
      open f O_RDWR
      changed f
      snap f
      pwrite $f 3000000 "beyond the first chunk"
      changed f
    `);
  });

  it('of directories', async () => {
    await ground.compare(`
      mkdir d 0755
      snap d
      mkdir d/sub 0755
      changed d
      snap d
      mknod d/file file 0644
      changed d
      snap d
      symlink x d/link
      changed d
      snap d
      chmod d/file 0600
      changed d
      snap d
      rename d/file d/moved
      changed d
      snap d
      link d/moved d/second
      changed d
      snap d
      unlink d/second
      changed d
      snap d
      rmdir d/sub
      changed d
      snap d
      chmod d 0700
      changed d
    `);
  });
});
