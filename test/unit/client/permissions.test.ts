/**
 * Protects files from intercepted programs: what mode, owner, groups and capabilities allow is what the kernel allows,
 * and what an access control list decides is left to it.
 */
import assert from 'node:assert/strict';
import {
  FLAG_ACCESS_ACL,
  FileAttributes,
  S_IFDIR,
  S_IFREG,
} from '../../../src/client/attributes.js';
import type { Credentials } from '../../../src/client/credentials.js';
import { isSticky, mayAccess, mayChange, mayPass } from '../../../src/client/permissions.js';
import { errno } from '../../../src/common/errno.js';
import { Fallback } from '../../../src/native/intercept.js';
import { Attributes } from '../../../src/protocol/wire.generated.js';
import { user } from './ordinary-user.js';

function node(mode: number, uid = 0, gid = 0, flags = 0): FileAttributes {
  const words = new Uint32Array(Attributes.SIZE / 4);
  words[Attributes.mode >>> 2] = mode;
  words[Attributes.uid >>> 2] = uid;
  words[Attributes.gid >>> 2] = gid;
  words[Attributes.flags >>> 2] = flags;
  return new FileAttributes(words, 0);
}

describe('who may pass a directory', () => {
  const ways: [string, FileAttributes, Credentials, number][] = [
    ['its owner', node(S_IFDIR | 0o100, 1000), user, 0],
    ['not its owner whom the mode keeps out', node(S_IFDIR | 0o077, 1000, 100), user, errno.EACCES],
    ['its group', node(S_IFDIR | 0o010, 0, 100), user, 0],
    ['a supplementary group', node(S_IFDIR | 0o010, 0, 200), user, 0],
    ['not its group whom the mode keeps out', node(S_IFDIR | 0o701, 0, 200), user, errno.EACCES],
    ['others', node(S_IFDIR | 0o001), user, 0],
    ['not others', node(S_IFDIR | 0o776), user, errno.EACCES],
    ['who has the capability', node(S_IFDIR), { ...user, passesDirectories: true }, 0],
    [
      'whom a list may name: the kernel decides',
      node(S_IFDIR | 0o777, 0, 0, FLAG_ACCESS_ACL),
      user,
      Fallback.Path,
    ],
  ];
  for (const [name, directory, who, expected] of ways) {
    it(name, () => {
      assert.equal(mayPass(directory, who), expected);
    });
  }
});

describe('who may change a directory', () => {
  it('needs to write and to pass', () => {
    assert.equal(mayChange(node(S_IFDIR | 0o300, 1000), user), 0);
    assert.equal(mayChange(node(S_IFDIR | 0o200, 1000), user), errno.EACCES);
    assert.equal(mayChange(node(S_IFDIR | 0o100, 1000), user), errno.EACCES);
    assert.equal(mayChange(node(S_IFDIR | 0o030, 0, 200), user), 0);
    assert.equal(mayChange(node(S_IFDIR | 0o705), user), errno.EACCES);
    assert.equal(mayChange(node(S_IFDIR | 0o777, 0, 0, FLAG_ACCESS_ACL), user), Fallback.Path);
  });

  it('needs more than to read and search everything', () => {
    const reader = { ...user, passesDirectories: true };
    assert.equal(mayChange(node(S_IFDIR), reader), errno.EACCES);
    assert.equal(mayChange(node(S_IFDIR), { ...reader, overrides: true }), 0);
  });

  it('is bound to own what is removed from a sticky one', () => {
    assert.equal(isSticky(node(S_IFDIR | 0o1777), user), true);
    assert.equal(isSticky(node(S_IFDIR | 0o777), user), false);
    assert.equal(isSticky(node(S_IFDIR | 0o1777, 1000), user), false);
    assert.equal(isSticky(node(S_IFDIR | 0o1777), { ...user, ownsAll: true }), false);
  });
});

describe('access(2)', () => {
  it('goes by the mode', () => {
    assert.equal(mayAccess(node(S_IFREG | 0o600, 1000), user, 6), 0);
    assert.equal(mayAccess(node(S_IFREG | 0o644), user, 6), errno.EACCES);
    assert.equal(mayAccess(node(S_IFREG | 0o644), user, 4), 0);
    assert.equal(mayAccess(node(S_IFREG), user, 0), 0);
    assert.equal(mayAccess(node(S_IFDIR | 0o711), user, 1), 0);
    assert.equal(mayAccess(node(S_IFREG | 0o644, 0, 0, FLAG_ACCESS_ACL), user, 4), Fallback.Path);
  });

  it('leaves programs to the kernel, which knows where none may be executed', () => {
    assert.equal(mayAccess(node(S_IFREG | 0o777), user, 1), Fallback.Path);
  });

  it('goes by capabilities', () => {
    const reader = { ...user, passesDirectories: true };
    assert.equal(mayAccess(node(S_IFREG), reader, 4), 0);
    assert.equal(mayAccess(node(S_IFREG), reader, 2), errno.EACCES);
    assert.equal(mayAccess(node(S_IFDIR), { ...reader, overrides: true }, 7), 0);
  });
});
