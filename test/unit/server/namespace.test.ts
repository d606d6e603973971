/**
 * Operations of the name space: what they answer, in which order they check, and what they leave.
 * Each test runs over the memory store and over LMDB.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errno, ESTALE } from '../../../src/common/errno.js';
import { SEQUENCE_LIMIT } from '../../../src/placement/inode-number.js';
import { linkCountMax } from '../../../src/protocol/limits.generated.js';
import { DirEntry, Opcode } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { readU16, readU53 } from '../../../src/protocol/u53.js';
import type { MetaStore } from '../../../src/server/meta-store-api.js';
import { LmdbMetaStore } from '../../../src/server/meta-store.js';
import { dentryKey, inodeKey, nextSequenceKey } from '../../../src/server/keys.js';
import { MemoryMetaStore } from '../../../src/server/memory-meta-store.js';
import { listDirectory, Listing } from '../../../src/server/namespace-read.js';
import {
  PENDING,
  STEP_ADD_LINK,
  STEP_DROP_DIR,
  STEP_MAKE_DIR,
  STEP_REMOVE_ENTRY,
  STEP_SET_PARENT,
  STEP_TOUCH,
} from '../../../src/server/transactions/step.js';
import { body, FILE, Harness, idleScheduler } from './namespace-harness.js';

const { ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, ENAMETOOLONG, EINVAL, EMLINK } = errno;

function names(h: Harness, directory: number, room = 4096): string[] {
  const found: string[] = [];
  const bytes = new Uint8Array(room);
  const out = { bytes, words: new Uint32Array(bytes.buffer) };
  const listing = new Listing();
  let cookie = 0;
  do {
    const status = listDirectory(h.ns, directory, cookie, true, out, 0, room, listing);
    assert.equal(status, 0);
    let at = 0;
    for (let i = 0; i < listing.entries; i++) {
      const length = readU16(out.words, at + DirEntry.nameBytes);
      const attributes = readU16(out.words, at + DirEntry.hasAttributes);
      const name = at + DirEntry.SIZE + attributes * Wire.Attributes.SIZE;
      found.push(Buffer.from(bytes.subarray(name, name + length)).toString());
      cookie = readU53(out.words, at + DirEntry.cookie);
      if (attributes === 1) {
        const inode = readU53(out.words, at + DirEntry.inode);
        assert.equal(readU53(out.words, at + DirEntry.SIZE), inode);
      }
      at = (name + length + 7) & ~7;
    }
    assert.equal(at, listing.bytes);
  } while (!listing.ended);
  return found;
}

const lmdbStores: { store: LmdbMetaStore; directory: string }[] = [];

function openLmdb(): MetaStore {
  const directory = mkdtempSync(join(tmpdir(), 'sealfs-server-'));
  const store = new LmdbMetaStore({ directory, mapBytes: 2 ** 30, flushIntervalMs: 0 });
  lmdbStores.push({ store, directory });
  return store;
}

async function closeLmdb(): Promise<void> {
  for (const { store, directory } of lmdbStores.splice(0)) {
    await store.close();
    rmSync(directory, { recursive: true });
  }
}

testOver('memory', () => new MemoryMetaStore({ scheduler: idleScheduler }));
testOver('LMDB', openLmdb);

function testOver(kind: string, openStore: () => MetaStore): void {
  describe(`Namespace over ${kind}`, () => {
    let h: Harness;
    let root: number;

    beforeEach(() => {
      h = new Harness(openStore());
      root = h.root();
    });
    afterEach(closeLmdb);

    describe('create and lookup', () => {
      it('places a file in its directory’s bucket and finds it again', () => {
        const inode = h.file(root, 'a');
        assert.equal(Math.floor(inode / SEQUENCE_LIMIT), 5);
        assert.deepEqual(h.lookup(root, 'a'), { status: 0, inode, here: true });
        const stat = h.stat(inode);
        assert.equal(stat.mode, FILE);
        assert.equal(stat.links, 1);
        assert.equal(stat.mtime, 1000);
      });

      it('answers ENOSPC when its bucket has no inode numbers left, and leaves no entry', () => {
        const used = Buffer.alloc(8);
        used.writeBigUInt64LE(BigInt(SEQUENCE_LIMIT));
        h.meta.transaction(() => {
          h.meta.put(nextSequenceKey(5), used);
        });
        const full = new Harness(h.meta);
        assert.equal(full.create(root, 'a'), errno.ENOSPC);
        assert.deepEqual(names(full, root), []);
      });

      it('never gives a number twice, also after an aborted transaction', () => {
        const seen = new Set<number>();
        for (let i = 0; i < 1100; i++) seen.add(h.file(root, `f${i}`));
        assert.throws(() => {
          h.meta.transaction(() => {
            h.ns.allocateInode(5);
            throw new Error('abort');
          });
        });
        h.ns.aborted();
        const again = new Harness(h.meta);
        for (let i = 0; i < 10; i++) seen.add(again.file(root, `g${i}`));
        assert.equal(seen.size, 1110);
        assert.equal(again.ns.inodeCount, 1111);
      });

      it('answers an existing name as open(2) does', () => {
        const inode = h.file(root, 'a');
        h.directory(root, 'd');
        assert.equal(h.create(root, 'a', { flags: 1 }), EEXIST);
        assert.equal(h.create(root, 'd'), EISDIR);
        assert.equal(h.create(root, 'a', { mode: 0o010644 }), EEXIST);
        assert.equal(h.create(root, 'a', { flags: 2 }), 0);
        assert.equal(h.call.openInode, inode);
        assert.equal(h.word(Wire.AttributesReply.flags), 1);
      });

      it('refuses names and places that cannot be', () => {
        const file = h.file(root, 'f');
        assert.equal(h.create(root, 'x'.repeat(256)), ENAMETOOLONG);
        assert.equal(h.create(root, 'x'.repeat(255)), 0);
        assert.equal(h.create(root, ''), ENOENT);
        for (const bad of ['.', '..', 'a/b', 'a\0']) assert.equal(h.create(root, bad), EINVAL);
        assert.equal(h.create(file, 'x'), ENOTDIR);
        assert.equal(h.create(root + 1, 'x'), ESTALE);
        assert.equal(h.create(root, 'x', { mode: 0o040755 }), EINVAL);
        const short = body(Wire.CreateRequest, { parent: root, mode: FILE, nameBytes: 200 }, 'x');
        assert.equal(h.run(Opcode.Create, short), EINVAL);
        assert.equal(h.lookup(file, 'x').status, ENOTDIR);
        assert.equal(h.lookup(root, 'nothing').status, ENOENT);
        assert.equal(h.lookup(root + 1, 'x').status, ESTALE);
      });

      it('inherits the group of a set-group-ID directory', () => {
        const directory = h.directory(root, 'd');
        assert.equal(h.setAttr(directory, { valid: 1 | 4, mode: 0o2775, gid: 77 }), 0);
        h.create(directory, 'a', { gid: 5, uid: 6 });
        const stat = h.stat(h.lookup(directory, 'a').inode);
        assert.equal(stat.gid, 77);
        assert.equal(stat.uid, 6);
      });

      it('keeps symbolic links and device numbers', () => {
        const fields = { parent: root, nameBytes: 1, targetBytes: 9 };
        const link = h.must(Opcode.Symlink, body(Wire.SymlinkRequest, fields, 'l', '/else/whe'));
        assert.equal(link.mode, 0o120777);
        assert.equal(link.size, 9);
        assert.equal(h.readLink(link.inode), '/else/whe');
        assert.equal(h.create(root, 'dev', { mode: 0o020600, rdev: 0x501 }), 0);
        assert.equal(h.unlink(root, 'l'), 0);
        assert.equal(h.statStatus(link.inode), ESTALE);
      });
    });

    describe('colliding names', () => {
      it('are told apart, listed once each, and removed in any order', () => {
        const hashes = [0, 0x123456789ab];
        for (const hash of hashes) {
          const c = new Harness(openStore(), () => hash);
          const top = c.root();
          const inodes = new Map<string, number>();
          for (const name of ['a', 'b', 'c', 'd', 'e']) inodes.set(name, c.file(top, name));
          for (const [name, inode] of inodes) assert.equal(c.lookup(top, name).inode, inode);
          assert.deepEqual(names(c, top).sort(), ['a', 'b', 'c', 'd', 'e']);
          for (const gone of ['b', 'a', 'e']) {
            assert.equal(c.unlink(top, gone), 0);
            inodes.delete(gone);
            assert.equal(c.lookup(top, gone).status, ENOENT);
            for (const [name, inode] of inodes) assert.equal(c.lookup(top, name).inode, inode);
          }
          assert.equal(c.rename(top, 'c', top, 'x'), 0);
          assert.equal(c.lookup(top, 'x').inode, inodes.get('c'));
          assert.equal(c.lookup(top, 'd').inode, inodes.get('d'));
          assert.equal(c.rename(top, 'd', top, 'x'), 0);
          assert.deepEqual(names(c, top), ['x']);
        }
      });

      it('are refused when there are more than 256 of them', () => {
        const c = new Harness(openStore(), () => 42);
        const top = c.root();
        for (let i = 0; i < 256; i++) assert.equal(c.create(top, `n${i}`), 0);
        assert.equal(c.create(top, 'n256'), errno.ENOSPC);
        assert.equal(c.unlink(top, 'n3'), 0);
        assert.equal(c.create(top, 'n256'), 0);
        assert.equal(names(c, top).length, 256);
      });
    });

    describe('directories', () => {
      it('count their subdirectories and go only when empty', () => {
        const directory = h.directory(root, 'd');
        assert.equal(h.stat(root).links, 3);
        assert.equal(h.stat(directory).links, 2);
        h.file(directory, 'f');
        assert.equal(h.removeDir(root, 'd'), ENOTEMPTY);
        assert.equal(h.unlink(root, 'd'), EISDIR);
        assert.equal(h.removeDir(directory, 'f'), errno.ENOTDIR);
        assert.equal(h.unlink(directory, 'f'), 0);
        assert.equal(h.removeDir(root, 'd'), 0);
        assert.equal(h.removeDir(root, 'd'), ENOENT);
        assert.equal(h.stat(root).links, 2);
        assert.equal(h.ns.inodeCount, 1);
      });

      it('take their group and the bit from a set-group-ID directory, else the umask', () => {
        const plain = h.directory(root, 'plain', 9, { gid: 3, mode: 0o777, umask: 0o22 });
        assert.equal(h.stat(plain).mode & 0o7777, 0o755);
        assert.equal(h.stat(plain).gid, 3);
        h.setAttr(root, { valid: 1 | 4, mode: 0o2755, gid: 9 });
        const heir = h.directory(root, 'heir', 9, { gid: 3, mode: 0o700 });
        assert.equal(h.stat(heir).mode & 0o7777, 0o2700);
        assert.equal(h.stat(heir).gid, 9);
        assert.equal(h.makeDir(root, 'heir'), EEXIST);
      });

      it('whose inode lies elsewhere are a step there', () => {
        const links = h.stat(root).links;
        assert.equal(h.makeDir(root, 'd', 60_001), PENDING);
        const [request] = h.lone.needed;
        assert.equal(request!.step, STEP_MAKE_DIR);
        assert.equal(request!.bucket, 60_001);
        assert.equal(request!.other, root);
        assert.equal(h.stat(root).links, links);
      });

      it('are listed in pieces without loss or repeat, while others come and go', () => {
        const wanted = new Set<string>();
        for (let i = 0; i < 300; i++) {
          h.file(root, `name-${i}`);
          wanted.add(`name-${i}`);
        }
        const foreign = h.directory(root, 'far', 9);
        h.firstForeignBucket = 9;
        wanted.add('far');
        const found = names(h, root, 1024);
        assert.equal(found.length, 301);
        assert.deepEqual(new Set(found), wanted);
        assert.equal(h.lookup(root, 'far').here, false);
        assert.equal(h.lookup(root, 'far').inode, foreign);
      });

      it('list an entry whose inode is gone without attributes', () => {
        h.file(root, 'a');
        const directory = h.directory(root, 'gone');
        h.file(root, 'b');
        h.meta.transaction(() => {
          h.meta.remove(inodeKey(directory));
        });
        assert.deepEqual(names(h, root).sort(), ['a', 'b', 'gone']);
      });
    });

    describe('links and removal', () => {
      it('counts names, refuses what cannot be linked', () => {
        const inode = h.file(root, 'a');
        const directory = h.directory(root, 'd');
        assert.equal(h.link(inode, directory, 'b'), 0);
        assert.equal(h.stat(inode).links, 2);
        assert.equal(h.link(inode, root, 'a'), EEXIST);
        assert.equal(h.link(directory, root, 'x'), errno.EPERM);
        assert.equal(h.link(60_001 * SEQUENCE_LIMIT + 3, root, 'x'), PENDING);
        assert.equal(h.lone.needed[0]!.step, STEP_ADD_LINK);
        assert.equal(h.unlink(root, 'a'), 0);
        assert.equal(h.stat(inode).links, 1);
        assert.equal(h.unlink(directory, 'b'), 0);
        assert.equal(h.statStatus(inode), ESTALE);
        assert.deepEqual(h.cuts, [{ inode, from: 0, striped: false }]);
      });

      it('stops at the greatest link count', () => {
        const inode = h.file(root, 'a');
        h.meta.transaction(() => {
          const at = h.ns.inodes.load(inode);
          h.ns.inodes.setLinkCount(at, linkCountMax);
          h.ns.inodes.touch(at);
          const top = h.ns.inodes.load(root);
          h.ns.inodes.setLinkCount(top, linkCountMax);
          h.ns.inodes.touch(top);
          h.ns.save();
        });
        h.ns.committed();
        assert.equal(h.link(inode, root, 'b'), EMLINK);
        assert.equal(h.makeDir(root, 'd'), EMLINK);
      });

      it('keeps a file that is open until it is closed', () => {
        const inode = h.file(root, 'a');
        h.open.add(inode);
        assert.equal(h.unlink(root, 'a'), 0);
        assert.equal(h.stat(inode).links, 0);
        assert.equal(h.link(inode, root, 'b'), ENOENT);
        assert.deepEqual(h.cuts, []);
        const restarted = new Harness(h.meta);
        assert.deepEqual([...restarted.ns.orphans], [inode]);
        restarted.meta.transaction(() => {
          restarted.ns.dropOrphan(inode);
          restarted.ns.save();
        });
        restarted.ns.committed();
        assert.equal(restarted.statStatus(inode), ESTALE);
        assert.equal(restarted.cuts.length, 1);
        assert.equal(restarted.ns.inodeCount, 1);
      });
    });

    describe('rename', () => {
      it('moves and replaces files', () => {
        const a = h.file(root, 'a');
        const b = h.file(root, 'b');
        const d = h.directory(root, 'd');
        assert.equal(h.rename(root, 'a', root, 'b', 1), EEXIST);
        assert.equal(h.rename(root, 'a', root, 'b'), 0);
        assert.equal(h.lookup(root, 'a').status, ENOENT);
        assert.equal(h.lookup(root, 'b').inode, a);
        assert.equal(h.statStatus(b), ESTALE);
        assert.equal(h.rename(root, 'b', d, 'c'), 0);
        assert.equal(h.lookup(d, 'c').inode, a);
        assert.equal(h.rename(root, 'nothing', d, 'x'), ENOENT);
        assert.equal(h.link(a, root, 'same'), 0);
        assert.equal(h.rename(root, 'same', d, 'c'), 0);
        assert.equal(h.lookup(root, 'same').inode, a);
      });

      it('minds types, emptiness, loops and other targets', () => {
        const d = h.directory(root, 'd');
        const e = h.directory(d, 'e');
        h.file(root, 'f');
        assert.equal(h.rename(root, 'd', root, 'f'), ENOTDIR);
        assert.equal(h.rename(root, 'f', root, 'd'), EISDIR);
        assert.equal(h.rename(root, 'd', e, 'x'), EINVAL);
        assert.equal(h.rename(root, 'd', d, 'x'), EINVAL);
        const full = h.directory(root, 'full');
        h.file(full, 'x');
        assert.equal(h.rename(d, 'e', root, 'full'), ENOTEMPTY);
        h.unlink(full, 'x');
        assert.equal(h.rename(d, 'e', root, 'full'), 0);
        assert.equal(h.lookup(root, 'full').inode, e);
        assert.equal(h.stat(d).links, 2);
        assert.equal(h.stat(root).links, 4);
        const far = h.directory(root, 'far', 100);
        h.firstForeignBucket = 100;
        const { needed } = h.lone;
        assert.equal(h.rename(root, 'far', root, 'near'), PENDING);
        assert.equal(h.rename(root, 'far', d, 'near'), PENDING);
        assert.equal(h.rename(far, 'a', root, 'a'), PENDING);
        assert.equal(h.rename(d, 'none', root, 'far'), ENOENT);
        assert.equal(h.directory(d, 'e2') > 0, true);
        assert.equal(h.rename(d, 'e2', root, 'far'), PENDING);
        assert.deepEqual(
          needed.map(({ step, inode }) => [step, inode]),
          [
            [STEP_TOUCH, far],
            [STEP_SET_PARENT, far],
            [STEP_REMOVE_ENTRY, far],
            [STEP_DROP_DIR, far],
          ],
        );
        assert.equal(h.rename(root, 'f', root, 'g', 4), EINVAL);
      });

      it('exchanges two names', () => {
        const a = h.file(root, 'a');
        const d = h.directory(root, 'd');
        const e = h.directory(d, 'e');
        assert.equal(h.rename(root, 'a', root, 'nothing', 2), ENOENT);
        assert.equal(h.rename(root, 'a', d, 'e', 2), 0);
        assert.equal(h.lookup(root, 'a').inode, e);
        assert.equal(h.lookup(d, 'e').inode, a);
        assert.equal(h.stat(root).links, 4);
        assert.equal(h.stat(d).links, 2);
        assert.equal(h.rename(root, 'd', root, 'a', 2), 0);
        assert.equal(h.lookup(root, 'a').inode, d);
      });
    });

    describe('attributes', () => {
      it('sets what is asked for and the ctime', () => {
        const inode = h.file(root, 'a');
        h.clock.seconds = 2000;
        const fields = { valid: 1 | 2 | 4 | 32, mode: 0o4711, uid: 3, gid: 4, mtimeSeconds: -5 };
        assert.equal(h.setAttr(inode, fields), 0);
        const stat = h.stat(inode);
        assert.equal(stat.mode, 0o104711);
        assert.deepEqual([stat.uid, stat.gid, stat.mtime, stat.ctime], [3, 4, -5, 2000]);
        assert.equal(h.setAttr(inode, { valid: 128 }), 0);
        assert.equal(h.stat(inode).mtime, 2000);
        assert.equal(h.setAttr(inode, { valid: 32, mtimeNanoseconds: 1e9 }), EINVAL);
        assert.equal(h.setAttr(inode + 1, { valid: 1 }), ESTALE);
      });

      it('cuts on shrinking, waits only for striped files', () => {
        const inode = h.file(root, 'a');
        assert.equal(h.setAttr(inode, { valid: 8, sizeBytes: 5000 }), 0);
        assert.deepEqual(h.cuts, []);
        assert.equal(h.setAttr(inode, { valid: 8, sizeBytes: 100 }), 0);
        assert.equal(h.call.waitForCut, 0);
        assert.deepEqual(h.cuts.pop(), { inode, from: 100, striped: false });
        assert.equal(h.run(Opcode.MarkStriped, body(Wire.InodeRequest, { inode })), 0);
        assert.equal(h.stat(inode).flags, 1);
        const extend = body(Wire.ExtendRequest, { inode, sizeBytes: 2 ** 21 });
        assert.equal(h.run(Opcode.Extend, extend), 0);
        assert.equal(h.setAttr(inode, { valid: 8, sizeBytes: 2 ** 20 }), 0);
        assert.equal(h.call.waitForCut, inode);
        assert.equal(h.stat(inode).size, 2 ** 20);
        assert.equal(h.setAttr(root, { valid: 8 }), EISDIR);
        const truncate = body(Wire.OpenRequest, { inode, flags: 1 });
        assert.equal(h.run(Opcode.Open, truncate), 0);
        assert.equal(h.call.openInode, inode);
        assert.equal(h.stat(inode).size, 0);
      });

      it('extends, never shrinks, by Extend; reserves for appends', () => {
        const inode = h.file(root, 'a');
        const extend = (sizeBytes: number, flags = 0): number =>
          h.run(Opcode.Extend, body(Wire.ExtendRequest, { inode, sizeBytes, flags }));
        assert.equal(extend(10), 0);
        assert.equal(extend(5), 0);
        assert.equal(h.stat(inode).size, 10);
        const reserve = body(Wire.ReserveRequest, { inode, lengthBytes: 7 });
        assert.equal(h.run(Opcode.Reserve, reserve), 0);
        assert.equal(h.call.result0, 10);
        assert.equal(h.stat(inode).size, 17);
        h.setAttr(inode, { valid: 1, mode: 0o6755 });
        assert.equal(extend(20), 0);
        assert.equal(h.stat(inode).mode & 0o7777, 0o6755);
        assert.equal(extend(20, 1), 0);
        assert.equal(h.stat(inode).mode & 0o7777, 0o755);
        h.setAttr(inode, { valid: 1, mode: 0o6745 });
        const drop = body(Wire.ReserveRequest, { inode, lengthBytes: 7, flags: 1 });
        assert.equal(h.run(Opcode.Reserve, drop), 0);
        assert.equal(h.stat(inode).mode & 0o7777, 0o2745);
        h.setAttr(inode, { valid: 8 | 256, sizeBytes: 3 });
        assert.equal(h.stat(inode).mode & 0o7777, 0o2745);
        h.setAttr(inode, { valid: 1, mode: 0o4755 });
        assert.equal(h.setAttr(inode, { valid: 8, sizeBytes: 3 }), 0);
        assert.equal(h.stat(inode).mode & 0o7777, 0o4755);
        assert.equal(h.run(Opcode.Open, body(Wire.OpenRequest, { inode, flags: 1 | 4 })), 0);
        assert.equal(h.stat(inode).mode & 0o7777, 0o755);
        h.setAttr(inode, { valid: 1, mode: 0o6755 });
        assert.equal(h.setAttr(inode, { valid: 2, uid: 7 }), 0);
        assert.equal(h.stat(inode).mode & 0o7777, 0o755);
      });
    });

    it('drops a volume’s root only when it is empty', () => {
      const drop = body(Wire.InodeRequest, { inode: root });
      h.file(root, 'a');
      assert.equal(h.run(Opcode.EnsureEmptyRoot, drop), ENOTEMPTY);
      h.unlink(root, 'a');
      assert.equal(h.run(Opcode.EnsureEmptyRoot, drop), 0);
      assert.equal(h.run(Opcode.EnsureEmptyRoot, drop), 0);
      assert.equal(h.ns.inodeCount, 0);
    });

    it('takes damaged records for missing ones, and passes over damaged entries', () => {
      const c = new Harness(openStore(), () => 42);
      const root = c.root();
      const [first, second] = [c.file(root, 'a'), c.file(root, 'b')];
      const entry = dentryKey(root, 42 * 256 + 1).slice();
      c.meta.transaction(() => {
        const other = c.meta.get(inodeKey(second))!.slice();
        c.meta.put(inodeKey(first), other);
        c.meta.put(inodeKey(second), new Uint8Array(500));
        c.meta.put(entry, new Uint8Array(600));
      });
      assert.equal(c.statStatus(first), ESTALE);
      assert.equal(c.statStatus(second), ESTALE);
      assert.deepEqual(c.lookup(root, 'a'), { status: 0, inode: first, here: false });
      assert.equal(c.lookup(root, 'b').status, errno.ENOENT);
      const bytes = new Uint8Array(1024);
      const out = { bytes, words: new Uint32Array(bytes.buffer) };
      const listing = new Listing();
      assert.equal(listDirectory(c.ns, root, 0, true, out, 0, 1024, listing), 0);
      assert.equal(listing.entries, 1);
      c.meta.transaction(() => {
        c.ns.dentries.remove(root, 42 * 256); // moves the damaged one down
      });
      assert.equal(c.meta.get(entry), undefined);
    });
  });
}
