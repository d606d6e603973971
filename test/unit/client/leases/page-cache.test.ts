/** Which opens the kernel may cache, and which open files it must not believe any more. */
import assert from 'node:assert/strict';
import { HandleTable, type Handle } from '../../../../src/client/handles.js';
import { PageCache } from '../../../../src/client/leases/page-cache.js';
import { OpenFile } from '../../../../src/client/open-file.js';
import { PageUse } from '../../../../src/client/request.js';
import { LEASE_INODE, LEASE_PAGES } from '../../../../src/protocol/leases.js';
import type { RpcPeer } from '../../../../src/transport/rpc-client.js';

const INODE = 77;
const GRANTED = LEASE_INODE | LEASE_PAGES;

class World {
  nowMs = 1000;
  readonly peer = { trustedUntilMs: 10_000 } as RpcPeer;
  readonly handles = new HandleTable();
  readonly dropped: number[] = [];
  file: OpenFile | undefined;
  readonly pages = new PageCache({
    fileOf: (inode) => (this.file?.inode === inode ? this.file : undefined),
    nowMs: () => this.nowMs,
    peerOfInode: () => this.peer,
  });

  constructor(enabled = true) {
    this.pages.enabled = enabled;
    this.pages.drop = (inode) => this.dropped.push(inode);
  }

  /** A first open that the target answers with these flags. */
  register(flags: number): void {
    this.file = new OpenFile();
    this.file.reset(INODE);
    this.pages.registered(this.file, flags);
  }

  open(): { handle: Handle; use: PageUse } {
    const handle = this.handles.add(INODE, this.file!);
    return { handle, use: this.pages.open(handle) };
  }

  close(handle: Handle): void {
    this.pages.closed(handle);
    this.handles.remove(handle);
  }
}

describe('page cache', () => {
  it('asks for nothing and chooses nothing unless it is enabled', () => {
    const world = new World(false);
    assert.deepEqual([world.pages.openFlags, world.pages.createFlags], [0, 0]);
    world.register(GRANTED);
    assert.equal(world.open().use, PageUse.AsOptions);
    assert.equal(world.pages.isTainted(INODE), false);
  });

  it('keeps pages from a close on, and drops older ones before', () => {
    const world = new World();
    assert.notEqual(world.pages.openFlags, 0);
    world.register(GRANTED);
    const first = world.open();
    const second = world.open();
    assert.deepEqual([first.use, second.use], [PageUse.Cached, PageUse.Cached]);
    world.close(first.handle);
    assert.equal(world.open().use, PageUse.Kept);
    world.register(GRANTED);
    assert.equal(world.open().use, PageUse.Kept, 'the lease was held all the time');
  });

  it('opens without a lease for direct I/O', () => {
    const world = new World();
    world.register(LEASE_INODE);
    assert.equal(world.open().use, PageUse.Direct);
    assert.equal(world.pages.isTainted(INODE), false, 'nothing is cached');
  });

  it('distrusts what is open when the lease goes, until it is closed', () => {
    const world = new World();
    world.register(GRANTED);
    const { handle } = world.open();
    assert.equal(world.pages.anyTainted, false);
    world.pages.recall(INODE);
    assert.ok(world.pages.isTainted(INODE));
    assert.ok(world.pages.anyTainted);
    assert.deepEqual(world.dropped, [], 'its reads see to that');
    const other = world.open();
    assert.equal(other.use, PageUse.Direct);
    world.pages.registered(world.file!, GRANTED);
    assert.ok(world.pages.isTainted(INODE), 'the kernel may have pages of before');
    world.close(other.handle);
    assert.ok(world.pages.isTainted(INODE));
    world.close(handle);
    assert.equal(world.pages.isTainted(INODE), false);
    world.register(GRANTED);
    assert.equal(world.open().use, PageUse.Cached, 'old pages are dropped');
  });

  it('has the pages of a closed file dropped', () => {
    const world = new World();
    world.register(GRANTED);
    world.close(world.open().handle);
    world.file = undefined;
    world.pages.recall(INODE);
    world.pages.recall(INODE);
    assert.deepEqual(world.dropped, [INODE]);
  });

  it('believes nothing while the target is not heard of, and does again', () => {
    const world = new World();
    world.register(GRANTED);
    const { handle } = world.open();
    world.nowMs = 10_001;
    assert.ok(world.pages.isTainted(INODE));
    assert.equal(world.open().use, PageUse.Direct);
    world.peer.trustedUntilMs = 20_000;
    assert.equal(world.pages.isTainted(INODE), false);
    world.pages.newSession(world.peer);
    assert.ok(world.pages.isTainted(INODE));
    world.close(handle);
    assert.equal(world.pages.held, 0);
  });

  it('takes an answer without the lease for its loss', () => {
    const world = new World();
    world.register(GRANTED);
    world.close(world.open().handle);
    world.register(LEASE_INODE);
    assert.equal(world.open().use, PageUse.Direct);
  });
});
