/**
 * What the kernel may remember, for how long, and how it is made to forget: validity of single
 * replies, and notices of attributes, names and pages, on real mounts of the FUSE addon.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { OpenFlag, Operation, type FuseRequest } from '../../../src/native/fuse.js';
import { errno } from '../../../src/common/errno.js';
import {
  Caller,
  FuseGround,
  callerIsHere,
  fuseIsHere,
  until,
  type Mounted,
} from './fuse-ground.js';

const LONG_MS = 60_000;

/** Counts requests by operation, also those that `intercept` answers (true). */
function watch(
  mounted: Mounted,
  intercept: (request: FuseRequest) => boolean = () => false,
): (operation: number) => number {
  const counts = new Map<number, number>();
  mounted.files.hold = (request) => {
    counts.set(request.operation, (counts.get(request.operation) ?? 0) + 1);
    return intercept(request);
  };
  return (operation) => {
    const count = counts.get(operation) ?? 0;
    counts.delete(operation);
    return count;
  };
}

async function written(mounted: Mounted, number: number): Promise<void> {
  assert.ok(number > 0);
  await until('the notice', () => mounted.files.notified >= number);
}

describe('FUSE notices', function () {
  this.timeout(20_000);
  let ground: FuseGround;

  before(function () {
    if (!fuseIsHere || !callerIsHere) this.skip();
    ground = new FuseGround();
  });

  afterEach(() => ground.unmountAll());
  after(() => ground?.remove());

  const remembering = { entryTimeoutMs: LONG_MS, attributesTimeoutMs: LONG_MS };

  it('makes stat ask again for attributes, of one inode', async () => {
    const mounted = ground.mount({ map: remembering });
    const [one, other] = [join(mounted.path, 'one'), join(mounted.path, 'other')];
    await fs.writeFile(one, '1');
    await fs.writeFile(other, '2');
    const { ino } = await fs.stat(one);
    await fs.stat(other);
    const asked = watch(mounted);
    await fs.stat(one);
    assert.equal(asked(Operation.GetAttr), 0, 'the kernel remembers');
    await written(mounted, mounted.session.notifyInode(ino));
    await fs.stat(other);
    assert.equal(asked(Operation.GetAttr), 0);
    await fs.stat(one);
    assert.equal(asked(Operation.GetAttr), 1);
    assert.equal(asked(Operation.Lookup), 0, 'its name is as good as before');
  });

  it('knows the root by its inode', async () => {
    const mounted = ground.mount({ map: remembering, session: { rootInode: 1 } });
    await fs.stat(mounted.path);
    const asked = watch(mounted);
    await fs.stat(mounted.path);
    assert.equal(asked(Operation.GetAttr), 0);
    await written(mounted, mounted.session.notifyInode(1));
    await fs.stat(mounted.path);
    assert.equal(asked(Operation.GetAttr), 1);
    assert.equal(mounted.session.counters.noticesUnknown, 0);
  });

  it('makes the kernel ask again for names, where it can', async () => {
    const mounted = ground.mount({ map: remembering });
    const file = join(mounted.path, 'file');
    await fs.writeFile(file, '');
    const { epochNotify, protocolMinor } = mounted.session.info;
    assert.equal(epochNotify, protocolMinor >= 44);
    const asked = watch(mounted);
    await fs.stat(file);
    assert.equal(asked(Operation.Lookup), 0, 'the kernel remembers');
    await written(mounted, mounted.session.notifyEpoch());
    await fs.stat(file);
    assert.equal(asked(Operation.Lookup), epochNotify ? 1 : 0);
    await fs.stat(file);
    assert.equal(asked(Operation.Lookup), 0, 'what is asked for since then is remembered');
  });

  it('lets the kernel remember that a name is absent, as long as each reply says', async () => {
    const mounted = ground.mount();
    const asked = watch(mounted, (request) => {
      if (request.operation !== Operation.Lookup) return false;
      if (request.nameBytes === 'gone'.length) request.replyNoEntry(LONG_MS);
      else request.replyStatus(errno.ENOENT);
      return true;
    });
    for (const [name, lookups] of [
      ['gone', 1],
      ['unsure', 3],
    ] as const) {
      for (let i = 0; i < 3; i++) {
        await assert.rejects(fs.stat(join(mounted.path, name)), { code: 'ENOENT' });
      }
      assert.equal(asked(Operation.Lookup), lookups, name);
    }
    await written(mounted, mounted.session.notifyEpoch());
    await assert.rejects(fs.stat(join(mounted.path, 'gone')), { code: 'ENOENT' });
    assert.equal(asked(Operation.Lookup), mounted.session.info.epochNotify ? 1 : 0);
  });

  it('raises the epoch for an inode that the kernel does not know yet', async () => {
    const mounted = ground.mount({ map: remembering });
    const file = join(mounted.path, 'file');
    await fs.writeFile(file, '');
    const before = mounted.session.counters;
    const asked = watch(mounted);
    await written(mounted, mounted.session.notifyInode(123_456_789));
    const after = mounted.session.counters;
    assert.equal(after.noticesUnknown - before.noticesUnknown, 1);
    const known = mounted.session.info.epochNotify ? 1 : 0;
    assert.equal(after.epochs - before.epochs, known);
    await fs.stat(file);
    assert.equal(asked(Operation.Lookup), known);
  });

  it('writes many in order and tells the last number', async () => {
    const mounted = ground.mount();
    await fs.stat(mounted.path);
    let last = 0;
    for (let i = 0; i < 5000; i++) {
      last = i % 3 === 0 ? mounted.session.notifyEpoch() : mounted.session.notifyInode(1);
      assert.equal(last, i + 1);
    }
    await until('all notices', () => mounted.files.notified === last);
    const { notices, epochs, noticesFailed } = mounted.session.counters;
    assert.equal(notices, last);
    assert.equal(noticesFailed, 0);
    assert.ok(epochs < 100, `${epochs} epochs: one for many`);
  });

  describe('of pages', () => {
    const caching = { ...remembering, openFlags: OpenFlag.KeepCache };

    it('makes the kernel read again', async () => {
      const mounted = ground.mount({ map: caching });
      const file = join(mounted.path, 'file');
      await fs.writeFile(file, 'x'.repeat(20_000));
      const { ino } = await fs.stat(file);
      await fs.readFile(file);
      const asked = watch(mounted);
      await fs.readFile(file);
      assert.equal(asked(Operation.Read), 0, 'the kernel has it');
      const number = mounted.session.notifyPages(ino);
      await until('the pages', () => mounted.files.pagesDropped === number);
      assert.equal((await fs.readFile(file)).length, 20_000);
      assert.ok(asked(Operation.Read) > 0);
    });

    it('go with the answer to the question before a read, and stat sees nothing of that', async () => {
      const map = { openFlags: OpenFlag.KeepCache };
      const mounted = ground.mount({ map });
      const file = join(mounted.path, 'file');
      await fs.writeFile(file, 'x'.repeat(20_000));
      const { mtimeMs } = await fs.stat(file);
      const caller = new Caller(mounted.path);
      await caller.call('f= open file O_RDONLY');
      assert.ok(mounted.session.info.autoInvalidData);
      let dropping = false;
      const asked = watch(mounted, (request) => {
        if (request.operation !== Operation.GetAttr || request.handle === 0) return false;
        if (dropping) mounted.files.answerDropping(request);
        return dropping;
      });
      const read = (): Promise<string> => caller.call('pread $f 0 4');
      await read();
      asked(Operation.Read);
      assert.equal(await read(), '4 "xxxx"');
      assert.equal(asked(Operation.Read), 0, 'the kernel has it');
      dropping = true;
      for (let i = 0; i < 3; i++) {
        assert.equal(await read(), '4 "xxxx"');
        assert.ok(asked(Operation.Read) > 0, 'dropped each time');
        assert.equal((await fs.stat(file)).mtimeMs, mtimeMs);
      }
      await caller.end();
    });

    it('waits for a page that is being read, and holds up no other notice', async () => {
      const mounted = ground.mount({ map: caching });
      const { files, session, path } = mounted;
      await fs.writeFile(join(path, 'file'), 'x'.repeat(20_000));
      const { ino } = await fs.stat(join(path, 'file'));
      files.hold = (request) => request.operation === Operation.Read;
      const reading = fs.readFile(join(path, 'file'));
      await until('the read', () => files.held.length > 0);
      const number = session.notifyPages(ino);
      await written(mounted, session.notifyInode(ino));
      await written(mounted, session.notifyEpoch());
      assert.equal(files.pagesDropped, 0);
      files.hold = () => false;
      files.answerHeld();
      assert.equal((await reading).length, 20_000);
      await until('the pages', () => files.pagesDropped === number);
    });

    it('ends although a notice waits for a request that was never received', async () => {
      const mounted = ground.mount({ map: caching });
      const { files, session, path, arena } = mounted;
      await fs.writeFile(join(path, 'file'), 'x'.repeat(20_000));
      const { ino } = await fs.stat(join(path, 'file'));
      const reader = new Caller(path);
      const writer = new Caller(path);
      assert.equal(await reader.call('f= open file O_RDONLY'), 'ok');
      assert.equal(await writer.call('f= open other O_RDWR|O_CREAT|O_DIRECT 0644'), 'ok');
      // Nothing is received once the write below has the last slot.
      files.hold = (request) => request.operation === Operation.Write;
      while (arena.bulk.available > 0) arena.bulk.take();
      const writing = writer.call('pwrite $f 0 {x*100000}');
      await until('the write', () => files.held.length === 1);
      // The last page, which the short write has not filled.
      const reading = reader.call('pread $f 16384 4096');
      await new Promise((resolve) => setTimeout(resolve, 100));
      const number = session.notifyPages(ino);
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.ok(files.pagesDropped < number, 'it waits');
      const from = Date.now();
      session.close();
      assert.ok(Date.now() - from < 2000);
      const lost = /ENOTCONN|ECONNABORTED|EIO/;
      assert.match(await reading, lost);
      assert.match(await writing, lost);
      await reader.end();
      await writer.end();
    });
  });
});
