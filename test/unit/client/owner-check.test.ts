/**
 * Protects the owners' rights that a kernel judges by what it remembers: what is known here lets a request pass without a
 * question, what is not is asked for, and only who may not is refused.
 */
import assert from 'node:assert/strict';
import {
  SET_ATIME,
  SET_ATIME_NOW,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_SIZE,
  SET_UID,
} from '../../../src/client/attributes.js';
import type { FileAttributes } from '../../../src/client/attributes.js';
import { NOT_STICKY, UNKNOWN } from '../../../src/client/leases/leases.js';
import { OwnerCheck } from '../../../src/client/owner-check.js';
import type { ClientRequest, NameReference } from '../../../src/client/request.js';
import { errno } from '../../../src/common/errno.js';
import type { ArenaMemory } from '../../../src/native/arena-memory.js';
import { Operation } from '../../../src/native/fuse.js';
import type { FuseRequest } from '../../../src/native/fuse.js';

const ME = 1000;
const OTHER = 1001;
const DIRECTORY = 1;
const FILE = 7;
const STICKY = 0o41777;

/** The core: what it holds, and what it says when it is asked. */
class Tree {
  held = true;
  sticky: number = ME;
  /** By inode. */
  readonly owners = new Map<number, number>([
    [DIRECTORY, 0],
    [FILE, ME],
  ]);
  mode = STICKY;
  readonly names = new Map<string, number>([['f', FILE]]);
  asked = 0;

  ownerHeld(inode: number): number {
    return this.held ? this.owners.get(inode)! : UNKNOWN;
  }

  stickyOwnerHeld(): number {
    return this.held ? this.sticky : UNKNOWN;
  }

  nameHeld(_parent: number, name: NameReference): number {
    return this.held ? this.#inodeOf(name) : UNKNOWN;
  }

  #inodeOf({ bytes, offset, lengthBytes }: NameReference): number {
    const text = Buffer.from(bytes.subarray(offset, offset + lengthBytes)).toString();
    return this.names.get(text) ?? 0;
  }

  #attributes(inode: number): FileAttributes {
    const mode = inode === DIRECTORY ? this.mode : 0o100644;
    return { inode, mode, uid: this.owners.get(inode) } as unknown as FileAttributes;
  }

  getAttributes(request: ClientRequest, inode: number): void {
    this.asked++;
    request.replyAttributes(this.#attributes(inode));
  }

  lookup(request: ClientRequest, _parent: number, name: NameReference): void {
    this.asked++;
    const inode = this.#inodeOf(name);
    if (inode === 0) request.replyError(errno.ENOENT);
    else request.replyEntry(this.#attributes(inode));
  }
}

describe('owners that the kernel remembers', () => {
  let tree: Tree;
  let status: string;
  let check: OwnerCheck;
  const bytes = Buffer.from('fg');
  const arena = { bytes } as unknown as ArenaMemory;

  beforeEach(() => {
    tree = new Tree();
    status = `CapEff:\t0000000000000000\n`;
    check = new OwnerCheck(tree, arena, () => status);
  });

  function request(operation: number, fields: Partial<FuseRequest> = {}): FuseRequest {
    const names = { nameOffset: 0, nameBytes: 1, name2Offset: 1, name2Bytes: 1 };
    const where = { inode: DIRECTORY, newParent: DIRECTORY };
    return { operation, uid: ME, pid: 1, valid: 0, ...where, ...names, ...fields } as FuseRequest;
  }

  function change(valid: number): FuseRequest {
    return request(Operation.SetAttr, { inode: FILE, valid });
  }

  it('do not matter to root, nor where everybody may', () => {
    tree.owners.set(FILE, OTHER);
    tree.sticky = OTHER;
    assert.ok(check.isPlain(request(Operation.Unlink, { uid: 0 })));
    assert.ok(check.isPlain({ ...change(SET_MODE), uid: 0 } as FuseRequest));
    assert.ok(check.isPlain(change(SET_SIZE)));
    const now = SET_ATIME | SET_ATIME_NOW | SET_MTIME | SET_MTIME_NOW;
    assert.ok(check.isPlain(change(now)), 'times that are now');
    tree.sticky = NOT_STICKY;
    for (const operation of [Operation.Unlink, Operation.RmDir, Operation.Rename, Operation.Link]) {
      assert.ok(check.isPlain(request(operation)));
    }
    assert.equal(tree.asked, 0);
  });

  it('are known where they are held', () => {
    tree.sticky = OTHER;
    for (const valid of [SET_MODE, SET_UID, SET_ATIME, SET_MTIME]) {
      assert.ok(check.isPlain(change(valid)));
    }
    assert.ok(check.isPlain(request(Operation.Unlink)));
    assert.ok(check.isPlain(request(Operation.Rename)), 'the new name is not there');
    tree.names.set('g', 8);
    tree.owners.set(8, OTHER);
    assert.ok(!check.isPlain(request(Operation.Rename)));
    tree.owners.set(FILE, OTHER);
    assert.ok(!check.isPlain(request(Operation.Unlink)));
    assert.ok(!check.isPlain(change(SET_MODE)));
    tree.sticky = ME;
    assert.ok(check.isPlain(request(Operation.Unlink)), 'the directory is the caller’s');
  });

  it('are asked for where they are not', async () => {
    tree.held = false;
    for (const each of [change(SET_MODE), request(Operation.Unlink), request(Operation.Rename)]) {
      assert.ok(!check.isPlain(each));
      assert.equal(await check.judge(each), 0);
    }
    assert.ok(tree.asked > 0);
  });

  it('have changed: who was it is refused', async () => {
    tree.owners.set(FILE, OTHER);
    assert.equal(await check.judge(change(SET_MODE)), errno.EPERM);
    for (const operation of [Operation.Unlink, Operation.RmDir, Operation.Rename]) {
      assert.equal(await check.judge(request(operation)), errno.EPERM);
    }
    tree.owners.set(FILE, ME);
    tree.names.set('g', 8);
    tree.owners.set(8, OTHER);
    assert.equal(await check.judge(request(Operation.Rename)), errno.EPERM, 'what is replaced');
    tree.mode = 0o40777;
    assert.equal(await check.judge(request(Operation.Rename)), 0, 'not sticky any more');
  });

  it('are not asked for by who has the capability, or by whom nothing is known', async () => {
    tree.owners.set(FILE, OTHER);
    status = 'CapEff:\t0000000000000008\n';
    assert.equal(await check.judge(change(SET_MODE)), 0);
    assert.equal(await check.judge(request(Operation.Unlink)), 0);
    assert.equal(await check.judge(change(SET_UID)), errno.EPERM, 'that takes CAP_CHOWN');
    status = 'CapEff:\t0000000000000001\n';
    assert.equal(await check.judge(change(SET_UID)), 0);
    assert.equal(await check.judge(change(SET_MODE)), errno.EPERM);
    status = '';
    assert.equal(await check.judge(change(SET_MODE)), 0);
  });
});
