/**
 * Protects attributes from intercepted programs, and programs from old attributes: what the kernel would refuse is
 * refused with its errno and in its order, what it would change is changed as it would ask for it, what it alone can
 * decide is left to it, and after a change it has forgotten the inode.
 */
import assert from 'node:assert/strict';
import type { AttributeChange } from '../../../src/client/attributes.js';
import {
  FLAG_ACCESS_ACL,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  SET_ATIME,
  SET_ATIME_NOW,
  SET_DROP_SET_ID,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_SIZE,
  SET_UID,
} from '../../../src/client/attributes.js';
import type { FileSystemCore } from '../../../src/client/core.js';
import { InterceptFront } from '../../../src/client/intercept-front.js';
import { NOTHING_TOLD } from '../../../src/client/leases/recalls.js';
import { UNCHANGED } from '../../../src/client/permissions.js';
import type { ClientRequest, NameReference } from '../../../src/client/request.js';
import { ESTALE, errno } from '../../../src/common/errno.js';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import { CallKind, Fallback } from '../../../src/native/intercept.js';
import type { InterceptCall } from '../../../src/native/intercept.js';
import { writeI53 } from '../../../src/protocol/u53.js';
import { lender } from './lent-nodes.js';
import type { TestNode } from './lent-nodes.js';

const ROOT = 1;
const ME = 1000;
const S_IFIFO = 0o010000;
const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;
const nodes: Record<string, TestNode> = {
  '': { inode: ROOT, mode: S_IFDIR | 0o777, uid: 0 },
  mine: { inode: 2, mode: S_IFREG | 0o644, uid: ME },
  f: { inode: 3, mode: S_IFREG | 0o644, uid: 0 },
  open: { inode: 4, mode: S_IFREG | 0o666, uid: 0 },
  d: { inode: 5, mode: S_IFDIR | 0o755, uid: ME },
  l: { inode: 6, mode: S_IFLNK | 0o777, uid: ME },
  p: { inode: 7, mode: S_IFIFO | 0o666, uid: 0 },
  listed: { inode: 8, mode: S_IFREG | 0o666, uid: ME, flags: FLAG_ACCESS_ACL },
  closed: { inode: 9, mode: S_IFDIR | 0o700, uid: 0 },
  grouped: { inode: 10, mode: S_IFREG | 0o644, uid: ME, gid: 100 },
  armed: { inode: 12, mode: S_IFREG | 0o4755, uid: ME },
  linked: { inode: 11, mode: S_IFREG | 0o644, uid: ME, links: 2 },
};

const arena = createPlainArena({ messageSlots: 8, bulkSlots: 1 });
const attributesOf = lender(arena);

function nodeOf(inode: number): TestNode {
  return Object.values(nodes).find((node) => node.inode === inode)!;
}

