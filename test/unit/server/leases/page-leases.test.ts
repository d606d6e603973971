/** Leases on pages: who opens a file alone may have them, and nobody else opens it before they are back. */
import assert from 'node:assert/strict';
import {
  CREATE_WANTS_PAGES,
  LEASE_PAGES,
  NOTICE_INODE,
  NOTICE_PAGES,
  OPEN_WANTS_PAGES,
  RECALL_LIMIT_MS,
} from '../../../../src/protocol/leases.js';
import * as Wire from '../../../../src/protocol/wire.generated.js';
import { Opcode } from '../../../../src/protocol/wire.generated.js';
import { body } from '../namespace-harness.js';
import type { Answer, TargetCluster } from '../target-harness.js';
import { Awaiting, await_, giveBack, start, take } from './lease-harness.js';

const CREATE_REGISTER = 2;
const OPEN_TRUNCATE = 1;
type Operation = ReturnType<TargetCluster['begin']>;

function beginOpen(cluster: TargetCluster, inode: number, flags = OPEN_WANTS_PAGES): Operation {
  return cluster.begin(cluster.nodes[0]!, Opcode.Open, body(Wire.OpenRequest, { inode, flags }));
}

function hasPages(answer: Answer): boolean {
  assert.equal(answer.status, 0);
  return (answer.body.readUInt32LE(Wire.AttributesReply.flags) & LEASE_PAGES) !== 0;
}

function open(cluster: TargetCluster, inode: number, flags = OPEN_WANTS_PAGES): boolean {
  return hasPages(cluster.finish(beginOpen(cluster, inode, flags)));
}

/** A second client that may hold leases, too; the harness speaks as it. */
function another(cluster: TargetCluster): Awaiting {
  cluster.newClient();
  const awaiting = new Awaiting();
  await_(cluster, awaiting);
  cluster.idle(10);
  return awaiting;
}

describe('leases on pages', () => {
  it('are granted to the only one who has a file open, and asks for them', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    assert.equal(open(cluster, file, 0), false, 'not asked for');
    assert.equal(open(cluster, file), true);
    const flags = CREATE_REGISTER | CREATE_WANTS_PAGES;
    const made = cluster.createBody(root, 'b', flags);
    assert.equal(hasPages(cluster.call(cluster.nodes[0]!, Opcode.Create, made)), true);
    cluster.newClient();
    assert.equal(open(cluster, cluster.create(root, 'c')), false, 'no leases without an Await');
  });

  it('are respected over a restart: nobody else opens a file before their holders are back', () => {
    const { cluster, root, awaiting } = start();
    const file = cluster.create(root, 'a');
    assert.equal(open(cluster, file), true);
    const holder = cluster.speaker();
    cluster.newClient();
    const node = cluster.nodes[0]!;
    node.kill();
    node.start();
    const opening = beginOpen(cluster, file);
    cluster.idle(1000);
    assert.equal(opening.answer, undefined);
    const other = cluster.speaker();
    cluster.speakAs(holder);
    awaiting.acknowledged = 0;
    await_(cluster, awaiting, 2);
    cluster.speakAs(other);
    assert.equal(hasPages(cluster.finish(opening, 1000)), false);
  });

  for (const [what, flags] of [
    ['an open', OPEN_WANTS_PAGES],
    ['an open that truncates', OPEN_WANTS_PAGES | OPEN_TRUNCATE],
  ] as const) {
    it(`are recalled before ${what} by another client is answered`, () => {
      const { cluster, root, awaiting } = start();
      const file = cluster.create(root, 'a');
      assert.equal(open(cluster, file), true);
      const holder = cluster.speaker();
      another(cluster);
      const opening = beginOpen(cluster, file, flags);
      cluster.idle(100);
      assert.equal(opening.answer, undefined);
      const other = cluster.speaker();
      cluster.speakAs(holder);
      const notices = take(cluster, awaiting);
      const pages = notices.filter(({ kind }) => kind !== NOTICE_INODE);
      assert.deepEqual(
        pages.map(({ kind, inode }) => [kind, inode]),
        [[NOTICE_PAGES, file]],
      );
      giveBack(cluster, notices);
      cluster.speakAs(other);
      assert.equal(hasPages(cluster.finish(opening)), false, 'two have it open');
      cluster.idle(2000);
      assert.equal(open(cluster, file), false);
    });
  }

  it('are recalled by a create that finds the file', () => {
    const { cluster, root, awaiting } = start();
    const file = cluster.create(root, 'a');
    assert.equal(open(cluster, file), true);
    const holder = cluster.speaker();
    another(cluster);
    const request = cluster.createBody(root, 'a', CREATE_REGISTER | CREATE_WANTS_PAGES);
    const made = cluster.begin(cluster.nodes[0]!, Opcode.Create, request);
    cluster.idle(100);
    assert.equal(made.answer, undefined);
    const other = cluster.speaker();
    cluster.speakAs(holder);
    const notices = take(cluster, awaiting);
    assert.ok(notices.some(({ kind }) => kind === NOTICE_PAGES));
    giveBack(cluster, notices);
    cluster.speakAs(other);
    assert.equal(hasPages(cluster.finish(made)), false);
  });

  it('are recalled by who truncates a file that it has not open', () => {
    const { cluster, root, awaiting } = start();
    const file = cluster.create(root, 'a');
    assert.equal(open(cluster, file), true);
    const holder = cluster.speaker();
    cluster.newClient();
    const request = body(Wire.SetAttrRequest, { inode: file, valid: 8, sizeBytes: 5 });
    const change = cluster.begin(cluster.nodes[0]!, Opcode.SetAttr, request);
    cluster.idle(100);
    assert.equal(change.answer, undefined);
    cluster.speakAs(holder);
    const kinds = take(cluster, awaiting).map(({ kind }) => kind);
    assert.ok(kinds.includes(NOTICE_PAGES));
  });

  it('outlive the close, and go to the next one when the holder has gone', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    assert.equal(open(cluster, file), true);
    assert.equal(cluster.inodeCall(Opcode.Release, file).status, 0);
    another(cluster);
    const opening = beginOpen(cluster, file);
    cluster.idle(RECALL_LIMIT_MS / 2);
    assert.equal(opening.answer, undefined, 'it is still held');
    assert.equal(hasPages(cluster.finish(opening)), true, 'its holder has lost its session');
  });

  it('are not granted to either of two that open a file at once', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    another(cluster);
    const first = beginOpen(cluster, file, OPEN_WANTS_PAGES | OPEN_TRUNCATE);
    const speaker = cluster.speaker();
    another(cluster);
    const second = cluster.finish(beginOpen(cluster, file));
    const other = cluster.speaker();
    cluster.speakAs(speaker);
    const granted = [hasPages(cluster.finish(first)), hasPages(second)];
    cluster.speakAs(other);
    assert.deepEqual(granted.filter(Boolean).length <= 1, true);
    assert.equal(granted[1], false, 'the first has it open');
  });

  it('are not granted for a while after a restart', () => {
    const { cluster, root, awaiting } = start();
    const file = cluster.create(root, 'a');
    assert.equal(open(cluster, file), true);
    cluster.nodes[0]!.kill();
    cluster.nodes[0]!.start();
    await_(cluster, awaiting, 2);
    cluster.idle(3000);
    assert.equal(open(cluster, file), false);
    cluster.idle(RECALL_LIMIT_MS);
    assert.equal(open(cluster, file), true);
  });
});
