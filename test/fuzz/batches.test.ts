/**
 * Batches with bodies that are valid, damaged or random against a whole target, and replies of that kind against a
 * client: each is answered or refused, nothing is thrown, no memory is lost or read beyond its bounds, and what
 * is stored stays whole. Time and seeds: test/support/fuzz-seeds.ts.
 */
import assert from 'node:assert/strict';
import { Batch } from '../../src/client/batch.js';
import type { BatchOutcome } from '../../src/client/batch.js';
import { ClientContext, defaultClientOptions } from '../../src/client/context.js';
import { OpenFileTable } from '../../src/client/open-file.js';
import { errno } from '../../src/common/errno.js';
import { crc32cOf } from '../../src/native/crc32c.js';
import * as Wire from '../../src/protocol/wire.generated.js';
import { Opcode } from '../../src/protocol/wire.generated.js';
import { createPlainArena } from '../../src/native/arena-memory.js';
import { SimNetwork } from '../../src/transport/sim/sim-network.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { SimScheduler } from '../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../src/transport/sim/sim-world.js';
import { fuzzFor, fuzzSeconds } from '../support/fuzz-seeds.js';
import { body } from '../unit/server/namespace-harness.js';
import { TargetCluster } from '../unit/server/target-harness.js';

const FILE = 0o100644;
const opcodes = [
  Opcode.BatchLookup,
  Opcode.BatchGetAttr,
  Opcode.BatchRead,
  Opcode.BatchWrite,
  Opcode.BatchUnlink,
];
const names = ['a', 'b', 'directory', 'a/b', '..', 'x'.repeat(255), 'y'.repeat(300), ''];

function pick<T>(random: SimRandom, choices: readonly T[]): T {
  return choices[random.below(choices.length)]!;
}

/** Some bytes changed, or the end cut off, or more behind it; a multiple of 8. */
function damaged(random: SimRandom, bytes: Buffer): Buffer {
  let value = Buffer.from(bytes);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const kind = random.below(4);
    if (kind === 0) value[random.below(value.length)] = random.below(256);
    else if (kind === 1) {
      const at = random.below(value.length);
      value.fill(pick(random, [0, 0xff]), at, Math.min(value.length, at + 4));
    } else if (kind === 2) value = value.subarray(0, 8 * (1 + random.below(value.length / 8)));
    else value = Buffer.concat([value, Buffer.alloc(8 * random.below(4), random.below(256))]);
  }
  return value;
}

function item(random: SimRandom, opcode: number, parents: readonly number[]): Buffer[] {
  const parent = pick(random, parents);
  if (opcode === Opcode.BatchGetAttr) {
    const asked = body(Wire.InodeRequest, { inode: parent });
    return [body(Wire.BatchItem, { bodyBytes: asked.length }), asked];
  }
  const name = pick(random, names);
  const nameBytes = name.length;
  if (opcode !== Opcode.BatchWrite) {
    const named = body(Wire.NameRequest, { parent, nameBytes }, name);
    return [body(Wire.BatchItem, { bodyBytes: named.length }), named];
  }
  const mode = random.chance(0.9) ? FILE : random.word();
  const flags = random.below(3);
  const made = body(Wire.CreateRequest, { parent, mode, nameBytes, flags }, name);
  const data = Uint8Array.from({ length: random.below(60) }, () => random.below(256));
  const checksum = data.length > 0 && random.chance(0.9) ? crc32cOf(data) : 0;
  const fields = { bodyBytes: made.length, dataBytes: data.length, checksum };
  return [body(Wire.BatchItem, fields), made, Buffer.from(data)];
}

/** Head and items; the contents behind them, or apart. */
function batch(
  random: SimRandom,
  opcode: number,
  parents: readonly number[],
): { bytes: Buffer; data: Buffer } {
  const count = 1 + random.below(6);
  const items = Array.from({ length: count }, () => item(random, opcode, parents));
  const data = Buffer.concat(items.map(([, , content]) => content ?? Buffer.alloc(0)));
  const dataBytes = opcode === Opcode.BatchRead ? random.below(70_000) : data.length;
  const head = body(Wire.BatchRequest, { count, dataBytes });
  return { bytes: Buffer.concat([head, ...items.flatMap((one) => one.slice(0, 2))]), data };
}

