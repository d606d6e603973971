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
import {
  UNCHANGED,
  isSticky,
  mayAccess,
  mayChange,
  mayChangeMode,
  mayChangeOwner,
  mayPass,
  maySetTimes,
  mayTruncate,
  modeAllowed,
} from '../../../src/client/permissions.js';
import { errno } from '../../../src/common/errno.js';
import { Fallback } from '../../../src/native/intercept.js';
import { Attributes } from '../../../src/protocol/wire.generated.js';
import { user } from './ordinary-user.js';

const S_IFIFO = 0o010000;

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

describe('chmod(2)', () => {
  it('is for owners, and who may do all that they may', () => {
    assert.equal(mayChangeMode(node(S_IFREG, 1000), user), 0);
    assert.equal(mayChangeMode(node(S_IFREG | 0o777, 0, 100), user), errno.EPERM);
    assert.equal(mayChangeMode(node(S_IFREG), { ...user, overrides: true }), errno.EPERM);
    assert.equal(mayChangeMode(node(S_IFREG), { ...user, ownsAll: true }), 0);
    assert.equal(mayChangeMode(node(S_IFREG, 1000, 0, FLAG_ACCESS_ACL), user), Fallback.Path);
  });

  it('gives the set-group-ID bit to members of the group alone', () => {
    const keeper = { ...user, dropsSetId: false };
    assert.equal(modeAllowed(node(S_IFREG, 1000, 100), user, 0o6755), 0o6755);
    assert.equal(modeAllowed(node(S_IFDIR, 1000, 200), user, 0o2755), 0o2755);
    assert.equal(modeAllowed(node(S_IFREG, 1000, 300), user, 0o6755), 0o4755);
    assert.equal(modeAllowed(node(S_IFDIR, 1000, 300), user, 0o3755), 0o1755);
    assert.equal(modeAllowed(node(S_IFREG, 1000, 300), keeper, 0o6755), 0o6755);
  });
});

describe('chown(2)', () => {
  const own = node(S_IFREG, 1000, 300);
  const other = node(S_IFREG, 1, 100);

  it('lets owners give an inode to groups of theirs, and to nobody else', () => {
    for (const [attributes, uid, gid, expected] of [
      [own, UNCHANGED, 100, 0],
      [own, 1000, 200, 0],
      [own, 1000, 300, 0],
      [own, UNCHANGED, 301, errno.EPERM],
      [own, 1001, UNCHANGED, errno.EPERM],
      [own, 1001, 100, errno.EPERM],
      [other, 1, UNCHANGED, errno.EPERM],
      [other, UNCHANGED, 100, errno.EPERM],
      [other, 1000, UNCHANGED, errno.EPERM],
    ] as const) {
      assert.equal(mayChangeOwner(attributes, user, uid, gid), expected, `${uid} ${gid}`);
    }
  });

  it('lets everybody leave things as they are', () => {
    assert.equal(mayChangeOwner(other, user, UNCHANGED, UNCHANGED), 0);
  });

  it('goes by a capability of its own', () => {
    const giver = { ...user, changesOwners: true };
    assert.equal(mayChangeOwner(other, giver, 5, 6), 0);
    assert.equal(mayChangeOwner(other, { ...user, ownsAll: true }, 5, 6), errno.EPERM);
    const listed = node(S_IFREG, 1000, 0, FLAG_ACCESS_ACL);
    assert.equal(mayChangeOwner(listed, giver, 5, 6), Fallback.Path);
  });
});

describe('utimensat(2)', () => {
  it('is for owners, and for who may write if it is now', () => {
    for (const [attributes, who, areNow, expected] of [
      [node(S_IFREG, 1000), user, false, 0],
      [node(S_IFREG, 1000), user, true, 0],
      [node(S_IFREG | 0o666), user, false, errno.EPERM],
      [node(S_IFREG | 0o666), user, true, 0],
      [node(S_IFREG | 0o644), user, true, errno.EACCES],
      [node(S_IFREG | 0o620, 0, 200), user, true, 0],
      [node(S_IFREG | 0o606, 0, 200), user, true, errno.EACCES],
      [node(S_IFREG), { ...user, ownsAll: true }, false, 0],
      [node(S_IFREG), { ...user, overrides: true }, false, errno.EPERM],
      [node(S_IFREG), { ...user, overrides: true }, true, 0],
      [node(S_IFREG | 0o666, 0, 0, FLAG_ACCESS_ACL), user, true, Fallback.Path],
      [node(S_IFREG | 0o666, 0, 0, FLAG_ACCESS_ACL), user, false, errno.EPERM],
    ] as const) {
      assert.equal(maySetTimes(attributes, who, areNow), expected);
    }
  });
});

describe('truncate(2)', () => {
  it('looks at the kind first, then at the mode', () => {
    for (const [attributes, expected] of [
      [node(S_IFDIR | 0o777), errno.EISDIR],
      [node(S_IFDIR), errno.EISDIR],
      [node(S_IFIFO), errno.EINVAL],
      [node(S_IFREG | 0o200, 1000), 0],
      [node(S_IFREG | 0o466, 1000), errno.EACCES],
      [node(S_IFREG | 0o666), 0],
      [node(S_IFREG | 0o644), errno.EACCES],
      [node(S_IFREG | 0o666, 0, 0, FLAG_ACCESS_ACL), Fallback.Path],
    ] as const) {
      assert.equal(mayTruncate(attributes, user), expected);
    }
    assert.equal(mayTruncate(node(S_IFREG), { ...user, overrides: true }), 0);
    assert.equal(mayTruncate(node(S_IFREG), { ...user, ownsAll: true }), errno.EACCES);
  });
});
