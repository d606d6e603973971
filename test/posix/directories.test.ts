/** Reading directories while they change, what entries say, directories that are gone. */
import { places } from './places.js';
import type { Places } from './places.js';

describe('directories', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('show each name that stays exactly once, whatever else comes and goes', async () => {
    await ground.compare(`
      many keep 0 200
      many gone 0 200
      dopen s .
      dread s 100
      fewer gone 0 200
      many new 0 200
      dread s all
      dseen s keep
      drewind s
      dread s all
      dseen s
      dread s 10
      fewer keep 0 200
      drewind s
      dread s all
      dseen s keep
      dclose s
    `);
  });

  it('go on at a place that was told', async () => {
    await ground.compare(`
      many f 0 400
      dopen s .
      dtell s start
      dread s 150
      dtell s middle
      dseen s
      dread s 100000
      dtell s end
      dseen s
      dseek s middle
      dread s 100000
      dseen s
      dseek s end
      dread s 5
      dseek s start
      dread s 100000
      dseen s
      dseek s middle
      dread s 1
      dseen s none
      fewer f 0 100
      dseek s start
      dread s 100000
      dseen s f
    `);
  });

  it('say the type and the inode number of what they hold', async () => {
    await ground.compare(`
      mknod file file 0644
      mknod fifo fifo 0644
      mknod socket socket 0644
      mknod char char 0644 1 3
      mknod block block 0644 7 0
      mkdir dir 0755
      symlink x link
      link file again
      entries .
      entries dir
      rename dir moved
      entries .
      mkdir moved/sub 0755
      entries moved
      dopen a .
      dopen b .
      dread a 3
      dread b 100
      dread a 100
      dseen a
      dseen b
      d= open . O_RDONLY
      getdents $d 1
      getdents $d 20
      getdents $d 100000
      getdents $d 100000
      lseek $d 0 SEEK_SET
      getdents $d 100000
      lseek $d -1 SEEK_SET
      dopen c file
      dopen c missing
      as 1000:1000 dopen c dir
      chmod moved 0311
      as 1000:1000 dopen c moved
      as 1000:1000 stat moved/sub type
    `);
  });

  it('count their sub-directories', async () => {
    await ground.compare(`
      mkdir d 0755
      stat d nlink
      mkdir d/a 0755
      mkdir d/b 0755
      mknod d/f file 0644
      symlink a d/l
      stat d nlink
      mkdir e 0755
      rename d/a e/a
      stat d nlink
      stat e nlink
      rename e/a e/c
      stat e nlink
      mkdir e/t 0755
      rename e/c e/t
      stat e nlink
      rename e/t d/f RENAME_EXCHANGE
      stat d nlink
      stat e nlink
      rename d/b e/t RENAME_EXCHANGE
      stat d nlink
      stat e nlink
      rmdir d/b
      rmdir d/f
      stat d nlink
    `);
  });

  it('that are gone are empty, and nothing can be made in them', async () => {
    await ground.compare(`
      mkdir d 0755
      mkdir d/sub 0755
      mknod other file 0644
      o= open d/sub O_RDONLY|O_DIRECTORY
      dopen s d/sub
      chdir d/sub
      getcwd
      rmdir ../sub
      getcwd
      list .
      mknod x file 0644
      mkdir x 0755
      symlink y x
      link ../../other x
      rename ../../other x
      openat $o x O_RDWR|O_CREAT 0644
      mkdirat $o x 0755
      stat x type
      dread s 10
      getdents $o 4096
      stat .. type
      chdir ..
      list .
      rmdir .
      rmdir ..
      chdir ..
      rmdir d
      rmdir d
    `);
  });

  it('are not removed by the wrong call, or while they are used', async () => {
    await ground.compare(`
      mkdir d 0755
      mkdir d/e 0755
      mknod d/f file 0644
      rmdir d
      unlink d
      rmdir d/f
      rmdir d/e/.
      rmdir d/e/..
      rmdir .
      rmdir /
      unlink /
      link d g
      link . g
      chdir d
      rmdir e/
      unlink f/
      unlink f
      rmdir ../d
      mkdir . 0755
      mkdir .. 0755
      mkdir / 0755
    `);
  });
});
