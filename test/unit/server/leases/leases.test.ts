/** Leases of one target as clients see them on the wire: what is granted, recalled, waited for. */
import assert from 'node:assert/strict';
import {
  HAS_ATTRIBUTES,
  LEASE_DIRECTORY,
  LEASE_ENTRY,
  LEASE_INODE,
  LEASE_TRUST_MS,
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
  RECALL_LIMIT_MS,
} from '../../../../src/protocol/leases.js';
import { BATCH_LEASES_ABSENCE } from '../../../../src/protocol/batch.js';
import * as Wire from '../../../../src/protocol/wire.generated.js';
import { Opcode } from '../../../../src/protocol/wire.generated.js';
import { body } from '../namespace-harness.js';
import { Awaiting, await_, giveBack, start, take } from './lease-harness.js';
import type { Answer, RawOperation, TargetCluster } from '../target-harness.js';

const ENOENT = 2;
const EAGAIN = 11;

function lookup(cluster: TargetCluster, parent: number, name: string): Answer {
  const bytes = body(Wire.NameRequest, { parent, nameBytes: Buffer.byteLength(name) }, name);
  return cluster.call(cluster.nodes[0]!, Opcode.Lookup, bytes);
}

function lookupFlags(answer: Answer): number {
  if (answer.status === 0) return answer.body.readUInt32LE(Wire.LookupReply.flags);
  return answer.body.length === 0 ? 0 : answer.body.readUInt32LE(Wire.AbsentReply.flags);
}

/** What a listing with attributes grants: flags of its reply, and of each entry. */
function listGrants(cluster: TargetCluster, inode: number): { flags: number; entries: number[] } {
  const asked = body(Wire.ReadDirRequest, { inode, maxBytes: 8192, flags: 1 });
  const answer = cluster.call(cluster.nodes[0]!, Opcode.ReadDir, asked).body;
  const entries: number[] = [];
  let at: number = Wire.ReadDirReply.SIZE;
  for (let i = answer.readUInt32LE(Wire.ReadDirReply.entryCount); i > 0; i--) {
    const bits = answer.readUInt16LE(at + Wire.DirEntry.hasAttributes);
    const nameBytes = answer.readUInt16LE(at + Wire.DirEntry.nameBytes);
    const attributes = (bits & HAS_ATTRIBUTES) === 0 ? 0 : Wire.Attributes.SIZE;
    entries.push(bits);
    at = (at + Wire.DirEntry.SIZE + attributes + nameBytes + 7) & ~7;
  }
  return { flags: answer.readUInt32LE(Wire.ReadDirReply.flags), entries };
}

function getAttrFlags(cluster: TargetCluster, inode: number): number {
  return cluster.inodeCall(Opcode.GetAttr, inode).body.readUInt32LE(Wire.AttributesReply.flags);
}

function chmodBody(inode: number): Buffer {
  return body(Wire.SetAttrRequest, { inode, valid: 1, mode: 0o600 });
}

function beginChmod(cluster: TargetCluster, inode: number): RawOperation {
  return cluster.begin(cluster.nodes[0]!, Opcode.SetAttr, chmodBody(inode));
}

/** A batch of these names. */
function batchBody(parent: number, names: readonly string[], flags = 0): Buffer {
  const parts = [body(Wire.BatchRequest, { count: names.length })];
  for (const name of names) {
    const item = body(Wire.NameRequest, { parent, nameBytes: Buffer.byteLength(name) }, name);
    parts.push(body(Wire.BatchItem, { bodyBytes: item.length, flags }), item);
  }
  return Buffer.concat(parts);
}

