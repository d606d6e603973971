/**
 * Numbered names made one after the other in a directory that is not held as a whole, against a scripted target.
 * Protects: the absence of the next ones is asked for together, believed for as long as it is leased, and no
 * longer; and names that do not go on like this cost nothing.
 */
import assert from 'node:assert/strict';
import { errno } from '../../../src/common/errno.js';
import { LEASE_ENTRY, NOTICE_ENTRY } from '../../../src/protocol/leases.js';
import { nameHash44 } from '../../../src/placement/hash.js';
import { readU16 } from '../../../src/protocol/u53.js';
import {
  BatchItem,
  BatchReply,
  BatchRequest,
  BatchResult,
  NameRequest,
  Opcode,
} from '../../../src/protocol/wire.generated.js';
import { BATCH_LEASES_ABSENCE } from '../../../src/protocol/batch.js';
import { play } from './leases/lease-world.js';
import type { LeaseWorld } from './leases/lease-world.js';
import type { Asked, ScriptedReply } from './fake-target.js';

/** Names of a batch; all of them ask for leases. */
function namesOf({ body }: Asked): string[] {
  const words = new Uint32Array(body.slice().buffer);
  const names: string[] = [];
  let at: number = BatchRequest.SIZE;
  for (let i = readU16(words, BatchRequest.count); i > 0; i--) {
    assert.equal(readU16(words, at + BatchItem.flags), BATCH_LEASES_ABSENCE);
    const from = at + BatchItem.SIZE + NameRequest.SIZE;
    const length = readU16(words, at + BatchItem.SIZE + NameRequest.nameBytes);
    names.push(Buffer.from(body.subarray(from, from + length)).toString());
    at += BatchItem.SIZE + readU16(words, at + BatchItem.bodyBytes);
  }
  return names;
}

/** `leases` of each that is not there. */
function absent(count: number, leases: number): ScriptedReply {
  const words = new Uint32Array((BatchReply.SIZE + count * BatchResult.SIZE) / 4);
  words[BatchReply.count / 4] = count;
  for (let i = 0; i < count; i++) {
    const at = BatchReply.SIZE + i * BatchResult.SIZE;
    words[(at + BatchResult.status) / 4] = errno.ENOENT;
    words[(at + BatchResult.leases) / 4] = leases;
  }
  return { body: new Uint8Array(words.buffer) };
}

/** The world, with what its target was asked ahead; `leases`: what it grants. */
function playNames(
  body: (world: LeaseWorld, asked: string[]) => Promise<void>,
  leases = LEASE_ENTRY,
): Promise<void> {
  return play(async (world) => {
    const asked: string[] = [];
    world.answer(Opcode.Lookup, () => world.absent(0));
    world.answer(Opcode.BatchLookup, (request) => {
      const names = namesOf(request);
      asked.push(...names);
      return absent(names.length, leases);
    });
    await body(world, asked);
  }, 256);
}

/** What else it answers does not matter. */
async function make(world: LeaseWorld, names: string[]): Promise<void> {
  for (const name of names) await world.files.writeFile(`/${name}`, '').catch(() => undefined);
  await world.pause(10);
  world.asked_();
}

function numbered(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `f-${first + i}.dat`);
}

describe('client: names ahead', () => {
  it('are asked for together when the third of a row is made, and cost no look-up', () =>
    playNames(async (world, asked) => {
      await make(world, numbered(8, 2));
      assert.deepEqual(asked, []);
      await make(world, numbered(10, 1));
      assert.deepEqual(asked, numbered(11, 8));
      for (const name of numbered(11, 8)) assert.ok(!(await world.exists(`/${name}`)));
      assert.deepEqual(world.asked_(), []);
    }));

  it('are asked for again when half of them are used, each once, twice as many', () =>
    playNames(async (world, asked) => {
      await make(world, numbered(0, 3));
      await make(world, numbered(3, 3));
      assert.deepEqual(asked, numbered(3, 8));
      await make(world, numbered(6, 1));
      assert.deepEqual(asked, numbered(3, 20));
    }));

  it('are not believed without a lease, nor when it was recalled', async () => {
    await playNames(async (world) => {
      await make(world, numbered(0, 3));
      assert.ok(!(await world.exists('/f-3.dat')));
      assert.deepEqual(world.asked_(), ['Lookup']);
    }, 0);
    await playNames(async (world) => {
      await make(world, numbered(0, 3));
      const hash = nameHash44(new TextEncoder().encode('f-4.dat'), 0, 7);
      const notice = { number: 1, kind: NOTICE_ENTRY, inode: world.rootInode, hash };
      world.notices.push([], [notice]);
      await world.pause(5000);
      assert.ok(!(await world.exists('/f-3.dat')));
      assert.deepEqual(world.asked_(), []);
      assert.ok(!(await world.exists('/f-4.dat')));
      assert.deepEqual(world.asked_(), ['Lookup']);
    });
  });

  it('keep their leading zeros', () =>
    playNames(async (world, asked) => {
      await make(world, ['a007', 'a008', 'a009']);
      assert.deepEqual(asked.slice(0, 2), ['a010', 'a011']);
    }));

  it('are told apart by directory, and by what stands around the number', () =>
    playNames(async (world, asked) => {
      await make(world, ['a1', 'b2', 'a3', 'c', '1', '2b', '3', 'a0', `a${'9'.repeat(20)}`]);
      assert.deepEqual(asked, []);
      // Two rows by turns.
      await make(world, ['x1', 'y5', 'x2', 'y6', 'x3', 'y7']);
      assert.deepEqual([asked[0], asked[8]], ['x4', 'y8']);
    }));

  it('of a name that would be too long are not asked for', () =>
    playNames(async (world, asked) => {
      const stem = 'n'.repeat(254);
      await make(world, [`${stem}7`, `${stem}8`, `${stem}9`]);
      assert.deepEqual(asked, []);
    }));
});
