/** Access times: relatime's rule, O_NOATIME, and that they reach the servers in a while. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/cluster.js';
import { places } from './places.js';
import type { Places } from './places.js';

/** Whole seconds: milliseconds of a double are not exact. */
function daysAgo(days: number): Date {
  return new Date((Math.floor(Date.now() / 1000) - days * 86_400) * 1000);
}

describe('access times', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('follow relatime for files', async () => {
    await ground.compare(`
      w= open f O_RDWR|O_CREAT 0644
      write $w content
      f= open f O_RDONLY
      snap f
      read $f 3
      changed f
      snap f
      pread $f 0 3
      changed f
      snap f
      write $w more
      changed f
      snap f
      pread $f 0 3
      changed f
      snap f
      pread $w 0 3
      changed f
      snap f
      chmod f 0600
      pread $f 0 3
      changed f
      utimens f 1000000000 900000000
      snap f
      pread $f 0 3
      snap f
      pread $f 0 3
      changed f
      utimens f 4000000000 1
      snap f
      pread $f 0 3
      changed f
      snap f
      pread $f 1000000 3
      changed f
    `);
  });

  it('are left alone with O_NOATIME, and by opening, stat and listing attributes', async () => {
    await ground.compare(`
      w= open f O_RDWR|O_CREAT 0644
      write $w content
      n= open f O_RDONLY|O_NOATIME
      snap f
      read $n 3
      changed f
      r= open f O_RDONLY
      stat f type
      listxattr f
      close $r
      changed f
      as 1000:1000 open f O_RDONLY|O_NOATIME
      as 1000:1000 x= open f O_RDONLY
      as 1000:1000 read $x 10
      changed f
    `);
  });

  it('of directories and links change when they are read', async () => {
    await ground.compare(`
      mkdir d 0755
      mknod d/f file 0644
      snap d
      stat d/f type
      changed d
      list d
      changed d
      snap d
      list d
      changed d
      mknod d/g file 0644
      snap d
      list d
      changed d
    `);
  });

  it('are shown at once here, and reach the servers', async () => {
    const { mount } = ground.fresh();
    const other = ground.cluster.mount('atime', 'attr=0,entry=0');
    try {
      const path = join(mount, 'f');
      fs.writeFileSync(path, 'content');
      const past = daysAgo(3);
      fs.utimesSync(path, past, past);
      assert.equal(fs.statSync(path).atimeMs, past.getTime());
      fs.readFileSync(path);
      const here = fs.statSync(path).atimeMs;
      assert.ok(here > Date.now() - 10_000);
      const there = join(other, mount.slice(ground.mount.length), 'f');
      await until('the access time to arrive', () => fs.statSync(there).atimeMs === here);
      // Set while one is on its way: what was set stays.
      fs.writeFileSync(path, 'changed');
      fs.readFileSync(path);
      fs.utimesSync(path, past, new Date());
      assert.equal(fs.statSync(path).atimeMs, past.getTime());
      await new Promise((resolve) => setTimeout(resolve, 1500));
      assert.equal(fs.statSync(there).atimeMs, past.getTime());
    } finally {
      ground.cluster.unmount(other);
    }
  });

  it('reach the servers when the mount goes', () => {
    const last = ground.cluster.mount('last');
    const path = join(last, 'read-at-last');
    fs.writeFileSync(path, 'content');
    const past = daysAgo(3);
    fs.utimesSync(path, past, past);
    fs.readFileSync(path);
    ground.cluster.unmount(last);
    const stat = fs.statSync(join(ground.mount, 'read-at-last'));
    assert.ok(stat.atimeMs > Date.now() - 30_000);
  });

  it('stay with -o noatime', () => {
    const quiet = ground.cluster.mount('quiet', 'noatime');
    const path = join(quiet, 'quiet');
    fs.writeFileSync(path, 'content');
    const past = daysAgo(3);
    fs.utimesSync(path, past, past);
    fs.readFileSync(path);
    assert.equal(fs.statSync(path).atimeMs, past.getTime());
    ground.cluster.unmount(quiet);
  });
});
