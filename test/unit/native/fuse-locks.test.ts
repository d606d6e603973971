/**
 * Locks of files on a real mount of the FUSE addon: what arrives of fcntl(2), flock(2) and
 * open-file-description locks, and that nothing does unless the session asked for locks. The calls
 * are made by native/posix, one script line after another.
 */
import assert from 'node:assert/strict';
import {
  LOCK_OFFSET_MAX,
  LockType,
  Operation,
  type FuseRequest,
} from '../../../src/native/fuse.js';
import { errno } from '../../../src/common/errno.js';
import {
  Caller,
  FuseGround,
  callerIsHere,
  fuseIsHere,
  until,
  type Mounted,
} from './fuse-ground.js';

/** What a lock request said; the request itself ends with its reply. */
interface Asked {
  operation: number;
  inode: number;
  handle: number;
  owner: string;
  start: number;
  end: number;
  type: number;
  pid: number;
  flock: boolean;
}

const LOCKS: readonly number[] = [Operation.GetLock, Operation.SetLock, Operation.SetLockWait];

function describeLock(request: FuseRequest): Asked {
  return {
    operation: request.operation,
    inode: request.inode,
    handle: request.handle,
    owner: `${request.lockOwnerHigh} ${request.lockOwnerLow}`,
    start: request.lockStart,
    end: request.lockEnd,
    type: request.lockType,
    pid: request.lockPid,
    flock: request.isFlock,
  };
}

