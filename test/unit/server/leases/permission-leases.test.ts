/**
 * What others' entries do not change of a directory is leased apart, and an unlink says what they did change to who
 * holds the rest. Protects: creates of many in one directory recall nothing but what they make untrue.
 */
import assert from 'node:assert/strict';
import {
  LEASE_INODE,
  LEASE_PERMISSIONS,
  NOTICE_INODE,
  NOTICE_PERMISSIONS,
} from '../../../../src/protocol/leases.js';
import * as Wire from '../../../../src/protocol/wire.generated.js';
import { Opcode } from '../../../../src/protocol/wire.generated.js';
import { body } from '../namespace-harness.js';
import type { Answer, TargetCluster } from '../target-harness.js';
import { giveBack, start, take } from './lease-harness.js';

const SET_MODE = 1;
const SET_MTIME_NOW = 128;

function getAttr(cluster: TargetCluster, inode: number): Answer {
  return cluster.inodeCall(Opcode.GetAttr, inode);
}

function flagsOf(answer: Answer): number {
  return answer.body.readUInt32LE(Wire.AttributesReply.flags);
}

describe('leases of permissions', () => {
  /** The holder has the permissions of the root, in which another session has made an entry. */
  function contended(): ReturnType<typeof start> & { speak: (who: 'holder' | 'other') => void } {
    const started = start();
    const { cluster, root, awaiting } = started;
    const speakers = { holder: cluster.speaker(), other: cluster.speaker() };
    assert.equal(flagsOf(getAttr(cluster, root)), LEASE_INODE);
    cluster.newClient();
    speakers.other = cluster.speaker();
    const made = cluster.begin(cluster.nodes[0]!, Opcode.Create, cluster.createBody(root, 'a'));
    const speak = (who: 'holder' | 'other'): void => {
      cluster.speakAs(speakers[who]);
    };
    speak('holder');
    const notices = take(cluster, awaiting);
    assert.deepEqual(
      notices.map(({ kind }) => kind),
      [NOTICE_INODE],
    );
    giveBack(cluster, notices);
    speak('other');
    assert.equal(cluster.finish(made).status, 0);
    speak('holder');
    assert.equal(flagsOf(getAttr(cluster, root)), LEASE_PERMISSIONS);
    return { ...started, speak };
  }

  it('are not recalled by entries that come and go, nor by times', () => {
    const { cluster, root, speak } = contended();
    speak('other');
    cluster.create(root, 'b');
    assert.equal(cluster.unlink(root, 'b').status, 0);
    const touch = body(Wire.SetAttrRequest, { inode: root, valid: SET_MTIME_NOW });
    assert.equal(cluster.call(cluster.nodes[0]!, Opcode.SetAttr, touch).status, 0);
    speak('holder');
    assert.equal(cluster.nodes[0]!.target.report()['leases'], 1);
    assert.equal(flagsOf(getAttr(cluster, root)), LEASE_PERMISSIONS);
  });

  it('are recalled before a change of the mode is answered', () => {
    const { cluster, root, awaiting, speak } = contended();
    speak('other');
    const chmod = body(Wire.SetAttrRequest, { inode: root, valid: SET_MODE, mode: 0o700 });
    const change = cluster.begin(cluster.nodes[0]!, Opcode.SetAttr, chmod);
    cluster.idle(50);
    assert.equal(change.answer, undefined);
    speak('holder');
    const notices = take(cluster, awaiting);
    assert.deepEqual(
      notices.map(({ kind, inode }) => [kind, inode]),
      [[NOTICE_PERMISSIONS, root]],
    );
    giveBack(cluster, notices);
    speak('other');
    assert.equal(cluster.finish(change).status, 0);
    // Contended, as everything that was recalled.
    speak('holder');
    assert.equal(flagsOf(getAttr(cluster, root)), 0);
  });

  it('are recalled by extended attributes that come', () => {
    const { cluster, root, awaiting, speak } = contended();
    speak('other');
    const name = 'user.a';
    const fields = { inode: root, nameBytes: name.length, valueBytes: 1, inlineBytes: 1 };
    const set = body(Wire.SetXattrRequest, fields, `${name}x`);
    const change = cluster.begin(cluster.nodes[0]!, Opcode.SetXattr, set);
    speak('holder');
    const notices = take(cluster, awaiting);
    assert.deepEqual(
      notices.map(({ kind }) => kind),
      [NOTICE_PERMISSIONS],
    );
    giveBack(cluster, notices);
    speak('other');
    assert.equal(cluster.finish(change).status, 0);
  });

  it('are of directories alone', () => {
    const { cluster, root, speak, awaiting } = contended();
    const file = cluster.create(root, 'f');
    assert.equal(flagsOf(getAttr(cluster, file)), LEASE_INODE);
    speak('other');
    const chmod = body(Wire.SetAttrRequest, { inode: file, valid: SET_MODE, mode: 0o600 });
    const change = cluster.begin(cluster.nodes[0]!, Opcode.SetAttr, chmod);
    speak('holder');
    giveBack(cluster, take(cluster, awaiting));
    speak('other');
    assert.equal(cluster.finish(change).status, 0);
    speak('holder');
    assert.equal(flagsOf(getAttr(cluster, file)), 0);
  });
});

describe('an unlink', () => {
  it('tells who holds its directory what the times are now', () => {
    const { cluster, root } = start();
    cluster.create(root, 'a');
    cluster.create(root, 'b');
    const unheld = cluster.unlink(root, 'a').body;
    assert.equal(unheld.readUInt32LE(Wire.UnlinkReply.flags), 0);
    getAttr(cluster, root);
    cluster.idle(20);
    const told = cluster.unlink(root, 'b').body;
    assert.equal(told.readUInt32LE(Wire.UnlinkReply.flags), LEASE_INODE);
    const { body: now } = getAttr(cluster, root);
    for (const field of ['mtimeSeconds', 'ctimeSeconds'] as const) {
      const seconds = now.readBigInt64LE(Wire.Attributes[field]);
      assert.equal(told.readBigInt64LE(Wire.UnlinkReply.changeSeconds), seconds);
    }
    for (const field of ['mtimeNanoseconds', 'ctimeNanoseconds'] as const) {
      const nanoseconds = now.readUInt32LE(Wire.Attributes[field]);
      assert.equal(told.readUInt32LE(Wire.UnlinkReply.changeNanoseconds), nanoseconds);
    }
  });
});
