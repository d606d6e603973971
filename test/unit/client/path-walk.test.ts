/**
 * Protects permissions of intercepted calls by path: nobody gets through a directory that the kernel would not let
 * them through, and whatever is not plain is left to the kernel.
 */
import assert from 'node:assert/strict';
import { errno } from '../../../src/common/errno.js';
import { FileAttributes, S_IFDIR, S_IFLNK, S_IFREG } from '../../../src/client/attributes.js';
import { credentialsOf } from '../../../src/client/credentials.js';
import { InterceptOperation } from '../../../src/client/intercept-operation.js';
import type { InterceptFront } from '../../../src/client/intercept-front.js';
import { Dependencies } from '../../../src/client/leases/dependencies.js';
import { Versions } from '../../../src/client/leases/versions.js';
import { PathWalk } from '../../../src/client/path-walk.js';
import type { WalkOwner, WalkedTree } from '../../../src/client/path-walk.js';
import type { ClientRequest, NameReference } from '../../../src/client/request.js';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import { Fallback } from '../../../src/native/intercept.js';
import { user } from './ordinary-user.js';
import { lender } from './lent-nodes.js';
import type { TestNode } from './lent-nodes.js';

function node(inode: number, mode: number, uid = 0, gid = 0, flags = 0): TestNode {
  return { inode, mode, uid, gid, flags };
}

const arena = createPlainArena({ messageSlots: 8, bulkSlots: 1 });
const attributesOf = lender(arena);

describe('credentials from /proc/PID/status', () => {
  const status = [
    'Name:\tx',
    'Uid:\t0\t1\t2\t3',
    'Gid:\t4\t5\t6\t7',
    'Groups:\t8 9 ',
    'CapEff:\t0000000000000012',
    '',
  ].join('\n');

  it('are those for file systems', () => {
    assert.deepEqual(credentialsOf(status), {
      uid: 3,
      gid: 7,
      groups: [8, 9],
      dropsSetId: false,
      passesDirectories: true,
      overrides: true,
      ownsAll: false,
      changesOwners: false,
      isPlain: false,
    });
  });

  it("are nobody's when there is nothing", () => {
    const nobody = credentialsOf('');
    assert.equal(nobody.uid, 65534);
    assert.equal(nobody.passesDirectories, false);
    assert.equal(nobody.dropsSetId, true);
  });
});

