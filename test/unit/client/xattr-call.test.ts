/**
 * Protects extended attributes from intercepted programs: what the kernel would refuse is refused with its errno and
 * in its order, names that mean something to it are left to it, values come and go whole, and after a change the kernel
 * has forgotten the inode.
 */
import assert from 'node:assert/strict';
import { FLAG_ACCESS_ACL, S_IFDIR, S_IFLNK, S_IFREG } from '../../../src/client/attributes.js';
import type { FileSystemCore } from '../../../src/client/core.js';
import { InterceptFront } from '../../../src/client/intercept-front.js';
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
const NO_FOLLOW = 1;
const nodes: Record<string, TestNode> = {
  '': { inode: ROOT, mode: S_IFDIR | 0o777, uid: 0 },
  mine: { inode: 2, mode: S_IFREG | 0o600, uid: ME },
  read: { inode: 3, mode: S_IFREG | 0o644, uid: 0 },
  theirs: { inode: 4, mode: S_IFREG | 0o620, uid: 0 },
  d: { inode: 5, mode: S_IFDIR | 0o777, uid: 0 },
  sticky: { inode: 6, mode: S_IFDIR | 0o1777, uid: 0 },
  l: { inode: 7, mode: S_IFLNK | 0o777, uid: ME },
  p: { inode: 8, mode: 0o010666, uid: ME },
  listed: { inode: 9, mode: S_IFREG | 0o666, uid: 0, flags: FLAG_ACCESS_ACL },
};

const arena = createPlainArena({ messageSlots: 8, bulkSlots: 1 });
const attributesOf = lender(arena);

function nodeOf(inode: number): TestNode {
  return Object.values(nodes).find((node) => node.inode === inode)!;
}

function textOf({ bytes, offset, lengthBytes }: NameReference): string {
  return Buffer.from(bytes.subarray(offset, offset + lengthBytes)).toString();
}

