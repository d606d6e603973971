/** Modes, owners, times, and which of the three times each call changes. */
import { places } from './places.js';
import type { Places } from './places.js';

describe('modes and owners', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('are changed by their owner and root alone', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0666
      chown f 1000 1001
      as 1000:1000 g= open f O_RDWR
      as 1001:1001 h= open f O_RDONLY
      as 1001:1001 fchmod $h 0777
      as 1001:1001 fchown $h 1001 1001
      as 1000:1000 fchmod $g 0777
      as 1000:1000 fchmod $g 027777
      stat f mode
      as 1000:1000 fchown $g 1000 1005
      as 1000:1000:1005 fchown $g 1000 1005
      as 1000:1000 fchown $g -1 -1
      as 1001:1001 fchown $h -1 -1
      stat f uid,gid,mode
      chmod f 037777777777
      stat f mode
      chown f 4294967294 4294967294
      stat f uid,gid
      chown f 0 0
      mkdir d 07777
      chmod d 07777
      stat d mode
      chown d 1000 1000
      stat d mode
      as 1000:1000 chmod d 0
      as 1000:1000 list d
      as 1000:1000 chmod d 0700
      as 1000:1000 list d
      fchmod 99 0644
      fchown 99 0 0
      symlink f s
      lchown s 5 6
      lstat s uid,gid,mode
      chmod s 0600
      stat f mode
      chown s 7 8
      stat f uid,gid
      symlink nowhere t
      chmod t 0600
      chown t 1 1
      lchown t 1 1
    `);
  });

  it('of what the umask leaves', async () => {
    const masks = ['0', '022', '027', '077', '0777', '07777'];
    const each = masks.map(
      (mask, i) => `
        umask ${mask}
        x${i}= open x${i} O_RDWR|O_CREAT 06777
        mkdir d${i} 07777
        mknod p${i} fifo 0666
        stat x${i} mode
        stat d${i} mode
        stat p${i} mode
        umask 0
        chmod x${i} 0666
      `,
    );
    await ground.compare(each.join(''));
  });

  it('lose set-ID bits with a new owner or a write, whoever asks', async () => {
    const cases = ['06755', '06745', '06711', '02644', '04644', '03777'];
    const each = cases.map(
      (mode, i) => `
        mknod f${i} file 0644
        chmod f${i} ${mode}
        chown f${i} 1000 1000
        stat f${i} mode
        chmod f${i} ${mode}
        chown f${i} -1 -1
        stat f${i} mode
        chmod f${i} ${mode}
        lchown f${i} 1000 1000
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 chown f${i} -1 1000
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 truncate f${i} 0
        stat f${i} mode
        chmod f${i} ${mode}
        as 1000:1000 truncate f${i} 0
        stat f${i} mode
        as 1000:1000 w${i}= open f${i} O_WRONLY
        as 1000:1000 write $w${i} ""
        stat f${i} mode
        as 1000:1000 pwritev $w${i} 0 0 x
        stat f${i} mode
        mkdir d${i} 0755
        chmod d${i} ${mode}
        chown d${i} 1000 1000
        stat d${i} mode
      `,
    );
    await ground.compare(`umask 0\n${each.join('')}`);
  });

  it('access and faccessat ask for real or effective users', async () => {
    await ground.compare(`
      mknod f file 0640
      chown f 1000 1001
      as 1000:1000 access f R_OK|W_OK
      as 1000:1000 access f X_OK
      as 1005:1001 access f R_OK AT_EACCESS
      as 1005:1001 access f W_OK AT_EACCESS
      as 1005:1005:1001 access f R_OK AT_EACCESS
      as 1005:1005 access f F_OK
      access f X_OK
      chmod f 0001
      access f X_OK
      access f 8
      access f R_OK 1
      access missing F_OK
      access f/x F_OK
      symlink missing l
      access l F_OK
      access l F_OK AT_SYMLINK_NOFOLLOW
      mkdir d 0700
      mknod d/x file 0666
      as 1000:1000 access d/x F_OK
      as 1000:1000 access d F_OK
      as 1000:1000 access d X_OK
    `);
  });

  it('of a file system that is read-only', async () => {
    await ground.compare(`
      mkdir ro 0777
      mkdir ro/dir 0777
      mknod ro/file file 0666
      mknod ro/fifo fifo 0666
      symlink file ro/link
      readonly ro
      chdir ro
      opens file O_RDONLY
      opens file O_RDWR
      opens file O_RDONLY|O_TRUNC
      opens file O_RDONLY|O_CREAT 0644
      opens new O_RDWR|O_CREAT 0644
      opens file O_RDWR|O_CREAT|O_EXCL 0644
      opens . O_RDWR|O_TMPFILE 0644
      opens fifo O_RDWR|O_NONBLOCK
      mkdir new 0755
      mkdir dir 0755
      mkdir missing/new 0755
      rmdir dir
      rmdir missing
      rmdir file
      unlink file
      unlink missing
      unlink dir
      mknod new file 0644
      symlink x new
      symlink x file
      link file new
      link missing new
      rename file new
      rename missing new
      chmod file 0600
      chmod missing 0600
      chown file 1 1
      truncate file 0
      truncate dir 0
      utimens file 1 1
      access file W_OK
      access file R_OK
      access fifo W_OK
      access dir W_OK
      as 1000:1000 access file W_OK
      setxattr file user.a b
      removexattr file user.a
      getxattr file user.a
      list .
      statfs .
    `);
  });
});

describe('times', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('are set to the nanosecond, far from now, or left', async () => {
    const times = [
      '0',
      '1.000000001',
      '-1',
      '-0.000000001',
      '-2147483648.5',
      '2147483647.999999999',
    ];
    // 2106, 2262, 2446: the ends of 32 bits unsigned, of nanoseconds in 63 bits, of ext4.
    times.push('2147483648', '4294967295', '4294967296.5', '9223372036.854775807', '15032385535');
    const each = times.map(
      (time) => `
        utimens f ${time} 1
        stat f atime,mtime
        utimens f omit ${time}
        stat f atime,mtime
        futimens $f ${time} ${time}
        fstat $f atime,mtime
        utimens s ${time} omit AT_SYMLINK_NOFOLLOW
        lstat s atime
        utimens d ${time} ${time}
        stat d atime,mtime
      `,
    );
    // ext4 keeps whole seconds of 1901 at the earliest.
    await ground.compareInMemory(`
      f= open f O_RDWR|O_CREAT 0644
      mkdir d 0755
      symlink f s
      ${each.join('')}
      utimens f now omit
      stat f mtime
      utimens f 5 now
      stat f atime
      utimens f omit omit
      stat f atime
      utimens s 7 8
      stat f atime,mtime
      futimens 99 1 1
      utimens f 1 1 7
      utimens f 0.1000000000 1
      utimens missing omit omit
      utimens missing 1 omit
      as 1000:1000 utimens f omit omit
      as 1000:1000 utimens f omit now
      as 1000:1000 utimens f 1 omit
    `);
  });

  it('of which each call changes its own', async () => {
    const calls = [
      'chmod f 0600',
      'chmod f 0600',
      'fchmod $f 0644',
      'chown f -1 -1',
      'chown f 1 -1',
      'lchown f 1 1',
      'setxattr f user.a v',
      'setxattr f user.a w XATTR_REPLACE',
      'setxattr f user.a w XATTR_CREATE',
      'removexattr f user.a',
      'removexattr f user.a',
      'write $f hello',
      'write $f ""',
      'pwrite $f 2000000 far',
      'pwrite $f 1000000 inside',
      'read $r 10',
      'read $r 0',
      'pread $r 99000000 10',
      'truncate f 2000003',
      'ftruncate $f 2000003',
      'truncate f 5',
      'truncate f -1',
      'fallocate $f 0 0 100',
      'fallocate $f FALLOC_FL_KEEP_SIZE 0 5000',
      'fallocate $f FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 0 10',
      'opens f O_RDWR',
      'opens f O_RDWR|O_APPEND',
      'opens f O_RDONLY|O_TRUNC',
      'opens f O_RDWR|O_CREAT 0644',
      'utimens f 1000000000 1000000000',
      'utimens f omit omit',
      'utimens f omit now',
      'link f d/hard',
      'rename d/hard d/moved',
      'rename d/moved other',
      'rename f other',
      'unlink other',
      'fsync $f',
      'lseek $f 0 SEEK_END',
      'lseek $f 0 SEEK_HOLE',
      'access f R_OK',
      'stat f type',
      'readlink f',
      'lock $f write 0 0',
    ];
    const each = calls.map((call) => `snap f d\n${call}\nchanged f\nchanged d`);
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      r= open f O_RDONLY
      mkdir d 0755
      ${each.join('\n')}
    `);
  });

  it('of directories, and of what is in them', async () => {
    const calls = [
      'mknod a/f file 0644',
      'opens a/g O_RDWR|O_CREAT 0644',
      'opens a/g O_RDWR|O_CREAT 0644',
      'mkdir a/d 0755',
      'mkdir a/d 0755',
      'symlink x a/s',
      'link a/f b/f',
      'rename a/f a/h',
      'rename a/h b/h',
      'rename b/h b/f',
      'rename a/d b/d',
      'rename a/g b/d RENAME_EXCHANGE',
      'rename a/missing b/x',
      'chmod b/d 0600',
      'mkdir a/d/deeper 0755',
      'rmdir a/d/deeper',
      'rmdir a/d',
      'unlink a/s',
      'unlink a/missing',
      'list a',
      'stat a/x type',
      'chmod a 0700',
      'chown a 0 1',
      'setxattr a user.a v',
      'utimens a 5 5',
      'rename a c',
      'rename c a',
      'rename moving a/moving',
      'rename a/moving/x a/x',
      'open a O_RDWR|O_TMPFILE 0600',
      'rmdir a',
    ];
    const each = calls.map((call) => `snap a b\n${call}\nchanged a\nchanged b`);
    await ground.compare(`
      mkdir a 0755
      mkdir b 0755
      mkdir moving 0755
      mkdir moving/x 0755
      ${each.join('\n')}
    `);
    await ground.compare(`
      mkdir a 0755
      mkdir b 0755
      mkdir a/d 0755
      mknod a/f file 0644
      mknod b/g file 0644
      symlink x a/s
      snap a/d a/f b/g a/s
      rename a/d b/d
      changed b/d a/d
      rename a/f b/f
      changed b/f a/f
      snap b/f
      rename b/f b/g RENAME_EXCHANGE
      changed b/g b/f
      changed b/f b/g
      rename a/s b/s
      changed b/s a/s
      snap b/s
      readlink b/s
      changed b/s
    `);
  });
});
