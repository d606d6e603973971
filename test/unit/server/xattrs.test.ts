/** Extended attributes and access control lists in the name space, over both stores. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errno } from '../../../src/common/errno.js';
import { SEQUENCE_LIMIT } from '../../../src/placement/inode-number.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import { xattrsKey } from '../../../src/server/keys.js';
import { MemoryMetaStore } from '../../../src/server/memory-meta-store.js';
import type { MetaStore } from '../../../src/server/meta-store-api.js';
import { LmdbMetaStore } from '../../../src/server/meta-store.js';
import type { Mutation } from '../../../src/server/batch.js';
import { readXattrs, XattrAnswer } from '../../../src/server/namespace-xattrs.js';
import { body, Harness, idleScheduler } from './namespace-harness.js';

const { EACCES, EEXIST, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, EPERM, ERANGE, E2BIG } = errno;
const CREATE = 1;
const REPLACE = 2;
const DROP_SET_GID = 4;
const ACCESS = 'system.posix_acl_access';
const DEFAULT = 'system.posix_acl_default';

/** Version 2 and entries [tag, permissions, id]. */
function acl(...entries: [number, number, number?][]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2);
  entries.forEach(([tag, permissions, id], i) => {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(permissions, 6 + 8 * i);
    bytes.writeUInt32LE(id ?? 0xffffffff, 8 + 8 * i);
  });
  return bytes;
}

const minimal = acl([1, 7], [4, 5], [32, 1]);
const extended = acl([1, 6], [2, 7, 1000], [4, 4], [16, 6], [32, 0]);

class Xattrs {
  readonly h: Harness;

  constructor(h: Harness) {
    this.h = h;
  }

  /** Values beyond 8 KiB as bulk, as the wire has them. */
  set(inode: number, name: string, value: Buffer | string, flags = 0): number {
    const bytes = Buffer.from(value);
    const bulk = bytes.length > 8192;
    const fields = {
      inode,
      nameBytes: Buffer.byteLength(name),
      flags,
      valueBytes: bytes.length,
      inlineBytes: bulk ? 0 : bytes.length,
    };
    const call = this.h.call as Mutation;
    call.context = bulk ? bytes : undefined;
    const head = body(Wire.SetXattrRequest, fields);
    const whole = Buffer.concat([head, Buffer.from(name), bulk ? Buffer.alloc(0) : bytes]);
    const padded = Buffer.alloc((whole.length + 7) & ~7);
    whole.copy(padded);
    const status = this.h.run(Opcode.SetXattr, padded);
    call.context = undefined;
    return status;
  }

  remove(inode: number, name: string): number {
    const fields = { inode, nameBytes: Buffer.byteLength(name) };
    return this.h.run(Opcode.RemoveXattr, body(Wire.XattrRequest, fields, name));
  }

  #read(
    list: boolean,
    inode: number,
    name: string,
    maxBytes: number,
    flags: number,
  ): Buffer | number {
    const fields = { inode, nameBytes: Buffer.byteLength(name), maxBytes, flags };
    const call = this.h.prepare(body(Wire.XattrRequest, fields, name));
    const answer = new XattrAnswer();
    const status = readXattrs(this.h.ns, call, list, answer);
    return status === 0 ? Buffer.from(answer.bytes) : status;
  }

  get(inode: number, name: string, maxBytes = 65536): Buffer | number {
    return this.#read(false, inode, name, maxBytes, 0);
  }

  list(inode: number, flags = 0, maxBytes = 65536): string[] | number {
    const names = this.#read(true, inode, '', maxBytes, flags);
    return typeof names === 'number' ? names : names.toString().split('\0').slice(0, -1);
  }
}

