/**
 * What those who remember answers go by (docs/intercept.md, "Remembered paths"): whatever makes an answer from memory old
 * shows in a version that the answer depends on; and what is not held is not to be remembered.
 */
import assert from 'node:assert/strict';
import { errno } from '../../../../src/common/errno.js';
import { Dependencies } from '../../../../src/client/leases/dependencies.js';
import { VERSIONS_WORDS } from '../../../../src/client/leases/versions.js';
import { nameHash44 } from '../../../../src/placement/hash.js';
import {
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
  NOTICE_PERMISSIONS,
} from '../../../../src/protocol/leases.js';
import { Opcode } from '../../../../src/protocol/wire.generated.js';
import { play, reference } from './lease-world.js';
import type { LeaseWorld } from './lease-world.js';

const A = new TextEncoder().encode('a');

class Rememberer {
  readonly #world: LeaseWorld;
  readonly #words = new Uint32Array(VERSIONS_WORDS);
  #cells: [cell: number, version: number][] = [];
  validMs = 0;

  constructor(world: LeaseWorld) {
    this.#world = world;
    world.core.showVersions(this.#words);
  }

  /** What the path /a depends on now; false: it is not to be remembered. */
  note(): boolean {
    const { core, rootInode, file } = this.#world;
    const to = new Dependencies();
    to.begin();
    core.permissionsDependOn(rootInode, to);
    core.nameDependsOn(rootInode, reference(A), to);
    core.attributesDependOn(file, to);
    this.validMs = to.validMs;
    this.#cells = Array.from({ length: to.count }, (_, i) => [to.cells[i]!, to.versions[i]!]);
    return to.isWhole;
  }

  get isTrue(): boolean {
    return this.#cells.every(([cell, version]) => this.#words[16 + cell] === version);
  }

  get sum(): number {
    return this.#words[0]!;
  }
}

describe('client: what an answer from memory depends on', () => {
  it('is not to be had of what is not held', () =>
    play(async (world) => {
      const rememberer = new Rememberer(world);
      assert.equal(rememberer.note(), false);
      await world.exists('/a');
      assert.equal(rememberer.note(), true);
      assert.equal(rememberer.isTrue, true);
      assert.ok(rememberer.validMs > 0 && rememberer.validMs <= 6000);
    }));

  for (const [what, notice] of Object.entries({
    attributes: (world: LeaseWorld) => ({ kind: NOTICE_INODE, inode: world.file }),
    name: (world: LeaseWorld) => ({
      kind: NOTICE_ENTRY,
      inode: world.rootInode,
      hash: nameHash44(A, 0, A.length),
    }),
    'all names': (world: LeaseWorld) => ({ kind: NOTICE_DIRECTORY, inode: world.rootInode }),
    'directory itself': (world: LeaseWorld) => ({ kind: NOTICE_INODE, inode: world.rootInode }),
    permissions: (world: LeaseWorld) => ({ kind: NOTICE_PERMISSIONS, inode: world.rootInode }),
  })) {
    it(`shows a recall before it is returned: ${what}`, () =>
      play(async (world) => {
        const rememberer = new Rememberer(world);
        await world.exists('/a');
        rememberer.note();
        const before = rememberer.sum;
        world.notices.push([], [{ number: 1, ...notice(world) }]);
        await world.pause(5000);
        assert.ok(world.takeAsked().includes('Returned'));
        assert.equal(rememberer.isTrue, false);
        assert.notEqual(rememberer.sum, before);
      }));
  }

  it('shows own changes, those that fail, too', () =>
    play(async (world) => {
      const rememberer = new Rememberer(world);
      for (const opcode of [Opcode.SetAttr, Opcode.Unlink, Opcode.Rename]) {
        world.answer(opcode, () => ({ status: errno.EIO }));
      }
      for (const change of [
        () => world.files.chmod('/a', 0o600),
        () => world.files.unlink('/a'),
        () => world.files.rename('/b', '/a'),
      ]) {
        await world.exists('/a');
        rememberer.note();
        assert.equal(rememberer.isTrue, true);
        await change().catch(() => undefined);
        assert.equal(rememberer.isTrue, false);
      }
    }));
});
