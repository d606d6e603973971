/** O_SYNC, O_DSYNC, O_DIRECT, sync_file_range, syncfs: accepted, and no data is harmed. */
import assert from 'node:assert/strict';
import { sleep, until } from '../support/cluster.js';
import { places } from './places.js';
import type { Places } from './places.js';

describe('synchronous and direct files', () => {
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('write what they are told, and answer as a local file system does', async () => {
    await ground.compare(`
      s= open s O_RDWR|O_CREAT|O_SYNC 0644
      fill $s 0 3000000 1
      d= open s O_RDWR|O_DSYNC|O_APPEND
      fill $d 0 5000 2
      write $d more
      digest $s 0 4000000
      fsync $s
      fdatasync $d
      syncrange $s 0 0
      syncrange $s 100 2000000
      syncfs $s
      stat s size
      o= open . O_RDONLY|O_DIRECTORY
      fsync $o
      fdatasync $o
      syncfs $o
      fsync 99
      fdatasync 99
      syncrange 99 0 0
      syncfs 99
      mknod fifo fifo 0644
      p= open fifo O_RDWR|O_NONBLOCK
      fsync $p
      syncrange $p 0 0
      syncrange $s -1 5
    `);
  });

  it('each write of O_SYNC and O_DSYNC reaches the targets as an fsync, others do not', async () => {
    const fsyncs = async (): Promise<number> => {
      const text = await (await fetch(`${ground.cluster.url}/metrics`)).text();
      const counts = text.matchAll(/counter="requestsFsync".* (\d+)$/gm);
      return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
    };
    // Counts come with heartbeats, a second or two late: those of earlier tests first.
    let before = -1;
    await until('the counts to stand still', async () => {
      const last = before;
      await sleep(2500);
      before = await fsyncs();
      return before === last;
    });
    const shell = (flags: string): Promise<void> =>
      ground.expect(`
        f= open f O_RDWR|O_CREAT|${flags} 0644
        fill $f 0 5000000 1  => 5000000
      `);
    await shell('O_APPEND');
    await shell('O_SYNC');
    await shell('O_DSYNC');
    // The manager hears of it with the next heartbeats.
    await until('the counts', async () => (await fsyncs()) >= before + 10);
    const more = (await fsyncs()) - before;
    assert.ok(more <= 10 * 4, `${more} fsyncs for 10 writes at 4 targets`);
  });

  it('O_DIRECT takes aligned data as others do', async () => {
    await ground.compare(`
      f= open f O_RDWR|O_CREAT|O_DIRECT 0644
      moved $f 0 1048576 0 write
      moved $f 1048576 4096 0 write
      moved $f 8192 1044480 0
      stat f size
      r= open f O_RDONLY
      digest $r 0 2000000
    `);
  });

  it('O_DIRECT has no rule of alignment: neither memory, offset nor length', async () => {
    await ground.expect(`
      f= open f O_RDWR|O_CREAT|O_DIRECT 0644
      moved $f 1 1000 1 write  => 1000
      moved $f 1048000 70001 513 write  => 70001
      moved $f 1048000 70001 3  => 70001
      moved $f 3 17 5  => 17
      stat f size  => 1118001
    `);
  });
});
