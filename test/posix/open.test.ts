/** open(2): what each flag means, what descriptors may be used for, files without a name. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { places } from './places.js';
import type { Places } from './places.js';

describe('open', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('lets a descriptor do what it was opened for', async () => {
    await ground.compare(`
      w= open f O_WRONLY|O_CREAT 0644
      r= open f O_RDONLY
      p= open f O_PATH
      d= open . O_RDONLY|O_DIRECTORY
      read $w 1
      write $r x
      pwrite $r 0 x
      pread $w 0 1
      ftruncate $r 5
      ftruncate $w 5
      read $r 9
      read $p 1
      write $p x
      ftruncate $p 0
      fchmod $p 0600
      fchown $p 1 1
      fsync $p
      lseek $p 0 SEEK_SET
      fallocate $p 0 0 10
      fstat $p type,mode,size
      getdents $p 4096
      fgetxattr $p user.a
      chownat $p "" 5 6 AT_EMPTY_PATH
      fstat $p uid,gid
      fdopen $p O_RDWR
      fdopen $p O_RDONLY|O_DIRECTORY
      read $d 1
      write $d x
      pread $d 0 1
      ftruncate $d 0
      lseek $d 0 SEEK_SET
      fsync $d
      getdents $r 4096
      getdents $d 0
      getdents $d 4096
      getfl $r
      getfl $w
      getfl $p
      close $p
      close $p
      read $p 1
    `);
  });

  it('appends with O_APPEND, wherever the descriptor stands', async () => {
    await ground.compare(`
      a= open f O_RDWR|O_CREAT|O_APPEND 0644
      w= open f O_RDWR
      write $a one
      write $w ONE-and-more
      lseek $a 0 SEEK_CUR
      write $a two
      lseek $a 0 SEEK_CUR
      pwrite $a 0 three
      lseek $a 0 SEEK_CUR
      pread $w 0 100
      stat f size
      lseek $a 2 SEEK_SET
      read $a 3
      write $a four
      lseek $a 0 SEEK_CUR
      pwritev $a 1 0 five six
      pwritev $w 1 RWF_APPEND seven
      pwritev $w -1 RWF_APPEND eight
      lseek $w 0 SEEK_CUR
      pread $w 0 100
      setfl $a 0
      getfl $a
      pwrite $a 0 XXX
      setfl $w O_APPEND
      getfl $w
      pwrite $w 0 end
      pread $w 0 100
      ftruncate $w 3000000
      write $a tail
      setfl $a O_APPEND
      write $a tail
      lseek $a 0 SEEK_CUR
      stat f size
    `);
  });

  it('creates, truncates and refuses as its flags say', async () => {
    await ground.compare(`
      creat f 0640
      f= creat f 0600
      write $f content
      stat f mode,size
      g= creat f 0600
      stat f mode,size
      write $g new
      open f O_RDWR|O_CREAT|O_EXCL 0644
      open f O_RDONLY|O_TRUNC
      stat f size
      symlink f l
      symlink made d
      open l O_RDONLY|O_CREAT|O_EXCL 0644
      open d O_RDONLY|O_CREAT|O_EXCL 0644
      open d O_RDONLY
      open d O_RDONLY|O_CREAT|O_NOFOLLOW 0644
      x= open d O_RDWR|O_CREAT 0644
      write $x through
      stat made type,mode,size
      open l O_RDONLY|O_NOFOLLOW
      p= open l O_PATH|O_NOFOLLOW
      fstat $p type
      readlinkat $p ""
      z= open zero O_RDONLY|O_CREAT 0
      z2= open zero O_RDWR
      as 1000:1000 z3= open zero O_RDONLY
      umask 077
      m= open masked O_RDWR|O_CREAT 0666
      stat masked mode
      as 1000:1000 r= open readable O_RDWR|O_CREAT 0444
      as 1000:1000 write $r allowed
      as 1000:1000 r2= open readable O_RDWR
      open f O_RDWR|O_DIRECT
      open f 3
      open . O_WRONLY
      open . O_RDONLY|O_CREAT
      open . O_RDONLY|O_TRUNC
      open . O_RDONLY|O_DIRECT
      e= open f O_RDONLY|O_NONBLOCK|O_SYNC|O_NOCTTY
      getfl $e
    `);
  });

  it('of O_TRUNC, on every kind of size', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 5000000 1
      as 1000:1000 open f O_RDONLY|O_TRUNC
      stat f size
      g= open f O_RDONLY|O_TRUNC
      stat f size
      digest $f 0 100
      pwrite $f 2000000 x
      digest $f 0 3000000
      h= open f O_WRONLY|O_TRUNC|O_APPEND
      write $h y
      digest $f 0 3000000
      symlink f l
      open l O_RDWR|O_TRUNC|O_NOFOLLOW
      stat f size
      i= open l O_RDWR|O_TRUNC
      stat f size
    `);
  });

  it('refuses to write to a program that runs, and to run what is written to', async () => {
    await ground.compareShell(
      `
      cp "$(command -v sleep)" s
      ./s 30 & pid=$!
      while [ "$(readlink /proc/$pid/exe)" = "$(readlink /proc/$$/exe)" ]; do sleep 0.01; done
      echo x > s; echo $?
      : >> s; echo $?
      chmod 700 s; echo $?
      mv s t; echo $?
      cp /bin/true s; echo $?
      ./s; echo $?
      kill $pid; wait $pid
      exec 3>> s; ./s; echo $?; exec 3>&-; ./s; echo $?
      chmod 600 s; ./s; echo $?
      printf '#!./s\\n' > script; chmod 700 script; ./script; echo $?
    ` + '2>&1 | grep -v Terminated || true',
    );
  });

  it('relative to a directory', async () => {
    await ground.compare(`
      mkdir d 0755
      mkdir e 0755
      d= open d O_RDONLY|O_DIRECTORY
      p= open e O_PATH
      f= openat $d f O_RDWR|O_CREAT 0644
      openat $f x O_RDONLY
      openat 99 x O_RDONLY
      openat $d . O_RDONLY|O_DIRECTORY
      g= openat $p g O_RDWR|O_CREAT 0644
      mkdirat $d sub 0700
      mkdirat $f sub 0700
      symlinkat ../e/g $d l
      readlinkat $d l
      readlinkat $d l 3
      readlinkat $d f
      readlinkat $d ""
      h= openat $d l O_RDONLY
      linkat $d f $p hard
      linkat $d missing $p hard2
      linkat $f "" $p named
      linkat $f "" $p named AT_EMPTY_PATH
      as 1000:1000 linkat $f "" cwd named2 AT_EMPTY_PATH
      linkat $d l $p symlink
      linkat $d l $p followed AT_SYMLINK_FOLLOW
      linkat $d f $p wrong 7
      renameat $d sub $p moved
      renameat $p moved $f x
      unlinkat $p hard AT_REMOVEDIR
      unlinkat $p moved 0
      unlinkat $p moved AT_REMOVEDIR
      unlinkat $p moved AT_REMOVEDIR
      unlinkat $p g 1
      unlinkat $p g 0
      unlinkat $f g 0
      chmodat $d f 0600
      chmodat $d l 0600 AT_SYMLINK_NOFOLLOW
      chmodat $d f 0600 7
      chownat $d l 3 4 AT_SYMLINK_NOFOLLOW
      chownat $d l 3 4
      chownat $d f 3 4 7
      accessat $d f R_OK|W_OK
      accessat $d missing F_OK
      accessat $d f 8
      accessat $d f F_OK 7
      chdir d
      list .
      list ../e
      fchdir $f
      fchdir $p
      list .
      chdir f
      chdir ""
    `);
  });
});

describe('files without a name (O_TMPFILE)', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('are written, read and never listed', async () => {
    await ground.compare(`
      mkdir d 0755
      snap d
      t= open d O_RDWR|O_TMPFILE 0640
      changed d
      fstat $t type,mode,nlink,size,uid,gid
      list d
      write $t hello
      fill $t 0 3000000 1
      digest $t 0 4000000
      fstat $t size,nlink
      ftruncate $t 10
      fchmod $t 0600
      fchown $t 5 6
      fsetxattr $t user.a value
      fgetxattr $t user.a
      fstat $t mode,uid,gid,size
      lseek $t 0 SEEK_DATA
      g= fdopen $t O_RDONLY
      digest $g 0 100
      close $t
      digest $g 0 100
      close $g
      rmdir d
    `);
  });

  it('get a name, or several', async () => {
    await ground.compare(`
      mkdir a 0755
      mkdir b 0755
      t= open a O_RDWR|O_TMPFILE 0644
      fill $t 0 3000000 1
      fdlink $t a/named
      fstat $t nlink
      stat a/named type,mode,nlink,size
      link a/named b/second
      fstat $t nlink
      unlink a/named
      unlink b/second
      fstat $t nlink
      fdlink $t a/again
      list a
      digest $t 0 4000000
      u= open a O_RDWR|O_TMPFILE 0600
      write $u in-another-directory
      fdlink $u b/elsewhere
      close $u
      v= open b/elsewhere O_RDONLY
      read $v 100
      w= open a O_WRONLY|O_TMPFILE 0644
      linkat $w "" cwd b/empty-path AT_EMPTY_PATH
      stat b/empty-path nlink
      fdlink $w b/elsewhere
      fdlink $w b/missing/x
      fdlink $w b/dir/
      fdlink $w b/link 0
      x= open . O_RDWR|O_TMPFILE|O_EXCL 0644
      fdlink $x never
      linkat $x "" cwd never AT_EMPTY_PATH
      fstat $x nlink
      list .
    `);
  });

  it('inherit group, umask and lists as others do', async () => {
    await ground.compare(`
      umask 027
      mkdir d 0777
      chown d 5 1001
      chmod d 02777
      t= open d O_RDWR|O_TMPFILE 0666
      fstat $t mode,uid,gid
      as 1000:1000 u= open d O_RDWR|O_TMPFILE 06777
      fstat $u mode,uid,gid
      as 1000:1000 fdlink $u d/u
      stat d/u mode,uid,gid
      chmod d 0755
      as 1000:1000 open d O_RDWR|O_TMPFILE 0666
      open d O_RDONLY|O_TMPFILE 0666
      open d/u O_RDWR|O_TMPFILE 0666
      open missing O_RDWR|O_TMPFILE 0666
      open d O_RDWR|O_TMPFILE|O_CREAT 0666
      open d O_RDWR|O_TMPFILE|O_TRUNC 0666
      z= open d O_RDWR|O_TMPFILE 0
      write $z x
    `);
    const program = join(packageRoot(), 'build/Release/sealfs_posix');
    const shown = await ground.compareShell(`
      mkdir d; setfacl -d -m u:1000:rwx,g::rx,o::- d
      printf '%s\\n' 't= open d O_RDWR|O_TMPFILE 0666' 'fdlink $t d/f' | ${program}
      getfacl -n d/f
    `);
    assert.match(shown, /user:1000:rwx/);
  });
});
