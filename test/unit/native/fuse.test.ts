/**
 * The FUSE addon on real mounts: every operation through the kernel, where data lands, what happens
 * when slots run out, callers are signalled, or the mount is taken away. The file system behind it
 * is the benchmark's Map, with requests held back where a test wants that.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { NativeArena } from '../../../src/native/arena.js';
import { isMountPoint, unmountPath } from '../../../src/native/fuse-mount.js';
import { FuseSession, OpenFlag, Operation, type FuseOptions } from '../../../src/native/fuse.js';
import { nativeFolder } from '../../../src/native/load.js';
import { Reactor } from '../../../src/native/reactor.js';
import { errno } from '../../../src/common/errno.js';
import {
  BULK_SLOTS,
  FuseGround,
  HoldingFileSystem,
  exit,
  fuseIsHere,
  run,
  until,
  type Mounted,
} from './fuse-ground.js';

/** Every slot of the arena but those that a session keeps. */
function assertSlotsBack(mounted: Mounted): void {
  const { arena } = mounted;
  // The block and the receive slot; the Map keeps a message slot.
  assert.ok(arena.bulk.available >= arena.bulk.capacity - 2, 'bulk slots leaked');
  assert.equal(arena.messages.available, arena.messages.capacity - 1, 'message slots leaked');
}

function pattern(bytes: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i++) data[i] = (i * 31 + (i >> 8)) & 0xff;
  return data;
}