function suite(kind: string, open: () => { meta: MetaStore; close: () => Promise<void> }): void {
  describe(`extended attributes over ${kind}`, () => {
    let h: Harness;
    let x: Xattrs;
    let root: number;
    let close: () => Promise<void>;

    beforeEach(() => {
      const opened = open();
      close = opened.close;
      h = new Harness(opened.meta);
      x = new Xattrs(h);
      root = h.root();
    });

    afterEach(() => close());

    it('are kept by name, sorted, and flagged in the inode', () => {
      const inode = h.file(root, 'f');
      assert.deepEqual(x.list(inode), []);
      h.clock.seconds = 2000;
      assert.equal(x.set(inode, 'user.b', '2'), 0);
      assert.equal(h.stat(inode).flags, 2);
      assert.equal(h.stat(inode).ctime, 2000);
      assert.equal(h.stat(inode).mtime, 1000);
      assert.equal(x.set(inode, 'user.a', ''), 0);
      assert.equal(x.set(inode, 'trusted.c', Buffer.of(0, 255)), 0);
      assert.deepEqual(x.list(inode), ['trusted.c', 'user.a', 'user.b']);
      assert.deepEqual(x.list(inode, 1), ['user.a', 'user.b']);
      assert.deepEqual(x.get(inode, 'user.a'), Buffer.alloc(0));
      assert.deepEqual(x.get(inode, 'trusted.c'), Buffer.of(0, 255));
      assert.equal(x.set(inode, 'user.b', 'longer'), 0);
      assert.deepEqual(x.get(inode, 'user.b'), Buffer.from('longer'));
      for (const name of ['user.a', 'user.b', 'trusted.c']) assert.equal(x.remove(inode, name), 0);
      assert.equal(h.stat(inode).flags, 0);
      assert.equal(h.meta.get(xattrsKey(inode)), undefined);
    });

    it('are refused as Linux refuses them, and then nothing has changed', () => {
      const inode = h.file(root, 'f');
      assert.equal(x.set(inode, 'user.a', '1'), 0);
      assert.equal(x.set(inode, 'user.a', '2', CREATE), EEXIST);
      assert.equal(x.set(inode, 'user.b', '2', REPLACE), ENODATA);
      assert.equal(x.remove(inode, 'user.b'), ENODATA);
      assert.equal(x.get(inode, 'user.b'), ENODATA);
      assert.equal(x.get(inode + 1, 'user.a'), 116);
      for (const name of ['a', 'other.a', 'system.a']) {
        assert.equal(x.set(inode, name, ''), EOPNOTSUPP, name);
        assert.equal(x.get(inode, name), EOPNOTSUPP, name);
      }
      assert.equal(x.set(inode, 'user.', ''), EINVAL);
      assert.equal(x.set(inode, '', ''), ERANGE);
      assert.equal(x.set(inode, `user.${'n'.repeat(251)}`, ''), ERANGE);
      assert.equal(x.set(inode, `user.${'n'.repeat(250)}`, ''), 0);
      assert.equal(x.set(inode, 'user.big', Buffer.alloc(65537)), E2BIG);
      assert.equal(x.get(inode, 'user.a', 1).toString(), '1');
      assert.equal(x.set(inode, 'user.a', '12'), 0);
      assert.equal(x.get(inode, 'user.a', 1), ERANGE);
      assert.equal(x.list(inode, 0, 5), ERANGE);
      assert.equal(h.create(root, 'pipe', { mode: 0o010644 }), 0);
      assert.equal(x.set(h.lookup(root, 'pipe').inode, 'user.a', ''), EPERM);
      assert.equal(x.set(inode, 'user.bulk', Buffer.alloc(9000)), 0);
      const lie = { inode, nameBytes: 6, valueBytes: 9000, inlineBytes: 0 };
      assert.equal(h.run(Opcode.SetXattr, body(Wire.SetXattrRequest, lie, 'user.c')), EINVAL);
      const short = { inode, nameBytes: 6, valueBytes: 100, inlineBytes: 100 };
      assert.equal(h.run(Opcode.SetXattr, body(Wire.SetXattrRequest, short, 'user.c')), EINVAL);
    });

    it('of one inode have a limit, and go with it', () => {
      const inode = h.file(root, 'f');
      for (let i = 0; i < 3; i++) {
        assert.equal(x.set(inode, `user.${i}`, Buffer.alloc(65536, i)), 0);
      }
      assert.equal(x.set(inode, 'user.3', Buffer.alloc(65536)), ENOSPC);
      assert.deepEqual(x.list(inode), ['user.0', 'user.1', 'user.2']);
      assert.deepEqual(x.get(inode, 'user.1'), Buffer.alloc(65536, 1));
      h.open.add(inode);
      assert.equal(h.unlink(root, 'f'), 0);
      assert.deepEqual(x.get(inode, 'user.2'), Buffer.alloc(65536, 2));
      h.open.delete(inode);
      h.meta.transaction(() => {
        h.ns.dropOrphan(inode);
        h.ns.save();
      });
      h.ns.committed();
      assert.equal(h.meta.get(xattrsKey(inode)), undefined);
      const directory = h.directory(root, 'd');
      assert.equal(x.set(directory, 'user.a', '1'), 0);
      assert.equal(h.removeDir(root, 'd'), 0);
      assert.equal(h.meta.get(xattrsKey(directory)), undefined);
    });

    it('that are damaged are an I/O error, for no other inode', () => {
      const inode = h.file(root, 'f');
      const other = h.file(root, 'g');
      assert.equal(x.set(inode, 'user.a', 'value'), 0);
      assert.equal(x.set(other, 'user.a', 'value'), 0);
      h.meta.transaction(() => {
        h.meta.put(xattrsKey(inode), Buffer.from(h.meta.get(xattrsKey(inode))!).subarray(0, -1));
      });
      assert.equal(x.get(inode, 'user.a'), errno.EIO);
      assert.equal(x.set(inode, 'user.b', ''), errno.EIO);
      assert.equal(x.remove(inode, 'user.a'), errno.EIO);
      assert.deepEqual(x.get(other, 'user.a'), Buffer.from('value'));
      assert.equal(h.unlink(root, 'f'), 0);
      assert.equal(h.meta.get(xattrsKey(inode)), undefined);
    });

    it('as access ACLs and the mode follow each other', () => {
      const inode = h.file(root, 'f');
      assert.equal(x.set(inode, ACCESS, extended), 0);
      assert.equal(h.stat(inode).mode, 0o100660);
      assert.equal(h.stat(inode).flags, 2 | 4);
      h.setAttr(inode, { valid: 1, mode: 0o741 });
      assert.deepEqual(x.get(inode, ACCESS), acl([1, 7], [2, 7, 1000], [4, 4], [16, 4], [32, 1]));
      assert.equal(x.set(inode, 'user.a', '1'), 0);
      assert.equal(x.set(inode, ACCESS, minimal), 0);
      assert.equal(h.stat(inode).mode, 0o100751);
      assert.equal(h.stat(inode).flags, 2);
      assert.deepEqual(x.list(inode), ['user.a']);
      assert.equal(x.remove(inode, ACCESS), 0);
      assert.equal(x.set(inode, ACCESS, acl()), 0);
      assert.equal(x.set(inode, ACCESS, acl([1, 7])), EINVAL);
      assert.equal(x.set(inode, ACCESS, Buffer.alloc(4100)), E2BIG);
      assert.equal(x.set(inode, DEFAULT, minimal), EACCES);
      h.setAttr(inode, { valid: 1, mode: 0o2755 });
      assert.equal(x.set(inode, ACCESS, extended, DROP_SET_GID), 0);
      assert.equal(h.stat(inode).mode, 0o100660);
    });

    it('as default ACLs are handed down to what is created', () => {
      assert.equal(x.set(root, DEFAULT, extended), 0);
      assert.equal(h.stat(root).flags, 2 | 8);
      assert.equal(h.create(root, 'f', { mode: 0o100777, umask: 0o777 }), 0);
      const file = h.lookup(root, 'f').inode;
      assert.equal(h.stat(file).mode, 0o100660);
      assert.deepEqual(x.get(file, ACCESS), acl([1, 6], [2, 7, 1000], [4, 4], [16, 6], [32, 0]));
      assert.equal(x.get(file, DEFAULT), ENODATA);
      const inode = h.directory(root, 'd', 9, { mode: 0o750, umask: 0o777 });
      assert.deepEqual(x.get(inode, DEFAULT), extended);
      assert.equal(h.stat(inode).flags, 2 | 4 | 8);
      const count = h.ns.inodeCount;
      assert.equal(x.remove(root, DEFAULT), 0);
      assert.equal(h.create(root, 'g', { mode: 0o100777, umask: 0o027 }), 0);
      assert.equal(h.stat(h.lookup(root, 'g').inode).mode, 0o100750);
      assert.equal(h.ns.inodeCount, count + 1);
    });

    it('as capabilities go with a write, a cut, a new owner', () => {
      const inode = h.file(root, 'f');
      const name = 'security.capability';
      const changes = [
        () => h.run(Opcode.Extend, body(Wire.ExtendRequest, { inode, sizeBytes: 9 })),
        () => h.run(Opcode.Reserve, body(Wire.ReserveRequest, { inode, lengthBytes: 9 })),
        () => h.setAttr(inode, { valid: 8, sizeBytes: 1 }),
        () => h.setAttr(inode, { valid: 2, uid: 1 }),
        () => h.run(Opcode.Open, body(Wire.OpenRequest, { inode, flags: 1 })),
      ];
      for (const change of changes) {
        assert.equal(x.set(inode, name, 'caps'), 0);
        assert.equal(h.stat(inode).flags, 2 | 32);
        assert.equal(h.setAttr(inode, { valid: 1, mode: 0o755 }), 0);
        assert.deepEqual(x.get(inode, name), Buffer.from('caps'));
        assert.equal(change(), 0);
        assert.equal(x.get(inode, name), ENODATA);
        assert.equal(h.stat(inode).flags, 0);
      }
    });

    it('are not there for a new inode of an old number’s place', () => {
      const inode = h.file(root, 'f');
      const neighbour = inode + 1;
      assert.equal(x.set(inode, 'user.a', '1'), 0);
      assert.equal(h.file(root, 'g'), neighbour);
      assert.deepEqual(x.list(neighbour), []);
      assert.equal(h.unlink(root, 'f'), 0);
      assert.ok(neighbour < (Math.floor(inode / SEQUENCE_LIMIT) + 1) * SEQUENCE_LIMIT);
    });
  });

  describe(`access times over ${kind}`, () => {
    it('are stored by relatime’s rule alone', async () => {
      const { meta, close } = open();
      const h = new Harness(meta);
      const root = h.root();
      const inode = h.file(root, 'f');
      const accessed = (...times: [number, number][]): number => {
        const head = body(Wire.AccessedRequest, { count: times.length });
        const entries = times.map(([each, seconds]) =>
          body(Wire.AccessTime, { inode: each, seconds, nanoseconds: 7 }),
        );
        return h.run(Opcode.Accessed, Buffer.concat([head, ...entries]));
      };
      assert.equal(accessed([inode, 1500], [inode + 1, 1500], [root, 1600]), 0);
      assert.equal(h.stat(inode).atime, 1500);
      assert.equal(h.stat(root).atime, 1600);
      assert.equal(h.stat(inode).ctime, 1000);
      assert.equal(accessed([inode, 1700]), 0);
      assert.equal(h.stat(inode).atime, 1500);
      assert.equal(accessed([inode, 1500 + 86_400]), 0);
      assert.equal(h.stat(inode).atime, 87_900);
      h.clock.seconds = 90_000;
      h.setAttr(inode, { valid: 1, mode: 0o600 });
      assert.equal(accessed([inode, 90_001]), 0);
      assert.equal(h.stat(inode).atime, 90_001);
      const bad = body(Wire.AccessedRequest, { count: 2 });
      assert.equal(h.run(Opcode.Accessed, bad), EINVAL);
      await close();
    });
  });
}

suite('memory', () => {
  const meta = new MemoryMetaStore({ scheduler: idleScheduler });
  return { meta, close: () => Promise.resolve() };
});

suite('LMDB', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sealfs-xattrs-'));
  const meta = new LmdbMetaStore({ directory, mapBytes: 2 ** 30, flushIntervalMs: 0 });
  return {
    meta,
    close: async () => {
      await meta.close();
      rmSync(directory, { recursive: true });
    },
  };
});
