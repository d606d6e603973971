/**
 * Protects names from intercepted programs, and programs from old names: what the kernel would refuse is refused with
 * its errno and in its order, what it alone can decide is left to it, and after a change it forgets all that changed.
 */
import assert from 'node:assert/strict';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../../src/client/attributes.js';
import type { FileSystemCore } from '../../../src/client/core.js';
import { InterceptFront } from '../../../src/client/intercept-front.js';
import { UNKNOWN } from '../../../src/client/leases/leases.js';
import { NOTHING_TOLD } from '../../../src/client/leases/recalls.js';
import type { ClientRequest, NameReference } from '../../../src/client/request.js';
import { ESTALE, errno } from '../../../src/common/errno.js';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import { CallKind, Fallback } from '../../../src/native/intercept.js';
import type { InterceptCall } from '../../../src/native/intercept.js';
import { lender } from './lent-nodes.js';
import type { TestNode } from './lent-nodes.js';

const ROOT = 1;
const ME = 1000;
const nodes: Record<string, TestNode> = {
  '': { inode: ROOT, mode: S_IFDIR | 0o777, uid: 0 },
  f: { inode: 2, mode: S_IFREG | 0o644, uid: 0 },
  same: { inode: 2, mode: S_IFREG | 0o644, uid: 0 },
  mine: { inode: 3, mode: S_IFREG | 0o644, uid: ME },
  d: { inode: 4, mode: S_IFDIR | 0o777, uid: 0 },
  'd/f': { inode: 5, mode: S_IFREG | 0o644, uid: 0 },
  l: { inode: 6, mode: S_IFLNK | 0o777, uid: 0 },
  closed: { inode: 7, mode: S_IFDIR | 0o755, uid: 0 },
  'closed/f': { inode: 8, mode: S_IFREG | 0o644, uid: ME },
  sticky: { inode: 9, mode: S_IFDIR | 0o1777, uid: 0 },
  'sticky/mine': { inode: 10, mode: S_IFREG | 0o644, uid: ME },
  'sticky/f': { inode: 11, mode: S_IFREG | 0o644, uid: 0 },
  'sticky/d': { inode: 12, mode: S_IFDIR | 0o755, uid: 0 },
  group: { inode: 13, mode: S_IFDIR | 0o2777, uid: 0 },
  mygroup: { inode: 14, mode: S_IFDIR | 0o2777, uid: 0, gid: 100 },
};

const arena = createPlainArena({ messageSlots: 8, bulkSlots: 1 });
const lent = arena.messages.take();
const attributesOf = lender(arena);

function text({ bytes, offset, lengthBytes }: NameReference): string {
  return Buffer.from(bytes.subarray(offset, offset + lengthBytes)).toString();
}

