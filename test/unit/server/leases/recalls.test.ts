/** Recalls of one change are over together, and what goes on then may begin others. */
import assert from 'node:assert/strict';
import { NOTICE_INODE } from '../../../../src/protocol/leases.js';
import { RecallTable } from '../../../../src/server/leases/recalls.js';

describe('recalls', () => {
  it('of a change are all over before anybody goes on', () => {
    const table = new RecallTable();
    const first = table.open(NOTICE_INODE, 1, 0);
    const second = table.open(NOTICE_INODE, 2, 0);
    table.join([first, second]);
    let next = first;
    first.waiters.push(() => {
      next = table.open(NOTICE_INODE, 2, 0);
      next.holders.add(7);
    });
    table.close(first);
    assert.equal(next.released, false, 'it waits for another holder');
    assert.equal(table.inode(2), next);
    assert.ok(first.released && second.released);
    assert.equal(table.size, 1);
  });

  it('of everything are met by whoever asks for anything', () => {
    const table = new RecallTable();
    table.openAll();
    const { everything } = table;
    assert.ok(everything !== undefined && table.size === 1);
    assert.equal(table.inode(5), everything);
    assert.equal(table.entry(5, 6), everything);
    assert.equal(table.anyEntry(5), everything);
    let released = 0;
    everything.waiters.push(() => released++);
    table.closeAll();
    table.closeAll();
    assert.equal(released, 1);
    assert.equal(table.inode(5), undefined);
    assert.equal(table.size, 0);
  });
});
