/** What processes of one host share: locks, mappings, and what inotify tells of one another. */
import { isIntercepted, places } from './places.js';
import type { Places } from './places.js';

describe('locks', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('of processes keep others out, byte by byte', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0666
      r= open f O_RDONLY
      w= open f O_WRONLY
      p= open f O_PATH
      hold h lockpath f write 100 50
      lock $f write 0 100
      lock $f write 99 2
      lock $f read 149 1
      lock $f read 150 10
      locked $f write 0 0
      locked $f write 120 1
      locked $f read 0 100
      child lockpath f write 99 1
      child lockpath f read 155 10
      child lockpath f write 155 10
      child lockpath f write 160 10
      release h
      lock $f write 99 2
      locked $f write 0 0
      child lockpath f read 100 1
      lock $f none 100 1
      child lockpath f write 100 1
      hold i lockpath f read 1000 0
      hold j lockpath f read 1000 10
      lock $f write 5000 1
      lock $f read 5000 1
      release i
      lock $f write 5000 1
      locked $f write 1000 1
      release j
      lock $r read 0 1
      lock $r write 0 1
      lock $w read 0 1
      lock $w write 0 1
      lock $p read 0 1
      lock 99 read 0 1
      lock $f write -1 1
      lock $f write 10 -5
      lock $f write 10 -11
      lock $f write 9223372036854775807 1
      lock $f write 9223372036854775807 2
      lock $f wrong 0 1
      close $r
      child lockpath f write 0 0
    `);
  });

  it('of open files, and flock', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0666
      g= open f O_RDWR
      ofdlock $f write 0 10
      ofdlock $g write 5 10
      ofdlock $g write 10 10
      locked $g write 0 1 => write 0 10
      lock $g write 0 1
      close $f
      ofdlock $g write 0 10
      flock $g LOCK_EX|LOCK_NB
      h= open f O_RDONLY
      flock $h LOCK_SH|LOCK_NB
      child flockpath f LOCK_EX|LOCK_NB
      flock $g LOCK_SH|LOCK_NB
      flock $h LOCK_SH|LOCK_NB
      child flockpath f LOCK_SH|LOCK_NB
      child flockpath f LOCK_EX|LOCK_NB
      flock $g LOCK_UN
      flock $h LOCK_EX|LOCK_NB
      flock $h 0
      flock 99 LOCK_SH
      close $h
      hold k flockpath f LOCK_EX|LOCK_NB
      i= open f O_RDWR
      flock $i LOCK_SH|LOCK_NB
      release k
      flock $i LOCK_SH|LOCK_NB
      d= open . O_RDONLY|O_DIRECTORY
      flock $d LOCK_EX|LOCK_NB
      lock $d read 0 1
      p= open f O_PATH
      flock $p LOCK_SH
    `);
  });
});

describe('mappings', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('show each other, and descriptors, what was stored', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 2000000 1
      map m $f 0 2000000
      load m 1000000 8
      store m 10 from-parent
      child mapload f 10 11
      child mapstore f 100 from-child
      load m 100 10
      pread $f 10 11
      pread $f 100 10
      store m 1048570 over-the-border
      pread $f 1048570 15
      child mapload f 1048570 15
      digest $f 0 2000000
      pwrite $f 50 by-a-descriptor
      load m 50 15
      child mapload f 50 15
      msync m MS_SYNC
      msync m MS_ASYNC
      msync m MS_SYNC|MS_ASYNC
      pwrite $f 4096 second-page
      load m 4096 11
      child mapstore f 4100 child
      load m 4096 11
      pread $f 4096 11
      unmap m
      g= open f O_RDWR
      digest $g 0 2000000
      stat f size
    `);
  });

  it('end with the file, and outlive its name and descriptor', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      write $f 0123456789
      map m $f 0 8192
      load m 0 12
      store m 10 beyond
      child load m 4096 1
      child store m 4096 x
      stat f size
      pread $f 0 100
      ftruncate $f 6000
      load m 8 4
      child load m 5000 2
      pread $f 8 4
      ftruncate $f 0
      child load m 0 1
      ftruncate $f 4096
      load m 0 4
      store m 0 again
      unlink f
      close $f
      load m 0 5
      store m 0 AGAIN
      load m 0 5
      msync m MS_SYNC
      unmap m
    `);
  });

  it('are refused as Linux refuses them', async () => {
    await ground.compare(`
      w= open f O_WRONLY|O_CREAT 0644
      r= open f O_RDONLY
      p= open f O_PATH
      b= open f O_RDWR
      d= open . O_RDONLY|O_DIRECTORY
      write $w content
      map m $w 0 10
      map m $w 0 10 PROT_READ
      map m $r 0 10
      map m $r 0 10 PROT_READ
      map n $r 0 10 PROT_READ|PROT_WRITE MAP_PRIVATE
      store n 0 private
      load n 0 7
      load m 0 7
      map x $r 0 0 PROT_READ
      map x $r 1 10 PROT_READ
      map x $b 0 10 PROT_READ 0
      map x $d 0 10 PROT_READ
      map x $p 0 10 PROT_READ
      map x 99 0 10 PROT_READ
      map x $r 9223372036854771712 8192 PROT_READ
      unmap n
      unmap m
      pread $r 0 100
      a= open f O_RDWR|O_APPEND
      map m $a 0 7
      store m 0 CONTENT
      unmap m
      pread $r 0 100
    `);
  });

  it('change the times of the file that they are of', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 10000 1
      map m $f 0 10000
      load m 0 1
      snap f
      store m 0 x
      msync m MS_SYNC
      changed f
      fstat $f size
    `);
  });
});

describe('inotify', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('tells of changes to names', async function () {
    // What goes through shared memory the kernel does not see (docs/intercept.md).
    if (isIntercepted) this.skip();
    await ground.compare(`
      mkdir d 0755
      mkdir e 0755
      watch w d
      watch w e
      mknod d/f file 0644
      mkdir d/sub 0755
      symlink x d/s
      link d/f d/g
      events w
      rename d/g d/h
      rename d/h e/h
      rename d/sub e/sub
      events w
      rename d/f e/h
      rename d/s e/sub RENAME_EXCHANGE
      events w
      unlink e/h
      rmdir d/s
      unlink e/sub
      unlink e/missing
      mkdir e 0755
      events w
      chmod d 0700
      setxattr d user.a v
      rename d f
      events w
      list e
      events w
      rmdir e
      rmdir f
      events w
      watch w missing
    `);
  });

  it('tells of changes to files, and of their use', async function () {
    if (isIntercepted) this.skip();
    await ground.compare(`
      mkdir d 0755
      mknod d/f file 0644
      watch w d/f
      watch w d
      f= open d/f O_RDWR
      write $f hello
      pread $f 0 5
      ftruncate $f 2
      fallocate $f 0 0 100
      events w
      chmod d/f 0600
      chown d/f 1 1
      utimens d/f 1 1
      setxattr d/f user.a v
      removexattr d/f user.a
      truncate d/f 0
      events w
      close $f
      r= open d/f O_RDONLY
      close $r
      opens d/f O_RDONLY|O_TRUNC
      events w
      c= open d/new O_RDWR|O_CREAT 0644
      close $c
      x= open d/new O_RDWR|O_CREAT|O_EXCL 0644
      stat d/f type
      events w
      link d/f d/g
      unlink d/f
      events w
      unlink d/g
      events w
      o= open d/new O_RDWR
      watch w d/new
      unlink d/new
      events w
      close $o
      events w
    `);
  });
});