describe('a call that changes names', () => {
  let done: string[];
  let answers: [number, number][];
  let forgotten: number[];
  let directories: number[];
  let told: number;
  let outcome: number;
  let isDue: boolean;
  let known: number;
  let held: number;
  let lookups: number;
  let slot: number;
  let front: InterceptFront;

  function end(request: ClientRequest, what: string): void {
    done.push(what);
    if (outcome === 0) request.replyDone();
    else request.replyError(outcome);
  }

  const core = {
    getAttributes: (request: ClientRequest) => request.replyAttributes(attributesOf(nodes['']!)),
    lookup: (request: ClientRequest, parent: number, name: NameReference) => {
      lookups++;
      const above = Object.keys(nodes).find((path) => nodes[path]!.inode === parent)!;
      const found = nodes[above === '' ? text(name) : `${above}/${text(name)}`];
      if (found === undefined) request.replyError(errno.ENOENT);
      else request.replyEntry(attributesOf(found));
    },
    nameHeld: (parent: number, name: NameReference) => {
      return held === UNKNOWN || parent !== ROOT ? UNKNOWN : (nodes[text(name)]?.inode ?? 0);
    },
    typeHeld: (inode: number) =>
      (Object.values(nodes).find((node) => node.inode === inode)?.mode ?? 0) & S_IFMT,
    unlink: (request: ClientRequest, parent: number, name: NameReference) => {
      end(request, `unlink ${parent} ${text(name)}`);
    },
    removeDirectory: (request: ClientRequest, parent: number, name: NameReference) => {
      end(request, `rmdir ${parent} ${text(name)}`);
    },
    makeDirectory: (request: ClientRequest, parent: number, name: NameReference, mode: number) => {
      const { uid, umask } = request;
      end(request, `mkdir ${parent} ${text(name)} ${mode.toString(8)} ${umask.toString(8)} ${uid}`);
    },
    makeNode: (request: ClientRequest, parent: number, name: NameReference, mode: number) => {
      end(
        request,
        `mknod ${parent} ${text(name)} ${mode.toString(8)} ${request.umask.toString(8)}`,
      );
    },
    symlink: (
      request: ClientRequest,
      parent: number,
      name: NameReference,
      target: NameReference,
    ) => {
      end(request, `symlink ${parent} ${text(name)} ${text(target)}`);
    },
    link: (request: ClientRequest, inode: number, parent: number, name: NameReference) => {
      end(request, `link ${inode} ${parent} ${text(name)}`);
    },
    rename: (
      request: ClientRequest,
      parent: number,
      name: NameReference,
      newParent: number,
      newName: NameReference,
      flags: number,
    ) => {
      end(request, `rename ${parent} ${text(name)} ${newParent} ${text(newName)} ${flags}`);
    },
    readLink: (request: ClientRequest, inode: number) => {
      arena.bytes.set(Buffer.from(`target of ${inode}`), lent);
      request.replyText(lent, 11);
    },
    isAccessDue: () => isDue,
  };

  beforeEach(() => {
    done = [];
    answers = [];
    forgotten = [];
    directories = [];
    told = NOTHING_TOLD;
    outcome = 0;
    isDue = false;
    known = 0;
    held = UNKNOWN;
    lookups = 0;
    slot = arena.messages.take();
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
        return told;
      },
      dropPages: () => assert.fail('no pages'),
      mayKnow: (directory) => directory === known,
      statusOf: () => `Uid:\t${`${ME}\t`.repeat(4)}\nGid:\t${'100\t'.repeat(4)}\nCapEff:\t0\n`,
    });
    front.onCall({ kind: CallKind.Hello, program: 9, offset: 1 } as unknown as InterceptCall);
  });

  afterEach(() => {
    arena.messages.give(slot);
  });

  /** The status it is answered with; what is done is in `done`. */
  function call(kind: number, path: string, second = '', flags = 0): number {
    arena.bytes.set(Buffer.from(path + second), slot);
    const fields = { kind, call: 1, program: 9, flags, inode: ROOT, handle: 0, offset: 0, slot };
    const lengths = { lengthBytes: path.length, secondInode: ROOT, secondBytes: second.length };
    done.length = 0;
    front.onCall({ ...fields, ...lengths } as unknown as InterceptCall);
    return answers.at(-1)?.[0] ?? -1;
  }

  it('is that of the core when nothing is in the way', () => {
    const { Unlink, RemoveDirectory, MakeDirectory, MakeNode, Symlink, Link, Rename } = CallKind;
    for (const [kind, path, second, flags, expected] of [
      [Unlink, 'f', '', 0, 'unlink 1 f'],
      [Unlink, 'l', '', 0, 'unlink 1 l'],
      [Unlink, 'sticky/mine', '', 0, 'unlink 9 mine'],
      [RemoveDirectory, 'd', '', 0, 'rmdir 1 d'],
      [MakeDirectory, 'd/new', '', 0o1755 | (0o27 << 16), 'mkdir 4 new 1755 27 1000'],
      [MakeNode, 'd/new', '', S_IFREG | 0o6755 | (0o22 << 16), 'mknod 4 new 106755 22'],
      [MakeNode, 'group/new', '', S_IFREG | 0o6755, 'mknod 13 new 104755 0'],
      [MakeNode, 'group/new', '', S_IFREG | 0o6745, 'mknod 13 new 106745 0'],
      [MakeNode, 'mygroup/new', '', S_IFREG | 0o2755, 'mknod 14 new 102755 0'],
      [Symlink, 'd/new', 'any/text', 0, 'symlink 4 new any/text'],
      [Link, 'mine', 'd/new', 1, 'link 3 4 new'],
      [Rename, 'f', 'd/new', 0, 'rename 1 f 4 new 0'],
      [Rename, 'f', 'mine', 2, 'rename 1 f 1 mine 2'],
    ] as const) {
      assert.equal(call(kind, path, second, flags), 0, path);
      assert.deepEqual(done, [expected]);
    }
  });

  it('fails as in the kernel, and in its order', () => {
    const { Unlink, RemoveDirectory, MakeDirectory, Symlink, Link, Rename } = CallKind;
    for (const [kind, path, second, flags, expected] of [
      [Unlink, 'none', '', 0, errno.ENOENT],
      [Unlink, 'closed/none', '', 0, errno.ENOENT],
      [Unlink, 'closed/f', '', 0, errno.EACCES],
      [Unlink, 'd', '', 0, errno.EISDIR],
      [Unlink, 'sticky/f', '', 0, errno.EPERM],
      [Unlink, 'sticky/d', '', 0, errno.EPERM],
      [RemoveDirectory, 'f', '', 0, errno.ENOTDIR],
      [RemoveDirectory, 'f/x', '', 0, errno.ENOTDIR],
      [MakeDirectory, 'closed/new', '', 0o755, errno.EACCES],
      [MakeDirectory, 'closed/f', '', 0o755, errno.EEXIST],
      [CallKind.MakeNode, 'closed/new', '', S_IFREG, errno.EACCES],
      [CallKind.MakeNode, 'closed/f', '', S_IFREG, errno.EEXIST],
      [CallKind.MakeNode, 'none/new', '', S_IFREG, errno.ENOENT],
      [Symlink, 'closed/f', 'x', 0, errno.EEXIST],
      [Link, 'none', 'closed/new', 1, errno.ENOENT],
      [Link, 'mine', 'closed/new', 1, errno.EACCES],
      [Link, 'mine', 'closed/f', 1, errno.EEXIST],
      [Rename, 'none', 'closed/new', 0, errno.ENOENT],
      [Rename, 'f', 'closed/new', 0, errno.EACCES],
      [Rename, 'f', 'sticky/f', 0, errno.EPERM],
      [Rename, 'f', 'mine', 1, errno.EEXIST],
      [Rename, 'f', 'new', 2, errno.ENOENT],
    ] as const) {
      assert.equal(call(kind, path, second, flags), expected, `${kind} ${path} ${second}`);
      assert.deepEqual(done, []);
    }
    assert.deepEqual(forgotten, []);
  });

  it('asks nobody which inode has a name that is held', () => {
    held = 0;
    assert.equal(call(CallKind.Unlink, 'f'), 0);
    assert.deepEqual([done, lookups, forgotten], [['unlink 1 f'], 0, [1, 2, 1, 2]]);
    assert.equal(call(CallKind.Unlink, 'none'), errno.ENOENT);
    assert.equal(call(CallKind.RemoveDirectory, 'd'), 0);
    known = 4;
    assert.equal(call(CallKind.RemoveDirectory, 'd'), Fallback.Path);
    assert.equal(lookups, 0);
    for (const [path, second, flags, status, expected] of [
      ['f', 'new', 0, 0, 'rename 1 f 1 new 0'],
      ['f', 'mine', 2, 0, 'rename 1 f 1 mine 2'],
      ['f', 'mine', 1, errno.EEXIST, undefined],
      ['f', 'new', 2, errno.ENOENT, undefined],
      ['none', 'new', 0, errno.ENOENT, undefined],
      ['f', 'same', 0, 0, undefined],
    ] as const) {
      assert.equal(call(CallKind.Rename, path, second, flags), status);
      assert.equal(done[0], expected);
    }
    assert.equal(lookups, 0);
    assert.equal(call(CallKind.Rename, 'd', 'new'), Fallback.Path);
    assert.equal(call(CallKind.Rename, 'f', 'd'), Fallback.Path);
    assert.equal(call(CallKind.Unlink, 'sticky/f'), errno.EPERM, 'its owner matters');
  });

  it('does nothing between two names of one inode', () => {
    assert.equal(call(CallKind.Rename, 'f', 'same'), 0);
    assert.equal(call(CallKind.Rename, 'f', 'same', 1), errno.EEXIST);
    assert.deepEqual(done, []);
  });

  it("is the kernel's when only it can know", () => {
    assert.equal(call(CallKind.Rename, 'd', 'new'), Fallback.Path, 'somebody may work there');
    assert.equal(call(CallKind.Rename, 'f', 'd'), Fallback.Path, 'it may lie below');
    assert.equal(call(CallKind.Rename, 'f', 'd', 2), Fallback.Path);
    assert.equal(call(CallKind.Link, 'f', 'new', 1), Fallback.Path, 'protected_hardlinks');
    assert.equal(call(CallKind.Link, 'd', 'new', 1), Fallback.Path);
    assert.equal(call(CallKind.Unlink, 'l/f'), Fallback.Path);
    assert.equal(call(CallKind.Unlink, 'd/'), Fallback.Path);
    assert.equal(call(CallKind.Rename, 'f', 'l/new'), Fallback.Path);
    known = 4;
    assert.equal(call(CallKind.RemoveDirectory, 'd'), Fallback.Path, 'somebody may stand there');
    assert.deepEqual(done, []);
    outcome = ESTALE;
    assert.equal(call(CallKind.Unlink, 'f'), Fallback.Path, 'it went on the way');
  });

  it('is answered when the kernel has forgotten all that changed', () => {
    told = 5;
    for (const [kind, path, second, inodes, names] of [
      [CallKind.Unlink, 'd/f', '', [4, 5], [4]],
      [CallKind.MakeDirectory, 'd/new', '', [4], [4]],
      [CallKind.MakeNode, 'd/new', '', [4], [4]],
      [CallKind.Link, 'mine', 'd/new', [4, 3], [4]],
      [CallKind.Rename, 'd/f', 'mine', [4, 1, 5, 3], [4, 1]],
    ] as const) {
      answers.length = forgotten.length = directories.length = 0;
      front.written(0);
      call(kind, path, second, 0);
      assert.deepEqual(answers, [], path);
      // Beside the request, and in the end, if it has learnt anything since.
      assert.deepEqual(forgotten, [...inodes, ...inodes], path);
      assert.deepEqual(directories, [...names, ...names], path);
      front.written(4);
      assert.deepEqual(answers, []);
      front.written(5);
      assert.deepEqual(answers, [[0, 0]]);
    }
  });

  it('is answered after it, too, when it fails in the core', () => {
    outcome = errno.ENOTEMPTY;
    told = 1;
    call(CallKind.RemoveDirectory, 'd');
    assert.deepEqual(answers, []);
    front.written(1);
    assert.deepEqual(answers, [[errno.ENOTEMPTY, 0]]);
  });

  it('may look only', () => {
    assert.equal(call(CallKind.ReadLink, 'l'), 0);
    assert.equal(answers[0]![1], 11);
    assert.equal(Buffer.from(arena.bytes.subarray(slot, slot + 11)).toString(), 'target of 6');
    assert.deepEqual(forgotten, []);
    isDue = true;
    call(CallKind.ReadLink, 'l');
    assert.deepEqual(forgotten, [6], 'its access time');
    assert.equal(call(CallKind.ReadLink, 'f'), errno.EINVAL);
    assert.equal(call(CallKind.Access, 'f', '', 4), 0);
    assert.equal(call(CallKind.Access, 'f', '', 2), errno.EACCES);
    assert.equal(call(CallKind.Access, 'l'), Fallback.Path);
  });
});
