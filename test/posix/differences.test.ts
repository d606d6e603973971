/** What differs from a local file system on purpose: the list in docs/client.md, held to it. */
import { places } from './places.js';
import type { Places } from './places.js';

describe('what is meant to differ', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('sizes, blocks, births and whiteouts', async () => {
    await ground.expect(`
      mkdir d 0755
      stat d size  => 4096
      many d/f 0 300
      stat d size  => 4096
      f= open f O_RDWR|O_CREAT 0644
      ftruncate $f 1048576
      stat f blocks  => 2048
      birth f  => no
      rename f g RENAME_WHITEOUT  => EINVAL
      rename f g RENAME_WHITEOUT|RENAME_NOREPLACE  => EINVAL
      list .  => [d f]
    `);
  });

  it('stores through a mapping change the times when they are written', async () => {
    await ground.expect(`
      f= open f O_RDWR|O_CREAT 0644
      fill $f 0 10000 1
      map m $f 0 10000
      load m 0 1
      snap f
      store m 0 x
      changed f  => atime same, mtime same, ctime same
      msync m MS_SYNC
      changed f  => atime same, mtime later, ctime later
    `);
  });

  it('removed directories can be asked, not changed', async () => {
    await ground.expect(`
      mkdir d 0755
      o= open d O_RDONLY|O_DIRECTORY
      chdir d
      rmdir ../d  => 0
      fstat $o type,mode,nlink,size  => directory 0755 0 4096
      stat . type,nlink  => directory 0
      fchmod $o 0700  => ESTALE
      utimens . 1 1  => ESTALE
    `);
  });

  it('times and sizes beyond those of ext4', async () => {
    await ground.expect(`
      f= open f O_RDWR|O_CREAT 0644
      ftruncate $f 9007199254740991  => 0
      utimens f 9007199254740991.999999999 -9007199254740991  => 0
      stat f size  => 9007199254740991
      stat f atime,mtime  => 9007199254740991.999999999 -9007199254740991.000000000
      utimens f 9223372036854775807 -9223372036854775808  => 0
      stat f atime,mtime  => 9007199254740991.000000000 -9007199254740991.000000000
    `);
  });
});