describe('FUSE locks', function () {
  this.timeout(20_000);
  let ground: FuseGround;

  before(function () {
    if (!fuseIsHere || !callerIsHere) this.skip();
    ground = new FuseGround();
  });

  afterEach(() => ground.unmountAll());
  after(() => ground?.remove());

  /** A mount that grants every lock, a record of what was asked, and a file that is open. */
  async function start(): Promise<{ mounted: Mounted; asked: Asked[]; caller: Caller }> {
    const mounted = ground.mount({ session: { locks: true } });
    const asked: Asked[] = [];
    mounted.files.hold = (request) => {
      if (!LOCKS.includes(request.operation)) return false;
      asked.push(describeLock(request));
      request.replyStatus(0);
      return true;
    };
    const caller = new Caller(mounted.path);
    assert.equal(await caller.call('f= open file O_RDWR|O_CREAT 0644'), 'ok');
    return { mounted, asked, caller };
  }

  it('says who locks what, of both families', async () => {
    const { mounted, asked, caller } = await start();
    assert.equal(mounted.session.info.locks, true);
    assert.equal(await caller.call('lock $f write 10 5'), '0');
    assert.equal(await caller.call('lock $f read 4294967296 0'), '0');
    assert.equal(await caller.call('lock $f none 10 5'), '0');
    assert.equal(await caller.call('ofdlock $f write 0 1'), '0');
    assert.equal(await caller.call('flock $f LOCK_EX'), '0');
    assert.equal(await caller.call('flock $f LOCK_SH|LOCK_NB'), '0');
    const { pid } = caller;
    const ours = { inode: asked[0]!.inode, handle: asked[0]!.handle, owner: asked[0]!.owner };
    const fcntl = { ...ours, operation: Operation.SetLock, flock: false };
    const infinite = { start: 0, end: LOCK_OFFSET_MAX };
    assert.deepEqual(asked[0], { ...fcntl, start: 10, end: 14, type: LockType.Write, pid });
    const toEnd = { start: 2 ** 32, end: LOCK_OFFSET_MAX };
    assert.deepEqual(asked[1], { ...fcntl, ...toEnd, type: LockType.Read, pid });
    assert.deepEqual(asked[2], { ...fcntl, start: 10, end: 14, type: LockType.Unlock, pid: 0 });
    const { owner } = asked[3]!;
    assert.notEqual(owner, ours.owner, 'an open file is not its process');
    const ofOpenFile = { ...fcntl, owner, type: LockType.Write, pid };
    assert.deepEqual(asked[3], { ...ofOpenFile, start: 0, end: 0 });
    const flock = { ...ofOpenFile, ...infinite, flock: true };
    assert.deepEqual(asked[4], { ...flock, operation: Operation.SetLockWait });
    assert.deepEqual(asked[5], { ...flock, type: LockType.Read });
    assert.equal(await caller.end(), 0);
  });

  it('takes offsets that no number holds for the last byte', async () => {
    const { asked, caller } = await start();
    assert.equal(await caller.call(`lock $f write ${2n ** 62n} ${2n ** 61n}`), '0');
    assert.deepEqual([asked[0]!.start, asked[0]!.end], [LOCK_OFFSET_MAX, LOCK_OFFSET_MAX]);
    assert.equal(await caller.end(), 0);
  });

  it('answers what stands in the way', async () => {
    const { mounted, caller } = await start();
    const answers: [type: number, start: number, end: number, pid: number][] = [
      [LockType.Write, 7, 9, process.pid],
      [LockType.Read, 2 ** 40, LOCK_OFFSET_MAX, 0],
      [LockType.Unlock, 0, 0, 0],
    ];
    mounted.files.hold = (request) => {
      if (request.operation !== Operation.GetLock) return false;
      const next = answers.shift()!;
      request.replyLock(...next);
      return true;
    };
    assert.equal(await caller.call('locked $f write 0 0'), 'write 7 3');
    assert.equal(await caller.call('locked $f write 0 0'), `read ${2 ** 40} 0`);
    assert.equal(await caller.call('locked $f write 0 0'), 'free');
    assert.equal(await caller.end(), 0);
  });

  it('passes refusals on', async () => {
    const { mounted, caller } = await start();
    for (const [status, name] of [
      [errno.EAGAIN, 'EAGAIN'],
      [errno.EDEADLK, 'EDEADLK'],
      [errno.ENOLCK, 'ENOLCK'],
    ] as const) {
      mounted.files.hold = (request) => {
        if (!LOCKS.includes(request.operation)) return false;
        request.replyStatus(status);
        return true;
      };
      assert.equal(await caller.call('lockwait $f write 0 0'), name);
    }
    assert.equal(await caller.end(), 0);
  });

  it('tells of a signal to a process that waits for a lock', async () => {
    const { mounted, caller } = await start();
    const { files } = mounted;
    files.hold = (request) => request.operation === Operation.SetLockWait;
    const waiting = caller.call('lockwait $f write 0 0');
    await until('the lock request', () => files.held.length === 1);
    caller.kill();
    await until('the interrupt', () => files.interrupted.length === 1);
    assert.equal(await waiting, 'ended');
    assert.equal(await caller.ended, 'SIGTERM');
  });

  it('says whose locks a close releases', async () => {
    const { mounted, asked, caller } = await start();
    const closes: { operation: number; owner: string; flock: boolean }[] = [];
    const grant = mounted.files.hold;
    mounted.files.hold = (request) => {
      const { operation } = request;
      if (operation === Operation.Flush || operation === Operation.Release) {
        const { owner } = describeLock(request);
        closes.push({ operation, owner, flock: request.releasesFlock });
      }
      return grant(request);
    };
    await caller.call('g= open file O_RDWR');
    await caller.call('lock $f write 0 0');
    await caller.call('flock $g LOCK_SH');
    await caller.call('h= open file O_RDWR');
    await caller.call('ofdlock $h write 0 1');
    for (const file of ['f', 'g', 'h']) {
      const before = closes.length;
      await caller.call(`close $${file}`);
      await until('flush and release', () => closes.length === before + 2);
    }
    const [process, file] = [asked[0]!.owner, asked[1]!.owner];
    const flushed = closes.filter(({ operation }) => operation === Operation.Flush);
    assert.deepEqual(flushed, Array(3).fill({ operation: 25, owner: process, flock: false }));
    const released = closes.filter(({ operation }) => operation === Operation.Release);
    assert.deepEqual(
      released.map(({ flock }) => flock),
      [false, true, false],
    );
    assert.deepEqual(
      released.map(({ owner }) => owner),
      ['0 0', file, '0 0'],
      'of an open file that fcntl locked the kernel says nothing',
    );
    assert.equal(await caller.end(), 0);
  });

  it('leaves locks to the kernel unless asked for them', async () => {
    const mounted = ground.mount();
    let asked = 0;
    mounted.files.hold = (request) => {
      const { operation } = request;
      if (LOCKS.includes(operation) || operation === Operation.Flush) asked++;
      return false;
    };
    const caller = new Caller(mounted.path);
    const other = new Caller(mounted.path);
    await caller.call('f= open file O_RDWR|O_CREAT 0644');
    await other.call('f= open file O_RDWR');
    assert.equal(mounted.session.info.locks, false);
    assert.equal(await caller.call('lock $f write 0 10'), '0');
    assert.equal(await other.call('lock $f write 0 10'), 'EAGAIN');
    assert.equal(await caller.end(), 0);
    assert.equal(await other.end(), 0);
    assert.equal(asked, 0);
  });
});
