/** A client that awaits notices, over the harness of one target. */
import assert from 'node:assert/strict';
import { AWAIT_LEASES, incarnationTag } from '../../../../src/protocol/leases.js';
import * as Wire from '../../../../src/protocol/wire.generated.js';
import { Opcode } from '../../../../src/protocol/wire.generated.js';
import { body } from '../namespace-harness.js';
import { TargetCluster, type Answer } from '../target-harness.js';

export interface Notice {
  number: number;
  inode: number;
  kind: number;
}

type Operation = ReturnType<TargetCluster['begin']>;

/** What is outstanding of one client: its Await. */
export class Awaiting {
  operation: Operation | undefined;
  acknowledged = 0;
}

export function await_(cluster: TargetCluster, awaiting: Awaiting, starts = 1): void {
  const { acknowledged } = awaiting;
  const incarnation = incarnationTag(`target-0-${starts}`);
  const fields = { acknowledged, flags: AWAIT_LEASES, incarnation };
  awaiting.operation = cluster.begin(
    cluster.nodes[0]!,
    Opcode.Await,
    body(Wire.AwaitRequest, fields),
  );
}

export function noticesOf(answer: Answer): Notice[] {
  const count = answer.body.readUInt32LE(0);
  return Array.from({ length: count }, (_, i) => {
    const at = Wire.NoticesReply.SIZE + i * Wire.Notice.SIZE;
    return {
      number: Number(answer.body.readBigUInt64LE(at + Wire.Notice.number)),
      inode: Number(answer.body.readBigUInt64LE(at + Wire.Notice.inode)),
      kind: answer.body.readUInt16LE(at + Wire.Notice.kind),
    };
  });
}

/** Waits for notices, acknowledges them and awaits again. */
export function take(cluster: TargetCluster, awaiting: Awaiting): Notice[] {
  for (;;) {
    const notices = noticesOf(cluster.finish(awaiting.operation!));
    awaiting.acknowledged = notices.at(-1)?.number ?? awaiting.acknowledged;
    await_(cluster, awaiting);
    if (notices.length > 0) return notices;
  }
}

export function giveBack(cluster: TargetCluster, notices: readonly Notice[]): void {
  const numbers = Buffer.alloc(8 * notices.length);
  notices.forEach(({ number }, i) => numbers.writeBigUInt64LE(BigInt(number), 8 * i));
  const head = body(Wire.ReturnedRequest, { count: notices.length });
  const answer = cluster.call(cluster.nodes[0]!, Opcode.Returned, Buffer.concat([head, numbers]));
  assert.equal(answer.status, 0);
}

/** One target, with a client that awaits; the clock has gone on far enough for leases. */
export function start(): { cluster: TargetCluster; root: number; awaiting: Awaiting } {
  const cluster = new TargetCluster();
  const root = cluster.root();
  const awaiting = new Awaiting();
  await_(cluster, awaiting);
  cluster.idle(10);
  return { cluster, root, awaiting };
}
