/** Names at their limits, symbolic links in a ring, renames and links that succeed, removal. */
import { places } from './places.js';
import type { Places } from './places.js';

/** Directories beside each other lie on different targets: pairs of all kinds occur. */
const SIBLINGS = ['a', 'b', 'c', 'd', 'e', 'f'];

describe('paths', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('of 4,095 bytes are names, of 4,096 are not', async () => {
    const longest = '{./*1920}{m*255}';
    const tooLong = '{./*1920}{m*256}';
    const both = (call: string): string => `
      ${call.replace('PATH', longest)}
      ${call.replace('PATH', tooLong)}
      ${call.replace('PATH', `${tooLong}/x`)}
    `;
    const calls = [
      'opens PATH O_RDWR|O_CREAT 0644',
      'stat PATH type',
      'lstat PATH type',
      'access PATH R_OK',
      'chmod PATH 0600',
      'chown PATH 1 1',
      'truncate PATH 5',
      'utimens PATH 1 1',
      'rename PATH x',
      'rename x PATH',
      'link PATH x',
      'unlink PATH',
      'link x PATH',
      'unlink PATH',
      'mkdir PATH 0755',
      'list PATH',
      'rmdir PATH',
      'symlink x PATH',
      'readlink PATH',
      'unlink PATH',
      'mknod PATH fifo 0644',
      'symlink PATH l',
      'stat l type',
      'getxattr PATH user.a',
    ];
    await ground.compare(calls.map(both).join('\n'));
  });

  it('through at most 40 symbolic links', async () => {
    const chain = Array.from({ length: 42 }, (_, i) => `symlink l${i} l${i + 1}`).join('\n');
    await ground.compare(`
      symlink target l0
      ${chain}
      stat l39 type
      stat l40 type
      mknod target file 0644
      stat l38 type
      stat l39 type
      stat l40 type
      stat l42 type
      lstat l42 type
      opens l39 O_RDONLY
      opens l40 O_RDONLY
      opens l40 O_RDWR|O_CREAT 0644
      opens l40 O_PATH|O_NOFOLLOW
      unlink l40
      stat l41 type
      symlink one two
      symlink two one
      stat one type
      opens one O_RDONLY|O_CREAT 0644
      mkdir one/x 0755
      rename one three
      stat two type
      rename two three/x
      symlink . here
      stat here/here/here/target type
      stat ${'here/'.repeat(39)}target type
      stat ${'here/'.repeat(40)}target type
      stat ${'here/'.repeat(41)}target type
    `);
  });

  it('of any bytes, and of names that only look alike', async () => {
    await ground.compareShell(`
      touch $'tab\\tnew\\nline' $'\\xff\\xfe' 'ä' $'a\\u0308' ' ' '  ' '*' '...' '-n' 'A' $'\\x01'
      ls -b1 | sort; ls | wc -c
      rm $'\\xff\\xfe'; mv ' ' '.. '; mkdir $'d\\x7f'; ln -s $'\\xff' l; readlink l | od -c
      ls -ab1 | sort
    `);
  });

  it('are long where no path is', async () => {
    await ground.compare(`
      deep {d*250} 40
      stat {d*250}/{d*250}/{d*250} nlink
      chdir {d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}
      chdir {d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}/{d*250}
      mknod file file 0644
      rename file {n*255}
      stat {n*255} type,nlink
      getcwd
      list ..
    `);
  });
});