describe('FUSE session', function () {
  this.timeout(20_000);

  let ground: FuseGround;
  let base = '';
  const mount = (session: Partial<FuseOptions> = {}, bulkSlots = BULK_SLOTS): Mounted =>
    ground.mount({ session, bulkSlots });

  before(function () {
    if (!fuseIsHere) this.skip();
    ground = new FuseGround();
    base = ground.base;
  });

  afterEach(() => ground.unmountAll());

  after(() => {
    if (base !== '') ground.remove();
  });

  describe('mounting', () => {
    const refused = (mountpoint: string, message: RegExp): void => {
      const arena = new NativeArena({ messageSlots: 4, bulkSlots: 4 });
      const reactor = new Reactor();
      try {
        assert.throws(
          () => new FuseSession(reactor, arena, { mountpoint }, new HoldingFileSystem(arena)),
          { code: 'USAGE', message },
        );
      } finally {
        reactor.close();
      }
    };

    it('says what is wrong with a mount point', () => {
      refused(join(base, 'absent'), /does not exist/);
      writeFileSync(join(base, 'file'), '');
      refused(join(base, 'file'), /not a directory/);
      mkdirSync(join(base, 'full'));
      writeFileSync(join(base, 'full/x'), '');
      refused(join(base, 'full'), /not empty/);
      const { path } = mount();
      refused(path, /mounted at .* already/);
    });

    it("carries libfuse's reason when the kernel refuses", () => {
      assert.throws(() => mount({ mountOptions: ['no_such_option'] }), {
        code: 'FAILED',
        message: /cannot mount at .*no_such_option/,
      });
    });

    it('agrees with the kernel on 1 MiB requests and tells once', async () => {
      const { path, files, session } = mount({ filesystemName: 'a,b\\c' });
      await fs.stat(path);
      assert.equal(files.readies, 1);
      assert.equal(session.info.maxWriteBytes, 1 << 20);
      assert.ok(session.info.protocolMinor >= 31);
      const mountsText = await fs.readFile('/proc/self/mounts', 'utf8');
      const line = mountsText.split('\n').find((text) => text.includes(path));
      assert.match(line ?? '', /^a,b\\134c .* fuse\.sealfs .*default_permissions/);
    });
  });

  describe('operations', () => {
    it('carries a tree through create, link, rename, symlink, attributes and removal', async () => {
      const mounted = mount();
      const { path } = mounted;
      await fs.mkdir(join(path, 'd'), 0o751);
      await fs.writeFile(join(path, 'd/f'), 'content', { mode: 0o640 });
      await fs.link(join(path, 'd/f'), join(path, 'g'));
      assert.equal((await fs.stat(join(path, 'g'))).nlink, 2);
      await fs.rename(join(path, 'd/f'), join(path, 'h'));
      await assert.rejects(fs.stat(join(path, 'd/f')), { code: 'ENOENT' });
      assert.equal(await fs.readFile(join(path, 'h'), 'utf8'), 'content');
      await fs.symlink('../some where', join(path, 'd/s'));
      assert.equal(await fs.readlink(join(path, 'd/s')), '../some where');
      await fs.chmod(join(path, 'h'), 0o4711);
      await fs.chown(join(path, 'h'), 12, 34);
      await fs.utimes(join(path, 'h'), 1000.25, -2000.5);
      await fs.truncate(join(path, 'h'), 3);
      const stat = await fs.stat(join(path, 'h'));
      assert.equal(stat.mode & 0o777, 0o711);
      assert.deepEqual([stat.uid, stat.gid, stat.size], [12, 34, 3]);
      assert.equal(stat.atimeMs, 1_000_250);
      assert.equal(await fs.readFile(join(path, 'g'), 'utf8'), 'con');
      assert.equal((await fs.stat(join(path, 'd'))).mode & 0o777, 0o751);
      await assert.rejects(fs.rmdir(join(path, 'd')), { code: 'ENOTEMPTY' });
      await fs.unlink(join(path, 'd/s'));
      await fs.rmdir(join(path, 'd'));
      assert.deepEqual((await fs.readdir(path)).sort(), ['g', 'h']);
      const statistics = await fs.statfs(path);
      assert.equal(statistics.blocks * statistics.bsize, 2 ** 40);
      assert.equal(statistics.bfree * statistics.bsize, 2 ** 39);
      assertSlotsBack(mounted);
    });

    it('keeps times before 1970 and their nanoseconds', async () => {
      const { path } = mount();
      await fs.writeFile(join(path, 'f'), '');
      await run('touch', ['-d', '1969-12-31T23:59:58.25Z', join(path, 'f')]);
      const { mtimeNs } = await fs.stat(join(path, 'f'), { bigint: true });
      assert.equal(mtimeNs, -1_750_000_000n);
    });

    it('makes special files', async () => {
      const { path } = mount();
      assert.equal(await run('mkfifo', [join(path, 'fifo')]), 0);
      assert.ok((await fs.stat(join(path, 'fifo'))).isFIFO());
    });

    it('takes names of 255 bytes, two in one rename, and targets of 4,000', async () => {
      const mounted = mount();
      const [one, two] = ['o'.repeat(255), 't'.repeat(255)];
      await fs.writeFile(join(mounted.path, one), 'x');
      await fs.rename(join(mounted.path, one), join(mounted.path, two));
      assert.deepEqual(await fs.readdir(mounted.path), [two]);
      const target = 'x/'.repeat(2000);
      await fs.symlink(target, join(mounted.path, one));
      assert.equal(await fs.readlink(join(mounted.path, one)), target);
      assertSlotsBack(mounted);
    });

    it('lists directories that need many requests, with and without attributes', async () => {
      for (const readDirPlus of ['off', 'always'] as const) {
        const mounted = mount({ readDirPlus });
        const names: string[] = [];
        for (let i = 0; i < 1500; i++) names.push(`${'n'.repeat(i % 40)}${i}`);
        for (const name of names) await fs.writeFile(join(mounted.path, name), '');
        for (const name of names.splice(200, 100)) await fs.unlink(join(mounted.path, name));
        assert.deepEqual((await fs.readdir(mounted.path)).sort(), names.sort(), readDirPlus);
        await fs.mkdir(join(mounted.path, 'empty'));
        assert.deepEqual(await fs.readdir(join(mounted.path, 'empty')), []);
        assertSlotsBack(mounted);
      }
    });

    it('maps node 1 to the root inode', async () => {
      // The Map's root is inode 1 whatever the session says, so only replies can show it.
      const { path, files } = mount({ rootInode: 77 });
      const asked: number[] = [];
      files.hold = (request) => {
        asked.push(request.inode);
        request.replyStatus(errno.EACCES);
        return true;
      };
      await assert.rejects(fs.readdir(path), { code: 'EACCES' });
      assert.ok(asked.length > 0 && asked.every((inode) => inode === 77), String(asked));
    });
  });

  describe('data', () => {
    it('reads a large write into a bulk slot, page-aligned, and small ones beside', async () => {
      const mounted = mount();
      const { path, arena, files } = mounted;
      const data = pattern((3 << 20) + 5000);
      await fs.writeFile(join(path, 'big'), data);
      assert.ok(data.equals(await fs.readFile(join(path, 'big'))), 'content differs');
      // Node writes in pieces of its own, all but the last larger than a small write.
      const large = files.dataOffsets.slice(0, -1);
      assert.ok(large.length >= 3 && large.every((offset) => offset % 4096 === 0));
      const messagesEnd = 131072 + arena.messages.capacity * arena.messages.payloadBytes;
      assert.ok(large.every((offset) => offset > messagesEnd));
      assert.ok(files.dataOffsets.at(-1)! < messagesEnd, 'small data is in a message slot');
      assert.ok(mounted.session.counters.writeBytesCopied <= 8192);
      assertSlotsBack(mounted);
    });

    it('gathers a reply from data and zeros', async () => {
      const mounted = mount();
      const file = join(mounted.path, 'sparse');
      await fs.writeFile(file, 'head');
      await fs.truncate(file, 1_000_000);
      const read = await fs.readFile(file);
      assert.equal(read.length, 1_000_000);
      assert.equal(read.toString('latin1', 0, 4), 'head');
      assert.ok(read.subarray(4).every((byte) => byte === 0));
      assertSlotsBack(mounted);
    });

    it('maps a direct I/O file shared', async function () {
      const { path, session } = mount();
      await fs.stat(path);
      if (!session.info.directIoMmap) this.skip();
      const probe = join(nativeFolder(), 'sealfs_probe');
      if (!existsSync(probe)) this.skip();
      assert.equal(await run(probe, ['mmap-shared', join(path, 'mapped')]), 0);
    });

    it('cannot map a direct I/O file shared where that was not negotiated', async function () {
      const probe = join(nativeFolder(), 'sealfs_probe');
      if (!existsSync(probe)) this.skip();
      const { path } = mount({ directIoMmap: false });
      const child = spawn(probe, ['mmap-shared', join(path, 'mapped')], { stdio: 'ignore' });
      assert.equal(await exit(child), 1);
    });

    it('stops reading when slots run out, and goes on when they come back', async () => {
      const mounted = mount({ reserveBulkSlots: 1 }, 6);
      const { path, files, session } = mounted;
      await fs.writeFile(join(path, 'f'), '');
      files.hold = (request) => request.operation === Operation.Write;
      // 6 slots: one the block, one in reserve, so 4 writes can be here at once.
      const writers: Promise<number | string>[] = [];
      for (let i = 0; i < 7; i++) {
        const args = ['if=/dev/zero', `of=${join(path, `w${i}`)}`, 'bs=1M', 'count=1'];
        writers.push(exit(spawn('dd', args, { stdio: 'ignore' })));
      }
      await until('writes to fill the arena', () => files.held.length === 4);
      await until('a pause', () => session.counters.pauses > 0);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(files.held.length, 4, 'no more than the slots');
      files.hold = () => false;
      files.answerHeld();
      assert.deepEqual(await Promise.all(writers), [0, 0, 0, 0, 0, 0, 0]);
      assertSlotsBack(mounted);
    });

    it('leaves a taken slot to its taker', async () => {
      const mounted = mount();
      const taken: number[] = [];
      mounted.files.hold = (request) => {
        if (request.operation !== Operation.Write) return false;
        taken.push(request.takeSlot());
        assert.equal(request.takeSlot(), 0);
        request.replyWritten(request.sizeBytes);
        return true;
      };
      await fs.writeFile(join(mounted.path, 'f'), pattern(100_000));
      assert.equal(taken.length, 1);
      assert.equal(mounted.arena.bulk.available, BULK_SLOTS - 3);
      mounted.arena.bulk.give(taken[0]!);
      assertSlotsBack(mounted);
    });
  });

  describe('callers and the end', () => {
    it('tells of a signal, so that the caller can be let go', async () => {
      const { path, files } = mount();
      await fs.writeFile(join(path, 'f'), 'x');
      files.hold = (request) => request.operation === Operation.Read;
      const child = spawn('cat', [join(path, 'f')], { stdio: 'ignore' });
      await until('the read', () => files.held.length === 1);
      child.kill('SIGTERM');
      assert.equal(await exit(child), 'SIGTERM');
      assert.equal(files.interrupted.length, 1);
    });

    it('notices an unmount from outside, once', async () => {
      const { path, files, session } = mount();
      await fs.stat(path);
      await unmountPath(path, false);
      await until('the end', () => files.ends > 0);
      assert.equal(files.endedBecause, 'unmounted');
      session.close();
      session.close();
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(files.ends, 1);
    });

    it('does not unmount what is in use, unless lazily', async () => {
      const { path, session } = mount();
      const open = await fs.open(join(path, 'f'), 'w');
      await assert.rejects(session.unmount(), { code: 'BUSY' });
      await open.write('still served');
      await session.unmount({ lazy: true });
      assert.equal(isMountPoint(path), false);
      await assert.rejects(open.write('gone'), { code: 'ENOTCONN' });
      await assert.rejects(open.close(), { code: 'ENOTCONN' });
    });

    it('lets waiting callers go at close, and takes their late answers', async () => {
      const mounted = mount();
      const { path, files, session, arena } = mounted;
      files.hold = (request) => request.operation === Operation.Write;
      const writing = fs.writeFile(join(path, 'f'), pattern(200_000));
      await until('the write', () => files.held.length === 1);
      session.close();
      await assert.rejects(writing, (error: Error) => /ENOTCONN|ECONNABORTED/.test(error.message));
      assert.equal(arena.bulk.available, BULK_SLOTS - 2, 'the block and the held data');
      files.answerHeld();
      assert.equal(arena.bulk.available, BULK_SLOTS);
    });

    it('answers a request once', async () => {
      const { path, files } = mount();
      let second: unknown;
      files.hold = (request) => {
        if (request.operation !== Operation.StatFs) return false;
        request.replyStatus(errno.EIO);
        try {
          request.replyStatus(0);
        } catch (error) {
          second = error;
        }
        return true;
      };
      await assert.rejects(fs.statfs(path), { code: 'EIO' });
      assert.ok(second instanceof Error);
    });

    it('serves from a worker, and its mount ends with it', async () => {
      const path = mkdtempSync(join(base, 'mnt-'));
      const worker = new Worker(new URL('./fuse-worker.js', import.meta.url), {
        workerData: { path },
      });
      await new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
      await fs.writeFile(join(path, 'f'), 'from a worker');
      assert.equal(await fs.readFile(join(path, 'f'), 'utf8'), 'from a worker');
      await worker.terminate();
      assert.equal(isMountPoint(path), false);
    });

    it('goes through the page cache when asked to', async () => {
      const { path } = ground.mount({ map: { openFlags: OpenFlag.KeepCache } });
      const data = pattern(300_000);
      await fs.writeFile(join(path, 'f'), data);
      assert.ok(data.equals(await fs.readFile(join(path, 'f'))));
    });
  });
});