describe('leases of a target', () => {
  it('are recalled from all before a batch is answered, its own client included', () => {
    const { cluster, root, awaiting } = start();
    const names = ['a', 'b'];
    for (const name of names) cluster.create(root, name);
    const file = cluster.create(root, 'c');
    for (const name of names) lookup(cluster, root, name);
    getAttrFlags(cluster, file);
    const node = cluster.nodes[0]!;
    const unlink = cluster.begin(node, Opcode.BatchUnlink, batchBody(root, [...names, 'a']));
    const notices = take(cluster, awaiting);
    assert.ok(notices.some(({ kind }) => kind === NOTICE_ENTRY));
    assert.ok(
      notices.every(({ inode }) => inode !== file),
      'the third file is as it was',
    );
    assert.equal(unlink.answer, undefined);
    // A look-up of many does not wait: those under recall are to be asked for alone.
    const looked = cluster.call(node, Opcode.BatchLookup, batchBody(root, ['a', 'c']));
    assert.equal(looked.status, 0);
    assert.equal(looked.body.readUInt16LE(Wire.BatchReply.SIZE), EAGAIN);
    giveBack(cluster, notices);
    const { body: statuses } = cluster.finish(unlink);
    const first = Wire.BatchReply.SIZE;
    assert.deepEqual([...statuses.subarray(first, first + 3)], [0, 0, ENOENT]);
  });

  it('of names that a batch has not found are granted, if it asks, and recalled', () => {
    const { cluster, root, awaiting } = start();
    cluster.create(root, 'there');
    const node = cluster.nodes[0]!;
    const look = (flags: number): number[] => {
      const asked = batchBody(root, ['x', 'there', 'y'], flags);
      const { body: results } = cluster.call(node, Opcode.BatchLookup, asked);
      const last = results.length - Wire.BatchResult.SIZE;
      return [Wire.BatchReply.SIZE, last].map((at) => {
        assert.equal(results.readUInt16LE(at), ENOENT);
        return results.readUInt32LE(at + Wire.BatchResult.leases);
      });
    };
    assert.deepEqual(look(0), [0, 0]);
    assert.deepEqual(look(BATCH_LEASES_ABSENCE), [LEASE_ENTRY, LEASE_ENTRY]);
    const holder = cluster.speaker();
    cluster.newClient();
    const made = cluster.begin(node, Opcode.Create, cluster.createBody(root, 'y'));
    cluster.idle(50);
    assert.equal(made.answer, undefined);
    const other = cluster.speaker();
    cluster.speakAs(holder);
    const notices = take(cluster, awaiting);
    assert.ok(notices.some(({ kind }) => kind === NOTICE_ENTRY));
    giveBack(cluster, notices);
    cluster.speakAs(other);
    assert.equal(cluster.finish(made).status, 0);
  });

  it('are granted to those who await, and to nobody else', () => {
    const { cluster, root } = start();
    assert.equal(lookupFlags(lookup(cluster, root, 'a')), LEASE_ENTRY | LEASE_DIRECTORY);
    const file = cluster.create(root, 'a');
    assert.equal(lookupFlags(lookup(cluster, root, 'a')), 1 | LEASE_INODE | LEASE_ENTRY);
    assert.equal(getAttrFlags(cluster, file), LEASE_INODE);
    cluster.newClient();
    assert.equal(lookupFlags(lookup(cluster, root, 'a')), 1);
    assert.equal(getAttrFlags(cluster, file), 0);
  });

  it('come with what a client makes', () => {
    const { cluster, root } = start();
    const made = cluster.call(cluster.nodes[0]!, Opcode.Create, cluster.createBody(root, 'a'));
    const flags = made.body.readUInt32LE(Wire.AttributesReply.flags);
    assert.equal(flags & (LEASE_ENTRY | LEASE_INODE), LEASE_ENTRY | LEASE_INODE);
  });

  it('are recalled before a change by another client is answered', () => {
    const { cluster, root, awaiting } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    const holder = { cluster, awaiting };
    const speak = cluster.speaker();
    cluster.newClient();
    const change = beginChmod(cluster, file);
    cluster.idle(10);
    // Who asks now does not see the change, nor the state before, until the lease is back.
    const read = cluster.begin(
      cluster.nodes[0]!,
      Opcode.GetAttr,
      body(Wire.InodeRequest, { inode: file }),
    );
    cluster.idle(100);
    assert.equal(change.answer, undefined);
    assert.equal(read.answer, undefined);
    const other = cluster.speaker();
    cluster.speakAs(speak);
    const notices = take(holder.cluster, holder.awaiting);
    assert.deepEqual(
      notices.map(({ kind, inode }) => [kind, inode]),
      [[NOTICE_INODE, file]],
    );
    giveBack(cluster, notices);
    cluster.speakAs(other);
    assert.equal(cluster.finish(change).status, 0);
    const mode = cluster.finish(read).body.readUInt32LE(Wire.Attributes.mode);
    assert.equal(mode & 0o777, 0o600);
  });

  it('of an absent name and of a whole directory are recalled by a create', () => {
    const { cluster, root, awaiting } = start();
    assert.equal(lookup(cluster, root, 'a').status, ENOENT);
    const holder = cluster.speaker();
    cluster.newClient();
    const made = cluster.begin(cluster.nodes[0]!, Opcode.Create, cluster.createBody(root, 'a'));
    cluster.idle(50);
    assert.equal(made.answer, undefined);
    const other = cluster.speaker();
    cluster.speakAs(holder);
    const notices = take(cluster, awaiting);
    const kinds = notices.map(({ kind }) => kind).sort();
    assert.deepEqual(kinds, [NOTICE_ENTRY, NOTICE_DIRECTORY]);
    giveBack(cluster, notices);
    cluster.speakAs(other);
    assert.equal(cluster.finish(made).status, 0);
    // Contended: for a moment nobody gets it again.
    cluster.speakAs(holder);
    assert.equal(lookupFlags(lookup(cluster, root, 'a')) & LEASE_ENTRY, 0);
    cluster.idle(1100);
    assert.equal(lookupFlags(lookup(cluster, root, 'a')) & LEASE_ENTRY, LEASE_ENTRY);
  });

  it('come with a listing for each entry, and are recalled like any', () => {
    const { cluster, root, awaiting } = start();
    const files = ['a', 'b', 'c'].map((name) => cluster.create(root, name));
    cluster.idle(10);
    const grants = listGrants(cluster, root);
    assert.equal(grants.flags, LEASE_DIRECTORY);
    assert.deepEqual(grants.entries, new Array(3).fill(HAS_ATTRIBUTES | LEASE_INODE | LEASE_ENTRY));
    const holder = cluster.speaker();
    cluster.newClient();
    const change = beginChmod(cluster, files[1]!);
    cluster.idle(50);
    assert.equal(change.answer, undefined);
    const other = cluster.speaker();
    cluster.speakAs(holder);
    let notices = take(cluster, awaiting);
    assert.deepEqual(
      notices.map(({ kind, inode }) => [kind, inode]),
      [[NOTICE_INODE, files[1]]],
    );
    giveBack(cluster, notices);
    cluster.speakAs(other);
    assert.equal(cluster.finish(change).status, 0);
    const made = cluster.begin(cluster.nodes[0]!, Opcode.Create, cluster.createBody(root, 'd'));
    cluster.idle(50);
    assert.equal(made.answer, undefined, 'the directory is held as a whole');
    cluster.speakAs(holder);
    notices = take(cluster, awaiting);
    assert.ok(notices.some(({ kind }) => kind === NOTICE_DIRECTORY));
    giveBack(cluster, notices);
    cluster.speakAs(other);
    assert.equal(cluster.finish(made).status, 0);
    // As a whole it is contended, its names are not; and what was changed a moment ago is.
    cluster.speakAs(holder);
    const again = listGrants(cluster, root);
    assert.equal(again.flags, 0);
    const each = again.entries.map((bits) => bits & LEASE_ENTRY);
    assert.deepEqual(each, new Array(4).fill(LEASE_ENTRY));
    assert.equal(again.entries.filter((bits) => (bits & LEASE_INODE) !== 0).length, 3);
  });

  it('are taken from who does not answer, with the session', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    cluster.newClient();
    const change = beginChmod(cluster, file);
    cluster.idle(RECALL_LIMIT_MS - 1000);
    assert.equal(change.answer, undefined);
    assert.equal(cluster.finish(change).status, 0);
    assert.equal(cluster.nodes[0]!.target.report()['leases'], 0);
  });

  it('are believed no more by who awaits but does not answer, before they are taken from it', () => {
    const { cluster, root, awaiting } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    const holder = cluster.speaker();
    cluster.newClient();
    const mode = chmodBody(file);
    const change = cluster.begin(cluster.nodes[0]!, Opcode.SetAttr, mode);
    const recalledMs = cluster.world.nowMs;
    cluster.idle(10);
    const other = cluster.speaker();
    cluster.speakAs(holder);
    take(cluster, awaiting);
    let believedMs = 0;
    while (change.answer === undefined && awaiting.operation !== undefined) {
      const sentMs = cluster.world.nowMs;
      cluster.idle(2500);
      const { answer } = awaiting.operation;
      if (answer === undefined) break;
      if (answer.body.readUInt32LE(Wire.NoticesReply.flags) === 0) believedMs = sentMs;
      await_(cluster, awaiting);
    }
    cluster.speakAs(other);
    assert.equal(cluster.finish(change).status, 0);
    assert.ok(believedMs > 0 && believedMs + LEASE_TRUST_MS < recalledMs + RECALL_LIMIT_MS);
  });

  it('hold up changes after a restart until their holders are back', () => {
    const { cluster, root, awaiting } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    const holder = cluster.speaker();
    cluster.newClient();
    cluster.nodes[0]!.kill();
    cluster.nodes[0]!.start();
    const change = beginChmod(cluster, file);
    cluster.idle(1000);
    // The holder's Await is repeated by its transport: it says nothing of what it holds now.
    assert.equal(change.answer, undefined);
    assert.equal(getAttrFlags(cluster, file), 0, 'reads are answered');
    const other = cluster.speaker();
    cluster.speakAs(holder);
    awaiting.acknowledged = 0;
    await_(cluster, awaiting, 2);
    cluster.speakAs(other);
    assert.equal(cluster.finish(change, 1000).status, 0);
  });

  it('hold up who looks at a change after a restart, if their holders may not know of it', () => {
    const { cluster, root, awaiting } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    const holder = cluster.speaker();
    cluster.newClient();
    const node = cluster.nodes[0]!;
    const mode = chmodBody(file);
    const change = cluster.begin(node, Opcode.SetAttr, mode);
    cluster.idle(10);
    node.kill();
    node.start();
    const inode = body(Wire.InodeRequest, { inode: file });
    const read = cluster.begin(node, Opcode.GetAttr, inode);
    const nameBytes = Buffer.byteLength('a');
    const name = body(Wire.NameRequest, { parent: root, nameBytes }, 'a');
    const found = cluster.begin(node, Opcode.Lookup, name);
    cluster.idle(1000);
    assert.equal(change.answer, undefined, 'its first answer is not repeated');
    assert.equal(read.answer, undefined);
    assert.equal(found.answer, undefined);
    // Its absence is noted meanwhile, beside that it is to be told.
    node.kill();
    node.start();
    cluster.idle(1000);
    assert.equal(read.answer, undefined);
    const other = cluster.speaker();
    cluster.speakAs(holder);
    awaiting.acknowledged = 0;
    await_(cluster, awaiting, 3);
    cluster.speakAs(other);
    assert.equal(cluster.finish(change, 1000).status, 0);
    const changed = cluster.finish(read).body.readUInt32LE(Wire.Attributes.mode);
    assert.equal(changed & 0o777, 0o600);
    assert.equal(cluster.finish(found).status, 0);
    // That is over: the next restart is seen through.
    cluster.idle(2500);
    node.kill();
    node.start();
    assert.equal(getAttrFlags(cluster, file), 0);
  });

  it('hold up nothing after a restart when their holders do not come back in time', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    cluster.killClient();
    cluster.newClient();
    cluster.nodes[0]!.kill();
    cluster.nodes[0]!.start();
    const change = beginChmod(cluster, file);
    cluster.idle(RECALL_LIMIT_MS - 1000);
    assert.equal(change.answer, undefined);
    assert.equal(cluster.finish(change, 2000).status, 0);
    // Those who hold nothing hold up nobody the next time.
    cluster.nodes[0]!.kill();
    cluster.nodes[0]!.start();
    assert.equal(cluster.unlink(root, 'a').status, 0);
  });

  it('hold up nothing for ever when the target is killed again and again before the time is over', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    const node = cluster.nodes[0]!;
    cluster.killClient();
    cluster.newClient();
    const restart = (): void => {
      node.kill();
      node.start();
    };
    restart();
    const mode = chmodBody(file);
    const change = cluster.begin(node, Opcode.SetAttr, mode);
    for (let served = 0; served < RECALL_LIMIT_MS - 3000; served += 3000) {
      cluster.idle(3000);
      assert.equal(change.answer, undefined, `${served}`);
      restart();
    }
    // Each of the processes may have missed its last half second.
    cluster.idle(2000);
    assert.equal(change.answer, undefined);
    assert.equal(cluster.finish(change, 4000).status, 0);
  });

  it('are waited for anew when their holder was heard between two restarts', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    const node = cluster.nodes[0]!;
    const restart = (): void => {
      node.kill();
      node.start();
    };
    // The holder is client 1. Cut off, it does not know that the target was restarted.
    cluster.network.partition('client-1', node.name);
    cluster.newClient();
    restart();
    const mode = chmodBody(file);
    const change = cluster.begin(node, Opcode.SetAttr, mode);
    cluster.idle(RECALL_LIMIT_MS - 2000);
    // Its transport shakes hands and repeats its Await, which says nothing of what it holds.
    cluster.network.heal('client-1', node.name);
    cluster.idle(1500);
    cluster.network.partition('client-1', node.name);
    restart();
    cluster.idle(RECALL_LIMIT_MS - 1000);
    assert.equal(change.answer, undefined);
    assert.equal(cluster.finish(change, 2000).status, 0);
  });

  it('are not for a client that has done before the store says that it may hold them', () => {
    const { cluster } = start();
    cluster.newClient();
    const node = cluster.nodes[0]!;
    await_(cluster, new Awaiting());
    const ended = cluster.begin(node, Opcode.EndSession, Buffer.alloc(0));
    assert.equal(cluster.finish(ended).status, 0);
    cluster.idle(100);
    assert.equal(node.target.report()['leaseHolders'], 1);
    // A restart waits for the other one alone.
    node.kill();
    node.start();
    assert.equal(node.target.lease.grace.missing, 1);
  });

  it('are given back by a client that says that it has done', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    const ended = cluster.call(cluster.nodes[0]!, Opcode.EndSession, Buffer.alloc(0));
    assert.equal(ended.status, 0);
    cluster.killClient();
    cluster.newClient();
    const mode = chmodBody(file);
    const change = cluster.begin(cluster.nodes[0]!, Opcode.SetAttr, mode);
    assert.equal(cluster.finish(change, 1000).status, 0);
    // Nor does a restart wait for it.
    cluster.nodes[0]!.kill();
    cluster.nodes[0]!.start();
    const again = cluster.begin(cluster.nodes[0]!, Opcode.SetAttr, mode);
    assert.equal(cluster.finish(again, 1000).status, 0);
  });

  it('are not waited for after a restart when their holder says that it has done', () => {
    const { cluster, root } = start();
    const file = cluster.create(root, 'a');
    lookup(cluster, root, 'a');
    cluster.nodes[0]!.kill();
    cluster.nodes[0]!.start();
    const ended = cluster.begin(cluster.nodes[0]!, Opcode.EndSession, Buffer.alloc(0));
    assert.equal(cluster.finish(ended, 1000).status, 0);
    cluster.killClient();
    cluster.newClient();
    const mode = chmodBody(file);
    const change = cluster.begin(cluster.nodes[0]!, Opcode.SetAttr, mode);
    assert.equal(cluster.finish(change, 1000).status, 0);
  });
});
