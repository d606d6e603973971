/** POSIX access control lists: setfacl and getfacl, enforcement, inheritance, acl(5)'s rules. */
import { places } from './places.js';
import type { Places } from './places.js';

describe('access control lists', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('are set, shown, changed and removed', async () => {
    await ground.compareShell(`
      umask 022; touch f; mkdir d
      getfacl f d
      setfacl -m u:1000:rw,g:1001:r f; getfacl -n f; stat -c %a f; ls -l f | cut -c1-11
      setfacl -m m::r f; getfacl -n f; stat -c %a f
      setfacl -m u:1000:rwx f; getfacl -n f
      setfacl -x u:1000 f; getfacl -n f; stat -c %a f
      setfacl -b f; getfacl -n f; stat -c %a f; ls -l f | cut -c1-11
      setfacl -m u::rwx,g::r,o::- f; getfacl -n f; stat -c %a f
      setfacl -d -m u:1000:rwx d; getfacl -n d; ls -ld d | cut -c1-11
      setfacl -d -m u:1000:rwx f
      setfacl -k d; getfacl -n d
      setfacl --set u::rw,u:5:r,g::-,m::rwx,o::r f; getfacl -n f; stat -c %a f
      setfacl -m u:4000000000:r f; getfacl -n f
      getfattr -d -m - -e hex f
    `);
  });

  it('follow chmod, and chmod follows them', async () => {
    await ground.compareShell(`
      umask 022; touch f
      setfacl -m u:1000:rw,g::r f
      chmod 700 f; getfacl -n f; stat -c %a f
      chmod g+w f; getfacl -n f
      chmod 4755 f; getfacl -n f; stat -c %a f
      chmod 0 f; getfacl -n f
      chown 1000:1000 f; getfacl -n f
    `);
  });

  it('permit and refuse', async () => {
    await ground.compareShell(`
      umask 022; echo content > f; chmod 600 f
      as() { setpriv --reuid $1 --regid $2 --groups "$3" -- "\${@:4}"; echo "$1 $2: $?"; }
      setfacl -m u:1000:r,g:1001:rw,g:1002:- f
      as 1000 1000 1000 cat f
      as 1000 1000 1000 sh -c 'echo more >> f'
      as 1005 1001 1001 sh -c 'echo more >> f'
      as 1005 1005 1005,1001 cat f
      as 1005 1005 1005 cat f
      as 1005 1002 1002 cat f
      as 1005 1002 1002,1001 cat f
      setfacl -m m::r f
      as 1005 1001 1001 sh -c 'echo more >> f'
      as 1005 1001 1001 cat f
      setfacl -m o::r f; setfacl -m u:1003:- f
      as 1003 1003 1003 cat f
      as 1004 1004 1004 cat f
      mkdir d; chmod 700 d; echo x > d/x; setfacl -m u:1000:x d
      as 1000 1000 1000 cat d/x
      as 1000 1000 1000 ls d
      setfacl -m u:1000:rwx d
      as 1000 1000 1000 ls d
      as 1000 1000 1000 touch d/y
      as 1000 1000 1000 rm d/y
      as 1001 1001 1001 ls d
      as 1000 1000 1000 setfacl -m u:1000:rwx f
      setfacl -b f d
      as 1000 1000 1000 cat d/x
    `);
  });

  it('are inherited from a directory', async () => {
    await ground.compareShell(`
      umask 077; mkdir d; chmod 755 d
      setfacl -d -m u::rwx,u:1000:rwx,g::rx,g:1001:rwx,m::rwx,o::r d
      touch d/file; mkdir d/sub; mkfifo d/fifo; ln -s x d/link
      install -m 640 /dev/null d/installed
      mkdir -m 700 d/private
      getfacl -n d/file d/sub d/fifo d/installed d/private
      stat -c '%a %n' d/file d/sub d/fifo d/link d/installed d/private
      touch d/sub/deep; mkdir d/sub/deeper; getfacl -n d/sub/deep d/sub/deeper
      echo x > d/redirected; getfacl -n d/redirected
      mv d/file moved; getfacl -n moved
      touch plain; mv plain d/; getfacl -n d/plain
      cp moved d/copied; getfacl -n d/copied
      setfacl -k d; setfacl -d -m u::rwx,g::rx,o::- d
      touch d/minimal; mkdir d/minimaldir; getfacl -n d/minimal d/minimaldir
      setfacl -k d; touch d/after; mkdir d/afterdir; getfacl -n d/after d/afterdir
    `);
  });

  it('are inherited with set-group-ID, and replace the umask', async () => {
    await ground.compareShell(`
      umask 077; mkdir d; chgrp 1001 d; chmod 2775 d
      setfacl -d -m u:1000:rw,o::rx d
      touch d/f; mkdir d/s; touch d/s/f; mkdir d/s/s
      getfacl -n d/f d/s d/s/f d/s/s
      umask 0; touch d/g; mkdir d/t; getfacl -n d/g d/t
    `);
  });

  it('take set-group-ID from files of groups that the owner is not in', async () => {
    await ground.compareShell(`
      touch f; chown 1000:1001 f; chmod 2755 f
      setpriv --reuid 1000 --regid 1000 --clear-groups setfacl -m u:5:r f; stat -c %a f
      chmod 2755 f
      setpriv --reuid 1000 --regid 1000 --groups 1001 setfacl -m u:6:r f; stat -c %a f
      chmod 2755 f; setfacl -m u:7:r f; stat -c %a f
    `);
  });

  it('are refused where they make no sense', async () => {
    // Version 2; owner and others without a group; entries out of order; a named one without mask.
    const owner = '01000700ffffffff';
    const group = '04000500ffffffff';
    const other = '20000500ffffffff';
    const named = '02000700e8030000';
    const mask = '10000700ffffffff';
    await ground.compare(`
      mknod f file 0644
      mkdir d 0755
      symlink f s
      getxattr f system.posix_acl_access
      removexattr f system.posix_acl_access
      hexxattr f system.posix_acl_access 02000000${owner}${group}${other}
      stat f mode
      listxattr f
      hexxattr f system.posix_acl_access 02000000${owner}${other}
      hexxattr f system.posix_acl_access 02000000${group}${owner}${other}
      hexxattr f system.posix_acl_access 02000000${owner}${named}${group}${other}
      hexxattr f system.posix_acl_access 02000000${owner}${named}${group}${mask}${other}
      stat f mode
      listxattr f
      hexxattr f system.posix_acl_access 01000000${owner}${group}${other}
      hexxattr f system.posix_acl_access 02000000${owner}00
      hexxattr f system.posix_acl_access 0200
      hexxattr f system.posix_acl_access 02000000
      stat f mode
      listxattr f
      hexxattr f system.posix_acl_default 02000000${owner}${group}${other}
      hexxattr d system.posix_acl_default 02000000${owner}${group}${other}
      listxattr d
      removexattr d system.posix_acl_default
      removexattr d system.posix_acl_default
      listxattr d
      lsetxattr s system.posix_acl_access x
      as 1000:1000 hexxattr f system.posix_acl_access 02000000${owner}${group}${other}
    `);
  });

  it('survive tar, cp and rsync', async () => {
    await ground.compareShell(`
      umask 022; mkdir a; touch a/f; mkdir a/d
      setfacl -m u:1000:rw a/f; setfacl -d -m g:1001:rx a/d; setfacl -m g:1001:rx a/d
      show() { find $1 | sort | xargs getfacl -n; }
      cp -a a b; show b
      tar --acls -cf t.tar a; mkdir x; tar --acls -xpf t.tar -C x; show x/a
      rsync -aA a/ c; show c
      getfacl -nR a > saved; setfacl -bR a; show a; setfacl --restore=saved; show a
    `);
  });
});