function fuzzTarget(seed: number): void {
  const random = new SimRandom(seed);
  const cluster = new TargetCluster();
  const root = cluster.root();
  const node = cluster.nodes[0]!;
  const made = body(
    Wire.MakeDirRequest,
    { parent: root, bucket: 9, mode: 0o755, nameBytes: 9 },
    names[2]!,
  );
  assert.equal(cluster.call(node, Opcode.MakeDir, made).status, 0);
  const parents = [root, root, cluster.create(root, 'file'), root + 1000, 0, 2 ** 52];
  const { bulk } = node.target.arena;
  const free = bulk.available;
  for (let i = 0; i < 60; i++) {
    const opcode = pick(random, opcodes);
    const { bytes, data } = batch(random, opcode, parents);
    const asBulk = data.length > 0 && random.chance(0.4);
    const whole = asBulk ? bytes : Buffer.concat([bytes, data, Buffer.alloc(-data.length & 7)]);
    const sent = random.chance(0.6) ? damaged(random, whole) : whole;
    const answer = cluster.call(
      node,
      opcode,
      sent,
      asBulk ? data : undefined,
      opcode === Opcode.BatchRead,
    );
    if (sent === whole) assert.equal(answer.status, 0);
    else assert.ok([0, errno.EINVAL].includes(answer.status), `status ${answer.status}`);
    if (answer.status === 0) assert.equal(answer.body.readUInt16LE(0), sent.readUInt16LE(0));
  }
  assert.equal(bulk.available, free, 'slots are given back');
  // The root, the directory and the files that have names: nothing else was made.
  const listed = cluster.call(
    node,
    Opcode.ReadDir,
    body(Wire.ReadDirRequest, { inode: root, maxBytes: 8000 }),
  );
  assert.equal(listed.status, 0);
  const entries = listed.body.readUInt32LE(Wire.ReadDirReply.entryCount);
  assert.equal(node.target.namespace.inodeCount, 1 + entries);
}

class FuzzedBatch extends Batch {
  readonly taken: number[] = [];
  status = -1;

  protected override took(i: number, outcome: BatchOutcome): void {
    assert.ok(!this.taken.includes(i), 'an item is taken once');
    this.taken.push(i);
    assert.ok((outcome.data?.length ?? 0) <= 2 ** 20);
  }

  protected override ended(status: number): void {
    assert.equal(this.status, -1, 'it ends once');
    this.status = status;
  }
}

/** A client whose replies are made here. */
function clientContext(): ClientContext {
  const world = new SimWorld(1);
  const scheduler = new SimScheduler(world, 'client');
  const arena = createPlainArena({ messageSlots: 8, bulkSlots: 2 });
  const transport = new SimTransport(new SimNetwork(world), 'client', scheduler, arena);
  const member = { targetId: 't', serverId: 't', weight: 1, endpoints: ['sim://t:1'] };
  const map = { clusterId: 'c', epoch: 1, members: [member] };
  const options = defaultClientOptions;
  const context = new ClientContext({ transport, arena, scheduler, map, options }, () => undefined);
  context.files = new OpenFileTable();
  return context;
}

function fuzzClient(
  random: SimRandom,
  context: ClientContext,
  message: number,
  slot: number,
): void {
  const { bytes, words } = context.arena;
  const opcode = pick(random, opcodes);
  const owner = { uid: 0, gid: 0, umask: 0, dropsSetId: false };
  const fuzzed = new FuzzedBatch(opcode, owner);
  const count = 1 + random.below(5);
  const data = new Uint8Array(0);
  for (let i = 0; i < count; i++) {
    const entry = { inode: 2 ** 40 + i, name: Uint8Array.of(97), mode: 0, exclusive: false, data };
    assert.ok(fuzzed.add(entry));
  }
  fuzzed.slot = slot;
  fuzzed.prepare(context);
  assert.ok(fuzzed.encode(message) <= fuzzed.bodyBytes);
  const bodyBytes = 8 * random.below(120);
  for (let at = message; at < message + bodyBytes; at += 4) {
    words[at >>> 2] = random.chance(0.7)
      ? 0
      : random.chance(0.5)
        ? random.below(200)
        : random.word();
  }
  words[message >>> 2] = random.chance(0.9) ? count : random.word();
  words[(message >>> 2) + 1] = random.chance(0.7) ? random.below(64) : random.word();
  bytes.fill(random.below(256), slot, slot + 100);
  fuzzed.done(random.chance(0.1) ? errno.EIO : 0, message, bodyBytes, random.below(200));
  assert.notEqual(fuzzed.status, -1, 'it has ended');
  if (fuzzed.status === 0) assert.equal(fuzzed.taken.length, count);
}

describe('fuzz: batches', function () {
  this.timeout(60_000 + fuzzSeconds * 2000);

  it('that nobody should send are refused by a target, and change nothing', () => {
    fuzzFor(fuzzSeconds * 0.6, fuzzTarget);
  });

  it('that nobody should answer so end all the same at a client', () => {
    const context = clientContext();
    const message = context.arena.messages.take();
    const slot = context.arena.bulk.take();
    fuzzFor(fuzzSeconds * 0.2, (seed) => {
      const random = new SimRandom(seed);
      for (let i = 0; i < 50; i++) fuzzClient(random, context, message, slot);
    });
  });
});