describe('a call about extended attributes', () => {
  let done: string[];
  let answers: [number, number][];
  let forgotten: number[];
  let told: number;
  /** What the core answers, and where a value lies. */
  let outcome: number;
  let inline: string | null;
  let slot: number;
  let elsewhere: number;
  let front: InterceptFront;

  function answer(request: ClientRequest, maxBytes: number, landing: number): void {
    const value = Buffer.from(inline ?? 'landed');
    const at = inline === null ? landing : elsewhere;
    if (outcome !== 0) {
      request.replyError(outcome);
      return;
    }
    if (maxBytes !== 0) arena.bytes.set(value, at);
    request.replyXattr(maxBytes === 0 ? 0 : at, value.length);
  }

  const core = {
    getAttributes: (request: ClientRequest, inode: number) => {
      request.replyAttributes(attributesOf(nodeOf(inode)));
    },
    lookup: (request: ClientRequest, _parent: number, name: NameReference) => {
      const found = nodes[textOf(name)];
      if (found === undefined) request.replyError(errno.ENOENT);
      else request.replyEntry(attributesOf(found));
    },
    getXattr: (
      request: ClientRequest,
      inode: number,
      name: NameReference,
      maxBytes: number,
      landing: number,
    ) => {
      done.push(`get ${inode} ${textOf(name)} ${maxBytes}`);
      answer(request, maxBytes, landing);
    },
    listXattrs: (request: ClientRequest, inode: number, maxBytes: number, landing: number) => {
      done.push(`list ${inode} ${maxBytes}`);
      answer(request, maxBytes, landing);
    },
    setXattr: (
      request: ClientRequest,
      inode: number,
      name: NameReference,
      data: number,
      valueBytes: number,
      flags: number,
    ) => {
      const value = Buffer.from(arena.bytes.subarray(data, data + valueBytes)).toString();
      done.push(`set ${inode} ${textOf(name)} ${value} ${flags}`);
      if (outcome === 0) request.replyDone();
      else request.replyError(outcome);
    },
    removeXattr: (request: ClientRequest, inode: number, name: NameReference) => {
      done.push(`remove ${inode} ${textOf(name)}`);
      if (outcome === 0) request.replyDone();
      else request.replyError(outcome);
    },
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
      forgetChangedNames: () => assert.fail('no names'),
      dropPages: () => assert.fail('no pages'),
      mayKnow: () => false,
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
    told = NOTHING_TOLD;
    outcome = 0;
    inline = null;
    slot = arena.messages.take();
    elsewhere = arena.messages.take();
    attach(0);
  });

  afterEach(() => {
    arena.messages.give(slot);
    arena.messages.give(elsewhere);
  });

  /** `value`: to be set, or how much room there is. */
  function ask(
    kind: number,
    path: string | number,
    name: string,
    value: string | number = 0,
    flags = 0,
  ): number {
    const text = typeof path === 'number' ? '' : path;
    arena.bytes.set(Buffer.from(text + name), slot);
    if (typeof value === 'string') arena.bytes.set(Buffer.from(value), valueAt(text + name));
    const inode = typeof path === 'number' ? path : ROOT;
    const offset = typeof value === 'string' ? value.length : value;
    const lengths = { lengthBytes: text.length, secondBytes: name.length, offset };
    const call = { kind, call: 1, program: 9, flags, inode, handle: 3, slot, ...lengths };
    done.length = 0;
    front.onCall(call as unknown as InterceptCall);
    return answers.at(-1)?.[0] ?? -1;
  }

  function valueAt(texts: string): number {
    return slot + Math.ceil(texts.length / 8) * 8;
  }

  const { GetXattr, SetXattr, ListXattr, RemoveXattr } = CallKind;

  it('asks for what the kernel would ask for, by path and of open files', () => {
    for (const path of ['mine', 2]) {
      assert.equal(ask(GetXattr, path, 'user.a', 100), 0);
      assert.deepEqual(done, ['get 2 user.a 100']);
      assert.equal(ask(SetXattr, path, 'user.abc', 'value', 2 << 1), 0);
      assert.deepEqual(done, ['set 2 user.abc value 2']);
      assert.equal(ask(ListXattr, path, '', 100), 0);
      assert.deepEqual(done, ['list 2 100']);
      assert.equal(ask(RemoveXattr, path, 'user.a'), 0);
      assert.deepEqual(done, ['remove 2 user.a']);
    }
    assert.equal(ask(ListXattr, 'l', '', 100, NO_FOLLOW), 0);
    assert.deepEqual(done, ['list 7 100']);
  });

  it('puts values where they are looked for, wherever they come from', () => {
    for (const [from, expected] of [
      [null, 'landed'],
      ['inline', 'inline'],
    ] as const) {
      inline = from;
      ask(GetXattr, 'mine', 'user.abcd', 100);
      assert.deepEqual(answers.at(-1), [0, expected.length]);
      const at = valueAt('mineuser.abcd');
      assert.equal(Buffer.from(arena.bytes.subarray(at, at + 6)).toString(), expected);
    }
    ask(GetXattr, 'mine', 'user.abcd', 0);
    assert.deepEqual(answers.at(-1), [0, 6]);
    outcome = errno.ERANGE;
    assert.equal(ask(GetXattr, 'mine', 'user.abcd', 1), errno.ERANGE);
  });

  it('refuses what the kernel refuses', () => {
    const { EACCES, EPERM, ENOENT } = errno;
    for (const [kind, path, expected] of [
      [GetXattr, 'read', 0],
      [SetXattr, 'read', EACCES],
      [RemoveXattr, 'read', EACCES],
      [GetXattr, 'theirs', EACCES],
      [GetXattr, 4, EACCES],
      [SetXattr, 3, EACCES],
      [SetXattr, 'd', 0],
      [SetXattr, 'sticky', EPERM],
      [RemoveXattr, 'sticky', EPERM],
      [GetXattr, 'sticky', 0],
      [GetXattr, 'none', ENOENT],
      [ListXattr, 'theirs', 0],
    ] as const) {
      const name = kind === ListXattr ? '' : 'user.a';
      assert.equal(ask(kind, path, name), expected, `${kind} ${path}`);
      assert.equal(done.length, expected === 0 ? 1 : 0);
    }
  });

  it('lets pass whom capabilities let pass', () => {
    attach(1 << 2); // CAP_DAC_READ_SEARCH
    assert.equal(ask(GetXattr, 'theirs', 'user.a'), 0);
    assert.equal(ask(SetXattr, 'theirs', 'user.a', 'v'), errno.EACCES);
    attach(1 << 1); // CAP_DAC_OVERRIDE
    assert.equal(ask(SetXattr, 'theirs', 'user.a', 'v'), 0);
    assert.equal(ask(SetXattr, 'sticky', 'user.a', 'v'), errno.EPERM);
    attach((1 << 1) | (1 << 3)); // and CAP_FOWNER
    assert.equal(ask(SetXattr, 'sticky', 'user.a', 'v'), 0);
  });

  it('leaves to the kernel what it judges itself', () => {
    for (const name of [
      'user.',
      'user',
      'trusted.a',
      'security.capability',
      'system.posix_acl_access',
      'USER.a',
      '',
    ]) {
      for (const kind of [GetXattr, SetXattr, RemoveXattr]) {
        for (const path of ['mine', 2]) {
          assert.equal(ask(kind, path, name), Fallback.Path, name);
          assert.deepEqual(done, []);
        }
      }
    }
    for (const path of ['l', 'p', 'listed', 8, 9]) {
      assert.equal(ask(SetXattr, path, 'user.a', 'v', NO_FOLLOW), Fallback.Path, `${path}`);
    }
    assert.equal(ask(GetXattr, 'l', 'user.a'), Fallback.Path);
    outcome = ESTALE;
    assert.equal(ask(GetXattr, 'mine', 'user.a'), Fallback.Path);
    assert.deepEqual(forgotten, []);
  });

  it('has the kernel forget the inode before a change is answered', () => {
    ask(GetXattr, 'mine', 'user.a');
    ask(ListXattr, 2, '');
    assert.deepEqual(forgotten, []);
    for (const kind of [SetXattr, RemoveXattr]) {
      told = 5;
      answers = [];
      forgotten = [];
      ask(kind, kind === SetXattr ? 'mine' : 2, 'user.a');
      assert.deepEqual(new Set(forgotten), new Set([2]));
      assert.deepEqual(answers, []);
      front.written(5);
      assert.deepEqual(answers, [[0, 0]]);
      front.written(0);
    }
    // A change that failed may have changed something all the same.
    told = NOTHING_TOLD;
    outcome = errno.EIO;
    forgotten = [];
    assert.equal(ask(SetXattr, 2, 'user.a'), errno.EIO);
    assert.equal(forgotten.length, 2);
  });
});
