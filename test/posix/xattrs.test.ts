/** Extended attributes: every namespace, flag, limit and error of xattr(7). */
import { places } from './places.js';
import type { Places } from './places.js';

describe('extended attributes', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('are set, read, listed and removed', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0644
      listxattr f
      listxattr f 0
      getxattr f user.none
      removexattr f user.none
      setxattr f user.one 1
      setxattr f user.two "two words"
      fsetxattr $f user.empty ""
      getxattr f user.one
      getxattr f user.two
      getxattr f user.empty
      fgetxattr $f user.two
      getxattr f user.two 0
      getxattr f user.two 9
      getxattr f user.two 8
      listxattr f
      flistxattr $f
      listxattr f 0
      listxattr f 5
      setxattr f user.one "another, longer value"
      getxattr f user.one
      setxattr f user.one x XATTR_CREATE
      setxattr f user.new x XATTR_CREATE
      setxattr f user.three x XATTR_REPLACE
      setxattr f user.new y XATTR_REPLACE
      setxattr f user.one x XATTR_CREATE|XATTR_REPLACE
      getxattr f user.new
      hexxattr f user.hex 00ff0080
      getxattr f user.hex
      removexattr f user.two
      removexattr f user.two
      fremovexattr $f user.new
      listxattr f
      rename f g
      listxattr g
      link g h
      setxattr h user.link yes
      getxattr g user.link
      unlink g
      getxattr h user.link
      fgetxattr $f user.link
      unlink h
      fgetxattr $f user.link
      getxattr h user.link
      listxattr h
      setxattr h user.link x
      removexattr h user.link
    `);
  });

  it('of directories, links and other nodes', async () => {
    await ground.compare(`
      mkdir d 0755
      setxattr d user.dir yes
      getxattr d user.dir
      mknod d/f file 0644
      listxattr d
      listxattr d/f
      symlink d s
      getxattr s user.dir
      lgetxattr s user.dir
      lsetxattr s user.link x
      lsetxattr s trusted.link x
      lgetxattr s trusted.link
      llistxattr s
      lremovexattr s trusted.link
      llistxattr s
      mknod p fifo 0666
      setxattr p user.x x
      getxattr p user.x
      setxattr p trusted.x x
      getxattr p trusted.x
      mknod n char 0666 1 3
      setxattr n user.x x
      setxattr n trusted.x x
      listxattr n
      unlink n
      unlink p
      rmdir d
      unlink d/f
      rmdir d
      listxattr d
    `);
  });

  it('change the ctime alone', async () => {
    await ground.compare(`
      mknod f file 0644
      snap f
      setxattr f user.a 1
      changed f
      snap f
      getxattr f user.a
      listxattr f
      changed f
      snap f
      setxattr f user.a 2
      changed f
      snap f
      removexattr f user.a
      changed f
      snap f
      removexattr f user.a
      setxattr f user.a 1 XATTR_REPLACE
      changed f
    `);
  });

  it('are refused where their names or places forbid them', async () => {
    await ground.compare(`
      mknod f file 0644
      setxattr f user. x
      setxattr f "" x
      setxattr f nothing x
      setxattr f other.name x
      setxattr f system.name x
      setxattr f User.name x
      setxattr f user.{n*250} x
      setxattr f user.{n*251} x
      getxattr f user.{n*250}
      getxattr f user.{n*251}
      removexattr f user.{n*251}
      getxattr f nothing
      getxattr f system.name
      removexattr f nothing
      setxattr f/x user.a x
      setxattr {x*300} user.a x
      setxattr f user.a {v*65537}
      listxattr f
    `);
  });

  it('by the permissions of the file', async () => {
    await ground.compare(`
      mknod f file 0644
      chown f 1000 1000
      as 1000:1000 setxattr f user.mine 1
      as 1001:1001 setxattr f user.theirs 1
      as 1001:1001 getxattr f user.mine
      as 1001:1001 listxattr f
      as 1001:1001 removexattr f user.mine
      chmod f 0600
      as 1001:1001 getxattr f user.mine
      as 1001:1001 listxattr f
      setxattr f trusted.secret 1
      setxattr f security.note 1
      getxattr f trusted.secret
      as 1000:1000 getxattr f trusted.secret
      as 1000:1000 setxattr f trusted.secret 2
      as 1000:1000 removexattr f trusted.secret
      as 1000:1000 getxattr f security.note
      as 1000:1000 setxattr f security.note 2
      as 1000:1000 listxattr f
      listxattr f
      mkdir t 0777
      chmod t 01777
      as 1000:1000 setxattr t user.x 1
      as 1000:1000 mkdir t/own 0755
      as 1000:1000 setxattr t/own user.x 1
    `);
  });

  it('hold values up to 64 KiB, and 256 KiB in all', async () => {
    await ground.expect(`
      mknod f file 0644                              => 0
      setxattr f user.small {a*8192}                 => 0
      setxattr f user.bulk {b*8193}                  => 0
      setxattr f user.largest {c*65536}              => 0
      setxattr f user.larger {d*65537}               => E2BIG
      getxattr f user.small                          => 8192 "{a*8192}"
      getxattr f user.bulk                           => 8193 "{b*8193}"
      getxattr f user.bulk 8193                      => 8193 "{b*8193}"
      getxattr f user.bulk 8192                      => ERANGE
      getxattr f user.bulk 0                         => 8193
      getxattr f user.largest                        => 65536 "{c*65536}"
      getxattr f user.largest 65536                  => 65536 "{c*65536}"
      getxattr f user.largest 65535                  => ERANGE
      getxattr f user.largest 100                    => ERANGE
      setxattr f user.more {e*65536}                 => 0
      setxattr f user.most {f*65536}                 => 0
      setxattr f user.toomuch {g*65536}              => ENOSPC
      getxattr f user.most 0                         => 65536
      listxattr f                                    => [user.bulk user.largest user.more user.most user.small]
      removexattr f user.more                        => 0
      setxattr f user.toomuch {g*65536}              => 0
      setxattr f user.small {a*3}                    => 0
      getxattr f user.small                          => 3 "aaa"
      truncate f 10                                  => 0
      unlink f                                       => 0
    `);
  });

  it('list many names', async () => {
    const names = Array.from({ length: 200 }, (_, i) => `user.${'n'.repeat(150)}${i}`);
    const sets = names.map((name) => `setxattr f ${name} ${name.slice(-3)}`).join('\n');
    await ground.expect(`
      mknod f file 0644
      ${sets}
      listxattr f            => [${[...names].sort().join(' ')}]
      listxattr f 0          => ${names.reduce((sum, name) => sum + name.length + 1, 0)}
      listxattr f 100        => ERANGE
      listxattr f 9000       => ERANGE
      getxattr f ${names[17]!}    => 3 "n17"
    `);
  });

  it('security.capability goes when the file is written to', async () => {
    const capability = '0100000200040000000000000000000000000000';
    await ground.compare(`
      f= open f O_RDWR|O_CREAT 0755
      hexxattr f security.capability ${capability}
      getxattr f security.capability
      pwrite $f 0 x
      getxattr f security.capability
      hexxattr f security.capability ${capability}
      pwrite $f 3000000 x
      getxattr f security.capability
      hexxattr f security.capability ${capability}
      pwrite $f 2999999 x
      getxattr f security.capability
      hexxattr f security.capability ${capability}
      ftruncate $f 4
      getxattr f security.capability
      hexxattr f security.capability ${capability}
      open f O_RDWR|O_TRUNC
      getxattr f security.capability
      hexxattr f security.capability ${capability}
      chown f 1000 1000
      getxattr f security.capability
      hexxattr f security.capability ${capability}
      chmod f 0700
      getxattr f security.capability 0
      listxattr f
    `);
  });

  it('with the tools of Debian', async () => {
    await ground.compareShell(`
      touch f; mkdir d; ln -s f s
      setfattr -n user.text -v 'some text' f
      setfattr -n user.hex -v 0x0001ff f
      getfattr -d -e hex f
      getfattr -n user.none f
      cp --preserve=all f d/copy; getfattr -d d/copy
      cp f d/plain; getfattr -d d/plain
      mv d/copy moved; getfattr -d moved
      tar --xattrs -cf t.tar f; mkdir x; tar --xattrs --xattrs-include='user.*' -xf t.tar -C x
      getfattr -d x/f
      rsync -aX f r; getfattr -d r
      setfattr -x user.text f; getfattr -d f
      ls -l f | cut -c1-11
    `);
  });
});