describe('a path below a directory', () => {
  const nodes: Record<string, TestNode> = {
    '': node(1, S_IFDIR | 0o755),
    a: node(2, S_IFDIR | 0o755),
    'a/b': node(3, S_IFDIR | 0o755),
    'a/b/f': node(4, S_IFREG | 0o600),
    'a/link': node(5, S_IFLNK | 0o777),
    'a/closed': node(6, S_IFDIR | 0o700),
    'a/closed/f': node(7, S_IFREG | 0o644),
  };
  const asked: string[] = [];
  const versions = new Versions();
  const dependencies = new Dependencies();
  const tree: WalkedTree = {
    getAttributes: (request: ClientRequest, inode: number): void => {
      assert.equal(inode, 1);
      request.replyAttributes(attributesOf(nodes['']!));
    },
    lookup: (request: ClientRequest, parent: number, name: NameReference): void => {
      const { bytes, offset, lengthBytes } = name;
      const text = Buffer.from(bytes.subarray(offset, offset + lengthBytes)).toString();
      const above = Object.keys(nodes).find((path) => nodes[path]!.inode === parent)!;
      const path = above === '' ? text : `${above}/${text}`;
      asked.push(path);
      const found = nodes[path];
      if (found === undefined) request.replyError(errno.ENOENT);
      else request.replyEntry(attributesOf(found));
    },
    nameDependsOn: (parent: number, _name: NameReference, to: Dependencies): void => {
      to.add(1000 + parent, versions);
    },
    permissionsDependOn: (directory: number, to: Dependencies): void => {
      to.add(2000 + directory, versions);
    },
    attributesDependOn: (inode: number, to: Dependencies): void => {
      to.add(3000 + inode, versions);
    },
  };

  function walk(path: string, follows = true): number {
    asked.length = 0;
    let ended: InterceptOperation | undefined;
    const front = {
      core: tree,
      arena,
      ended: (operation: InterceptOperation) => {
        assert.equal(ended, undefined, 'answered once');
        ended = operation;
      },
    } as unknown as InterceptFront;
    const operation = new InterceptOperation(front);
    operation.slot = arena.messages.take();
    arena.bytes.set(Buffer.from(path), operation.slot);
    dependencies.begin();
    const bytes = Buffer.byteLength(path);
    operation.walk.start(user, 1, operation.slot, bytes, follows, dependencies);
    assert.ok(ended !== undefined);
    const inode = new FileAttributes(arena.words, operation.slot).inode;
    arena.messages.give(operation.slot);
    return ended.status === 0 ? inode : -ended.status;
  }

  it('is followed name by name', () => {
    assert.equal(walk('a/b/f'), 4);
    assert.deepEqual(asked, ['a', 'a/b', 'a/b/f']);
    assert.equal(walk('./a//b/./f'), 4);
    assert.equal(walk('a'), 2);
  });

  it('says what its end depends on', () => {
    const cells = (): number[] => [...dependencies.cells.subarray(0, dependencies.count)];
    walk('a/b');
    assert.deepEqual(cells(), [2001, 1001, 2002, 1002, 3003]);
    walk('a/none');
    assert.deepEqual(cells(), [2001, 1001, 2002, 1002]);
    assert.equal(dependencies.isWhole, true);
    for (let i = 0; i < 30; i++) dependencies.add(i, versions);
    assert.equal(dependencies.isWhole, false, 'too many');
  });

  it('ends where the kernel would end it', () => {
    assert.equal(walk('a/none'), -errno.ENOENT);
    assert.equal(walk('none/x'), -errno.ENOENT);
    assert.equal(walk('a/b/f/x'), -errno.ENOTDIR);
    assert.equal(walk('a/closed'), 6);
    assert.equal(walk('a/closed/f'), -errno.EACCES);
    assert.equal(walk('a/closed/none'), -errno.EACCES);
  });

  it('is followed to the directory of its last name', () => {
    for (const [path, inode, last] of [
      ['a/b/none', 3, 'none'],
      ['a//./b/f', 3, 'f'],
      ['new', 1, 'new'],
    ] as const) {
      let found: FileAttributes | null = null;
      const owner = { walked: (_: number, at: FileAttributes | null) => (found = at) };
      const replies = {
        replyAttributes: (at: FileAttributes) => walk.arrived(at),
        replyEntry: (at: FileAttributes) => walk.arrived(at),
      };
      const slot = arena.messages.take();
      arena.bytes.set(Buffer.from(path), slot);
      const walk = new PathWalk(tree, arena, { ...owner, ...replies } as unknown as WalkOwner);
      walk.startAtParent(user, 1, slot, path.length);
      assert.equal((found as FileAttributes | null)?.inode, inode);
      const { bytes, offset, lengthBytes } = walk.last;
      assert.equal(Buffer.from(bytes.subarray(offset, offset + lengthBytes)).toString(), last);
      arena.messages.give(slot);
    }
    assert.ok(!asked.includes('a/b/none'));
  });

  it('is left to the kernel when it is not plain', () => {
    for (const path of ['', '/a', 'a/', 'a/.', '..', 'a/..', 'a/../a', 'a/link/x', 'a/link', '.']) {
      assert.equal(walk(path), -Fallback.Path, path);
    }
    assert.equal(walk('a/link', false), 5);
    assert.equal(walk('./'.repeat(100) + 'a'), 2);
    nodes['a/b/a'] = nodes['a']!;
    assert.equal(walk('a/b/'.repeat(40) + 'a'), -Fallback.Path);
    delete nodes['a/b/a'];
  });
});