describe('a call that changes attributes', () => {
  let done: string[];
  let answers: [number, number][];
  let forgotten: number[];
  let directories: number[];
  let known: number;
  let told: number;
  let outcome: number;
  let open: number;
  let inKernel: boolean;
  let slot: number;
  let front: InterceptFront;

  const core = {
    getAttributes: (request: ClientRequest, inode: number) => {
      request.replyAttributes(attributesOf(nodeOf(inode)));
    },
    lookup: (request: ClientRequest, _parent: number, name: NameReference) => {
      const { bytes, offset, lengthBytes } = name;
      const found = nodes[Buffer.from(bytes.subarray(offset, offset + lengthBytes)).toString()];
      if (found === undefined) request.replyError(errno.ENOENT);
      else request.replyEntry(attributesOf(found));
    },
    setAttributes: (request: ClientRequest, inode: number, change: AttributeChange) => {
      const { valid, mode, uid, gid, sizeBytes } = change;
      const { atimeSeconds, atimeNanoseconds, mtimeSeconds, mtimeNanoseconds } = change;
      const said = [];
      if ((valid & SET_MODE) !== 0) said.push(`mode ${mode.toString(8)}`);
      if ((valid & SET_UID) !== 0) said.push(`uid ${uid}`);
      if ((valid & SET_GID) !== 0) said.push(`gid ${gid}`);
      if ((valid & SET_SIZE) !== 0) said.push(`size ${sizeBytes}`);
      if ((valid & SET_ATIME_NOW) !== 0) said.push('atime now');
      else if ((valid & SET_ATIME) !== 0) said.push(`atime ${atimeSeconds}.${atimeNanoseconds}`);
      if ((valid & SET_MTIME_NOW) !== 0) said.push('mtime now');
      else if ((valid & SET_MTIME) !== 0) said.push(`mtime ${mtimeSeconds}.${mtimeNanoseconds}`);
      if ((valid & SET_DROP_SET_ID) !== 0) said.push('drop');
      done.push(`${inode}: ${said.join(', ')}`);
      if (outcome === 0) request.replyAttributes(attributesOf(nodeOf(inode)));
      else request.replyError(outcome);
    },
    isOpen: (inode: number) => inode === open,
    isInKernel: () => inKernel,
  };

  function attach(capabilities: number): void {
    front = new InterceptFront({
      core: core as unknown as FileSystemCore,
      arena,
      answer: (_, status, value) => answers.push([status, value]),
      forgetChanged: (inode) => {
        forgotten.push(inode);
        return told;
      },
      forgetChangedNames: (directory) => {
        directories.push(directory);
        return told === NOTHING_TOLD ? told : told + 1;
      },
      dropPages: () => assert.fail('no pages'),
      mayKnow: (directory) => directory === known,
      statusOf: () =>
        `Uid:\t${`${ME}\t`.repeat(4)}\nGid:\t${'100\t'.repeat(4)}\nGroups:\t200\n` +
        `CapEff:\t${capabilities.toString(16)}\n`,
    });
    front.onCall({ kind: CallKind.Hello, program: 9, offset: 1 } as unknown as InterceptCall);
  }

  beforeEach(() => {
    done = [];
    answers = [];
    forgotten = [];
    directories = [];
    known = 0;
    told = NOTHING_TOLD;
    outcome = 0;
    open = 0;
    inKernel = false;
    slot = arena.messages.take();
    attach(0);
  });

  afterEach(() => {
    arena.messages.give(slot);
  });

  function ask(kind: number, path: string, fields: Partial<Record<keyof InterceptCall, number>>) {
    const isFile = kind < CallKind.Unlink;
    const inode = isFile ? nodes[path]!.inode : ROOT;
    const lengthBytes = isFile ? 0 : path.length;
    if (!isFile) arena.bytes.set(Buffer.from(path), slot);
    const common = { kind, call: 1, program: 9, flags: 0, inode, handle: 3, offset: 0, gid: 0 };
    done.length = 0;
    front.onCall({ ...common, slot, lengthBytes, ...fields } as unknown as InterceptCall);
    return answers.at(-1)?.[0] ?? -1;
  }

  function times(atime: [number, number], mtime: [number, number], path: string): void {
    const { words } = arena;
    const at = slot + Math.ceil(path.length / 8) * 8;
    writeI53(words, at, atime[0]);
    writeI53(words, at + 8, mtime[0]);
    words[(at + 16) >>> 2] = atime[1];
    words[(at + 20) >>> 2] = mtime[1];
  }

  const user = (uid: number, gid: number) => ({ offset: uid, gid });

  it('asks for what the kernel would ask for', () => {
    const { ChangeMode, ChangeOwner, Truncate, FileTruncate } = CallKind;
    const { FileChangeMode, FileChangeOwner } = CallKind;
    for (const [kind, path, fields, expected] of [
      [ChangeMode, 'mine', { flags: 0o1644 }, '2: mode 1644'],
      [ChangeMode, 'mine', { flags: 0o6755 }, '2: mode 4755'],
      [ChangeMode, 'grouped', { flags: 0o6755 }, '10: mode 6755'],
      [FileChangeMode, 'mine', { flags: 0o2600 }, '2: mode 600'],
      [ChangeMode, 'd', { flags: 0o3777 }, '5: mode 1777'],
      [ChangeOwner, 'mine', user(UNCHANGED, 200), '2: gid 200, drop'],
      [ChangeOwner, 'mine', user(ME, 100), '2: uid 1000, gid 100, drop'],
      [ChangeOwner, 'd', user(UNCHANGED, 200), '5: gid 200'],
      [ChangeOwner, 'l', { ...user(UNCHANGED, 200), flags: 1 }, '6: gid 200, drop'],
      [ChangeOwner, 'f', user(UNCHANGED, UNCHANGED), '3: drop'],
      [ChangeOwner, 'd', user(UNCHANGED, UNCHANGED), '5: drop'],
      [FileChangeOwner, 'mine', user(ME, UNCHANGED), '2: uid 1000, drop'],
      [FileChangeOwner, 'grouped', user(UNCHANGED, 100), '10: gid 100, drop'],
      [Truncate, 'mine', { offset: 2 ** 40 }, `2: size ${2 ** 40}, drop`],
      [FileTruncate, 'f', { offset: 7, slot: 0 }, '3: size 7, drop'],
    ] as const) {
      assert.equal(ask(kind, path, fields), 0, path);
      assert.deepEqual(done, [expected]);
    }
  });

  it('asks for times as they are given', () => {
    for (const [path, atime, mtime, expected] of [
      ['mine', [-5, 999_999_999], [2 ** 52, 0], `2: atime -5.999999999, mtime ${2 ** 52}.0`],
      ['mine', [1, UTIME_OMIT], [77, UTIME_NOW], '2: mtime now'],
      ['mine', [1, UTIME_NOW], [77, UTIME_OMIT], '2: atime now'],
      ['mine', [1, UTIME_NOW], [77, 5], '2: atime now, mtime 77.5'],
      ['open', [1, UTIME_NOW], [77, UTIME_NOW], '4: atime now, mtime now'],
      ['p', [1, UTIME_NOW], [77, UTIME_NOW], '7: atime now, mtime now'],
    ] as const) {
      times([...atime], [...mtime], path);
      assert.equal(ask(CallKind.SetTimes, path, {}), 0, path);
      assert.deepEqual(done, [expected]);
    }
    times([5, 6], [7, 8], '');
    assert.equal(ask(CallKind.FileSetTimes, 'mine', {}), 0);
    assert.deepEqual(done, ['2: atime 5.6, mtime 7.8']);
    times([5, 6], [7, 8], 'l');
    assert.equal(ask(CallKind.SetTimes, 'l', { flags: 1 }), 0);
    assert.deepEqual(done, ['6: atime 5.6, mtime 7.8']);
  });

  it('fails as in the kernel, and in its order', () => {
    const { ChangeMode, ChangeOwner, Truncate, SetTimes } = CallKind;
    for (const [kind, path, fields, expected] of [
      [ChangeMode, 'f', { flags: 0o644 }, errno.EPERM],
      [ChangeMode, 'none', { flags: 0o644 }, errno.ENOENT],
      [ChangeMode, 'f/x', { flags: 0o644 }, errno.ENOTDIR],
      [ChangeMode, 'closed/f', { flags: 0o644 }, errno.EACCES],
      [CallKind.FileChangeMode, 'f', { flags: 0o644 }, errno.EPERM],
      [ChangeOwner, 'mine', user(0, UNCHANGED), errno.EPERM],
      [ChangeOwner, 'mine', user(UNCHANGED, 300), errno.EPERM],
      [ChangeOwner, 'f', user(0, UNCHANGED), errno.EPERM],
      [CallKind.FileChangeOwner, 'f', user(0, UNCHANGED), errno.EPERM],
      [CallKind.FileChangeOwner, 'mine', user(UNCHANGED, 300), errno.EPERM],
      [Truncate, 'd', {}, errno.EISDIR],
      [Truncate, 'p', {}, errno.EINVAL],
      [Truncate, 'f', {}, errno.EACCES],
    ] as const) {
      assert.equal(ask(kind, path, fields), expected, `${kind} ${path}`);
      assert.deepEqual(done, []);
    }
    for (const [path, nanoseconds, expected] of [
      ['f', UTIME_NOW, errno.EACCES],
      ['f', 0, errno.EPERM],
      ['open', 0, errno.EPERM],
      ['f', UTIME_OMIT, errno.EPERM],
    ] as const) {
      times([1, UTIME_NOW], [1, nanoseconds], path);
      assert.equal(ask(SetTimes, path, {}), expected, `${path} ${nanoseconds}`);
      assert.deepEqual(done, []);
    }
    assert.deepEqual(forgotten, []);
  });

  it('goes by capabilities', () => {
    const [CHOWN, OVERRIDE, OWNER, SET_ID] = [1, 2, 8, 16];
    attach(CHOWN);
    assert.equal(ask(CallKind.ChangeOwner, 'f', user(5, 6)), 0);
    assert.deepEqual(done, ['3: uid 5, gid 6, drop']);
    assert.equal(ask(CallKind.ChangeMode, 'f', { flags: 0 }), errno.EPERM);
    attach(OWNER);
    assert.equal(ask(CallKind.ChangeMode, 'f', { flags: 0o2777 }), 0);
    assert.deepEqual(done, ['3: mode 777']);
    assert.equal(ask(CallKind.ChangeOwner, 'f', user(5, 6)), errno.EPERM);
    attach(OWNER | SET_ID);
    assert.equal(ask(CallKind.ChangeMode, 'f', { flags: 0o2777 }), 0);
    assert.deepEqual(done, ['3: mode 2777']);
    attach(OVERRIDE | SET_ID);
    assert.equal(ask(CallKind.Truncate, 'f', {}), 0);
    assert.deepEqual(done, ['3: size 0'], 'who may keep set-ID bits does');
  });

  it("is the kernel's when only it can know", () => {
    assert.equal(ask(CallKind.ChangeMode, 'l', { flags: 0o644 }), Fallback.Path, 'a link');
    assert.equal(ask(CallKind.ChangeOwner, 'l', user(ME, 200)), Fallback.Path);
    assert.equal(ask(CallKind.ChangeMode, 'd/', { flags: 0o644 }), Fallback.Path);
    assert.equal(ask(CallKind.ChangeMode, 'listed', { flags: 0o644 }), Fallback.Path, 'a list');
    assert.equal(ask(CallKind.ChangeOwner, 'listed', user(ME, 200)), Fallback.Path);
    open = nodes['open']!.inode;
    assert.equal(ask(CallKind.Truncate, 'open', {}), Fallback.InKernel, 'it may be executed');
    inKernel = true;
    assert.equal(ask(CallKind.FileTruncate, 'mine', { slot: 0 }), Fallback.InKernel, 'its pages');
    assert.deepEqual(done, []);
    inKernel = false;
    outcome = ESTALE;
    assert.equal(ask(CallKind.ChangeMode, 'mine', { flags: 0 }), Fallback.Path, 'it has gone');
  });

  it("is the kernel's where it would go on with the old owner or set-ID bits", () => {
    const { ChangeMode, FileChangeMode, ChangeOwner, FileChangeOwner } = CallKind;
    const group = user(UNCHANGED, 200);
    assert.equal(ask(FileChangeOwner, 'mine', group), Fallback.Path, 'it is open');
    assert.equal(
      ask(FileChangeOwner, 'armed', user(ME, UNCHANGED)),
      Fallback.Path,
      'it drops bits',
    );
    assert.equal(ask(FileChangeMode, 'grouped', { flags: 0o4644 }), Fallback.Path, 'it is open');
    assert.equal(ask(ChangeOwner, 'linked', group), Fallback.Path, 'it has another name');
    assert.equal(ask(ChangeMode, 'linked', { flags: 0o4644 }), Fallback.Path);
    open = nodes['grouped']!.inode;
    assert.equal(ask(ChangeOwner, 'grouped', group), Fallback.InKernel);
    assert.equal(ask(ChangeMode, 'grouped', { flags: 0o4644 }), Fallback.InKernel);
    known = nodes['d']!.inode;
    assert.equal(ask(ChangeOwner, 'd', group), Fallback.Path, 'somebody may have it open');
    assert.equal(ask(ChangeMode, 'd', { flags: 0o1755 }), Fallback.Path);
    assert.deepEqual([done, forgotten], [[], []]);
    assert.equal(ask(ChangeMode, 'linked', { flags: 0o600 }), 0);
    assert.equal(ask(ChangeMode, 'grouped', { flags: 0o600 }), 0);
    assert.equal(ask(ChangeMode, 'd', { flags: 0o700 }), 0);
    assert.deepEqual(directories, [], 'names stay');
    assert.equal(ask(ChangeMode, 'f', { flags: 0o4644 }), errno.EPERM, 'others may not anyway');
  });

  it('has the kernel look names up again', () => {
    told = 5;
    ask(CallKind.ChangeOwner, 'mine', user(UNCHANGED, 200));
    assert.deepEqual(
      [forgotten, directories],
      [
        [2, 2],
        [ROOT, ROOT],
      ],
    );
    front.written(5);
    assert.deepEqual(answers, []);
    front.written(6);
    assert.deepEqual(answers, [[0, 0]]);
    front.written(0);
    ask(CallKind.ChangeMode, 'mine', { flags: 0o600 });
    assert.equal(directories.length, 2, 'nothing of the last one is left');
  });

  it('is answered when the kernel has forgotten the inode', () => {
    told = 5;
    for (const [kind, path] of [
      [CallKind.ChangeMode, 'mine'],
      [CallKind.FileChangeMode, 'mine'],
      [CallKind.Truncate, 'mine'],
    ] as const) {
      answers.length = forgotten.length = 0;
      front.written(0);
      ask(kind, path, {});
      assert.deepEqual(answers, [], path);
      // Beside the request, and in the end, if it has learnt anything since.
      assert.deepEqual(forgotten, [2, 2]);
      front.written(5);
      assert.deepEqual(answers, [[0, 0]]);
    }
    front.written(0);
    answers.length = 0;
    outcome = errno.ENOSPC;
    ask(CallKind.ChangeMode, 'mine', {});
    assert.deepEqual(answers, [], 'it may have changed all the same');
    front.written(5);
    assert.deepEqual(answers, [[errno.ENOSPC, 0]]);
  });

  it('leaves nothing of itself to the next one', () => {
    times([1, UTIME_NOW], [1, UTIME_NOW], 'open');
    ask(CallKind.SetTimes, 'open', {});
    ask(CallKind.ChangeOwner, 'd', user(UNCHANGED, 200));
    assert.deepEqual(done, ['5: gid 200']);
    ask(CallKind.ChangeMode, 'mine', { flags: 0o600 });
    assert.deepEqual(done, ['2: mode 600']);
  });
});