describe('rename', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('of files and directories between directories, over what is there, and back', async () => {
    const make = SIBLINGS.map((name) => `mkdir ${name} 0755`).join('\n');
    const each = SIBLINGS.flatMap((from) =>
      SIBLINGS.map(
        (to) => `
        mknod ${from}/file file 0644
        mknod ${from}/over file 0600
        mkdir ${from}/dir 0755
        mkdir ${from}/dir/sub 0700
        rename ${from}/file ${to}/file2
        rename ${from}/over ${to}/file2
        stat ${to}/file2 type,mode,nlink
        rename ${from}/dir ${to}/dir2
        stat ${to}/dir2/sub type,mode
        entries ${to}/dir2
        stat ${from} nlink
        stat ${to} nlink
        mkdir ${from}/empty 0755
        rename ${to}/dir2 ${from}/empty
        stat ${from} nlink
        stat ${to} nlink
        rename ${from}/empty ${to}/file2 RENAME_EXCHANGE
        list ${from}
        list ${to}
        rename ${to}/file2/sub ${from}/up
        rmdir ${to}/file2
        rmdir ${from}/up
        unlink ${from}/empty
        stat ${from} nlink
      `,
      ),
    );
    await ground.compare(`${make}\n${each.join('')}`);
  });

  it('never makes a loop', async () => {
    const make = SIBLINGS.map((name) => `mkdir ${name} 0755\nmkdir ${name}/x 0755`).join('\n');
    await ground.compare(`
      ${make}
      mkdir a/x/y 0755
      mkdir a/x/y/z 0755
      rename a a/b
      rename a a/x/y/z/b
      rename a/x a/x/y
      rename a/x a/x/y/z
      rename a a/x RENAME_EXCHANGE
      rename a/x a RENAME_EXCHANGE
      rename a/x/y/z a
      rename a/x/y a/x
      rename b a/x/y/z/b
      rename c a/x/y/z/b/c
      rename d a/x/y/z/b/c/d
      rename a a/x/y/z/b/c/d/a
      rename a/x/y a/x/y/z/b/c/d/a
      rename a/x e/x RENAME_EXCHANGE
      rename e e/x/y/z/b/c
      entries e/x/y/z/b/c/d
      list a/x
      stat a nlink
      stat e nlink
      rename e/x/y/z/b/c a/x RENAME_EXCHANGE
      list a/x
      list e/x/y/z/b/c
    `);
  });

  it('with the flags of renameat2', async () => {
    await ground.compare(`
      mknod f file 0644
      mknod g file 0600
      mkdir d 0755
      symlink f s
      rename f g RENAME_NOREPLACE
      rename f f RENAME_NOREPLACE
      rename f new RENAME_NOREPLACE
      rename missing new RENAME_NOREPLACE
      rename new d RENAME_EXCHANGE
      stat new type
      stat d type
      rename new s RENAME_EXCHANGE
      lstat new type
      lstat s type
      rename g missing RENAME_EXCHANGE
      rename g g RENAME_EXCHANGE
      rename g x RENAME_EXCHANGE|RENAME_NOREPLACE
      rename g x RENAME_EXCHANGE|RENAME_WHITEOUT
      rename g x 8
      list .
    `);
  });

  it('keeps what is open, and the other names of a file', async () => {
    await ground.compare(`
      mkdir a 0755
      mkdir b 0755
      f= open a/f O_RDWR|O_CREAT 0644
      fill $f 0 2000000 1
      g= open b/g O_RDWR|O_CREAT 0644
      write $g replaced
      link b/g a/g2
      rename a/f b/g
      fstat $g nlink
      pread $g 0 100
      digest $f 0 3000000
      fstat $f nlink
      samefile a/g2 b/g
      unlink a/g2
      fstat $g nlink
      pread $g 0 100
      link b/g a/f
      rename a/f b/g
      list a
      list b
      rename b/g a/f
      stat a/f nlink
      d= open b O_RDONLY|O_DIRECTORY
      mkdir c 0755
      rename b c
      fstat $d nlink
      h= openat $d new O_RDWR|O_CREAT 0644
      list c
      chdir c
      rename ../c ../e
      list .
      stat ../e/new type
    `);
  });
});

describe('links', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('are names of one inode, in any directory', async () => {
    const make = SIBLINGS.map((name) => `mkdir ${name} 0755`).join('\n');
    const link = SIBLINGS.map((name) => `link f ${name}/f\nstat f nlink\nsamefile f ${name}/f`);
    const drop = SIBLINGS.map((name) => `unlink ${name}/f\nstat f nlink\nlist ${name}`);
    await ground.compare(`
      ${make}
      f= open f O_RDWR|O_CREAT 0644
      write $f content
      ${link.join('\n')}
      chmod c/f 0600
      stat d/f mode,size
      link a/f b/f
      link a/f b/f/x
      link a f2
      link a/f missing/f
      link a/missing b/g
      rename a/f b/f
      list a
      unlink a/f
      mknod p fifo 0644
      link p b/p
      symlink f s
      link s b/s
      lstat s nlink
      readlink b/s
      link s b/t AT_SYMLINK_FOLLOW
      stat f nlink
      unlink b/t
      ${drop.join('\n')}
      fstat $f nlink
      unlink f
      fstat $f nlink
      pread $f 0 100
    `);
  });

  it('of a user, to what he may not write', async () => {
    await ground.compare(`
      mknod f file 0644
      mknod own file 0600
      chown own 1000 1000
      mkdir d 0777
      chmod d 0777
      as 1000:1000 link own d/own
      as 1000:1000 link f d/f
      chmod f 0666
      as 1000:1000 link f d/f
      chmod d 0755
      as 1000:1000 link own d/own2
      chmod d 0311
      as 1000:1000 link own d/own2
      as 1000:1000 stat d/own nlink
      as 1000:1000 list d
    `);
  });

  it('many of one file', async () => {
    await ground.compare(`
      mknod f file 0644
      links f l 100
      stat f nlink
      unlink f
      stat l99 nlink
      fewer l 0 99
      stat l99 nlink
    `);
  });

  // Some 130,000 requests; in unit tests the count is set instead.
  if (process.env['SEALFS_POSIX_FULL'] === undefined) return;

  it('65,000 of one file, then EMLINK', async function () {
    this.timeout(300_000);
    await ground.expect(`
      mknod f file 0644  => 0
      links f l 70000  => EMLINK at 64999
      stat f nlink  => 65000
      link f more  => EMLINK
      rename f l0 RENAME_EXCHANGE  => 0
      unlink l1  => 0
      link f l1  => 0
      link f more  => EMLINK
      fewer l 0 64999  => 0
      stat f nlink  => 1
    `);
  });
});
