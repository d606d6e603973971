/** Set-ID bits, sticky directories, groups: who keeps what, and what Linux takes away when. */
import { places } from './places.js';
import type { Places } from './places.js';

describe('set-ID and sticky bits, groups', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('writing takes set-ID bits, unless root writes', async () => {
    const script = ['04755', '02755', '06777', '02745', '06745', '06666'].map(
      (mode, i) => `
        f${i}= open f${i} O_RDWR|O_CREAT 0777
        chown f${i} 1000 1000
        chmod f${i} ${mode}
        pwrite $f${i} 0 root
        stat f${i} mode,uid
        as 1000:1000 g${i}= open f${i} O_RDWR
        as 1000:1000 pwrite $g${i} 0 owner
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 pwrite $g${i} 3000000 far
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 pwrite $g${i} 2999999 inside
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 ftruncate $g${i} 5
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 truncate f${i} 5
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 open f${i} O_WRONLY|O_TRUNC
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 a${i}= open f${i} O_WRONLY|O_APPEND
        as 1000:1000 write $a${i} appended
        stat f${i} mode
        chmod f${i} ${mode}
        truncate f${i} 1
        stat f${i} mode
        open f${i} O_WRONLY|O_TRUNC
        stat f${i} mode
        `,
    );
    await ground.compare(`umask 0\n${script.join('\n')}`);
  });

  it('a new owner takes set-ID bits', async () => {
    await ground.compare(`
      umask 0
      mknod f file 06777
      chown f 1000 1000
      stat f mode,uid,gid
      chmod f 06777
      chown f 1000 -1
      stat f mode
      chmod f 06777
      chown f -1 1001
      stat f mode
      chmod f 02767
      chown f 1000 1000
      stat f mode
      as 1000:1000 chmod f 06777
      as 1000:1000:1002 chown f -1 1002
      stat f mode,uid,gid
      as 1000:1000 chown f 1001 -1
      as 1000:1000 chown f -1 1005
      as 1000:1000:1002 chown f 1000 1002
      mkdir d 06777
      chown d 1000 1000
      stat d mode,uid,gid
      symlink f s
      lchown s 7 8
      lstat s uid,gid
      stat f uid,gid
    `);
  });

  it('chmod keeps set-group-ID only for members and root', async () => {
    await ground.compare(`
      mknod f file 0644
      chown f 1000 1001
      as 1000:1000 chmod f 02755
      stat f mode
      as 1000:1000:1001 chmod f 02755
      stat f mode
      as 1001:1001 chmod f 0777
      chmod f 07777
      stat f mode
      mkdir d 0755
      chown d 1000 1001
      as 1000:1000 chmod d 03775
      stat d mode
      as 1000:1001 chmod d 03775
      stat d mode
    `);
  });

  it('set-group-ID directories give their group, and the bit to directories', async () => {
    await ground.compare(`
      umask 0
      mkdir d 0777
      chown d 5 1001
      chmod d 02777
      mknod d/file file 0644
      mknod d/fifo fifo 0644
      mkdir d/sub 0755
      symlink x d/link
      f= open d/open O_RDWR|O_CREAT 0644
      stat d/file uid,gid,mode
      stat d/fifo uid,gid,mode
      stat d/sub uid,gid,mode
      stat d/open uid,gid,mode
      lstat d/link uid,gid
      as 1000:1000 mkdir d/sub/sub 0700
      as 1000:1000 mkdir d/theirs 0700
      as 1000:1000 mkdir d/theirs/deeper 0700
      as 1000:1000 mknod d/g file 02775
      as 1000:1000:1001 mknod d/h file 02775
      as 1000:1000 g= open d/i O_RDWR|O_CREAT 02775
      stat d/theirs uid,gid,mode
      stat d/theirs/deeper uid,gid,mode
      stat d/g uid,gid,mode
      stat d/h uid,gid,mode
      stat d/i uid,gid,mode
      chmod d 0777
      mkdir d/plain 0755
      stat d/plain uid,gid,mode
    `);
  });

  it('in sticky directories only owners remove and rename', async () => {
    await ground.compare(`
      mkdir t 0777
      chmod t 01777
      as 1000:1000 mknod t/mine file 0666
      as 1000:1000 mkdir t/dir 0777
      as 1001:1001 mknod t/theirs file 0666
      as 1001:1001 unlink t/mine
      as 1001:1001 rename t/mine t/stolen
      as 1001:1001 rename t/theirs t/mine
      as 1001:1001 rmdir t/dir
      as 1001:1001 link t/theirs t/theirs2
      as 1000:1000 rename t/mine t/own
      as 1000:1000 unlink t/own
      unlink t/theirs
      mkdir u 0777
      chmod u 01777
      chown u 1001 1001
      as 1000:1000 mknod u/f file 0644
      as 1001:1001 unlink u/f
      list t
    `);
  });

  it('permissions go by owner, then group, supplementary groups too, then others', async () => {
    await ground.compare(
      `
      mknod f file 0640
      chown f 1000 1001
      as 1000:1000 open f O_RDWR
      as 1005:1001 open f O_RDWR
      as 1005:1005:7,1001 open f O_RDONLY
      as 1005:1005:7 open f O_RDONLY
      as 1005:1001 access f R_OK
      as 1005:1001 access f W_OK
      chmod f 0047
      as 1000:1001 access f R_OK
      as 1005:1001 access f R_OK
      as 1005:1001 access f W_OK
      as 1005:1005 access f R_OK|W_OK|X_OK
      access f X_OK
      access f R_OK|W_OK
      mkdir d 0750
      chown d 1000 1001
      as 1000:1000 mknod d/x file 0666
      as 1005:1005:1001 stat d/x type
      as 1005:1005:1001 list d
      as 1005:1005:1001 mknod d/y file 0666
      as 1005:1005:1001 unlink d/x
      as 1005:1005 stat d/x type
      as 1005:1005 chmod f 0777
      as 1005:1005 truncate d 0
      as 1005:1005 mkdir d/z 0755
      as 1005:1005 rename f g
      as 1005:1005 utimens f now now
    `
        .replaceAll('open f O_RDWR', 'x= open f O_RDWR')
        .replaceAll('open f O_RDONLY', 'x= open f O_RDONLY'),
    );
  });
});
