/**
 * Prepare and Resolve with bodies that are valid, damaged or random, against one name space, and intents
 * that were damaged in the store: each is done or refused with an errno, nothing is thrown, and when
 * all are aborted the name space is as it was and nothing is locked. For SEALFS_FUZZ_SECONDS (2 by
 * default); a failing seed is printed, SEALFS_FUZZ_SEED runs it alone.
 */
import assert from 'node:assert/strict';
import { PrepareRequest, ResolveRequest, Opcode } from '../../src/protocol/wire.generated.js';
import { writeU16, writeU53 } from '../../src/protocol/u53.js';
import { intentKey } from '../../src/server/keys.js';
import { MemoryMetaStore } from '../../src/server/memory-meta-store.js';
import { encodeStep, STEP_TOKEN, StepRequest } from '../../src/server/transactions/step.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { fuzzFor, fuzzSeconds } from '../support/fuzz-seeds.js';
import { Harness, idleScheduler } from '../unit/server/namespace-harness.js';

const COORDINATORS = ['one', 'another'];
const ROOM = 1024;

function memoryOf(bytes: Uint8Array): { bytes: Uint8Array; words: Uint32Array } {
  return { bytes, words: new Uint32Array(bytes.buffer) };
}

function randomStep(random: SimRandom, inodes: readonly number[]): StepRequest {
  const pick = (): number => inodes[random.below(inodes.length)]!;
  const request = new StepRequest(random.below(STEP_TOKEN + 2), pick());
  request.other = random.chance(0.8) ? pick() : 0;
  request.mode = random.chance(0.5) ? 0o040755 : 0o100644;
  request.bucket = random.chance(0.8) ? 9 : random.word();
  if (random.chance(0.7))
    request.name = Buffer.from(['f', 'd', 'x', '..', 'a/b'][random.below(5)]!);
  if (random.chance(0.1)) request.accessAcl = Uint8Array.of(1, 2, 3);
  return request;
}

/** Flips, cuts or lengthens; a body stays a multiple of 8. */
function damage(random: SimRandom, body: Uint8Array): Uint8Array {
  const value = new Uint8Array(Math.max(8, body.length + 8 * (random.below(5) - 2)));
  value.set(body.subarray(0, value.length));
  for (let changes = random.below(4); changes > 0; changes--) {
    value[random.below(value.length)] = random.below(256);
  }
  return value;
}

function prepareBody(random: SimRandom, inodes: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(ROOM);
  const coordinator = Buffer.from(COORDINATORS[random.below(2)]!);
  const step = randomStep(random, inodes);
  const length = encodeStep(memoryOf(bytes), 0, 1 + random.below(6), coordinator, step);
  const body = bytes.slice(0, (length + 7) & ~7);
  return random.chance(0.4) ? damage(random, body) : body;
}

function resolveBody(coordinator: string, transaction: number, commit: boolean): Uint8Array {
  const bytes = new Uint8Array((ResolveRequest.SIZE + coordinator.length + 7) & ~7);
  const { words } = memoryOf(bytes);
  writeU53(words, ResolveRequest.transaction, transaction);
  words[ResolveRequest.commit >>> 2] = commit ? 1 : 0;
  writeU16(words, ResolveRequest.coordinatorBytes, coordinator.length);
  bytes.set(Buffer.from(coordinator, 'latin1'), ResolveRequest.SIZE);
  return bytes;
}

/** Aborts whatever is prepared, whoever is said to coordinate it. */
function abortAll(h: Harness): void {
  for (const { coordinator, transaction } of [...h.ns.participant.intents]) {
    const body = resolveBody(coordinator, transaction, false);
    assert.equal(h.run(Opcode.Resolve, Buffer.from(body)), 0);
  }
}

function fuzz(seed: number): void {
  const random = new SimRandom(seed);
  const meta = new MemoryMetaStore({ scheduler: idleScheduler });
  const h = new Harness(meta);
  const root = h.root();
  const inodes = [root, h.file(root, 'f'), h.directory(root, 'd'), root + 1000];
  for (let i = 0; i < 40; i++) {
    const before = h.ns.participant.intents.size;
    const status = h.run(Opcode.Prepare, Buffer.from(prepareBody(random, inodes)));
    assert.ok(status >= 0, `status ${status}`);
    assert.equal(h.ns.participant.intents.size, before + (status === 0 ? 1 : 0));
    if (random.chance(0.2)) {
      const wish = resolveBody(COORDINATORS[random.below(2)]!, 1 + random.below(6), false);
      const body = random.chance(0.5) ? damage(random, wish) : wish;
      // Committing garbage may well change things: that is the coordinator's right.
      body.fill(0, ResolveRequest.commit, ResolveRequest.commit + 4);
      assert.ok(h.run(Opcode.Resolve, Buffer.from(body)) >= 0);
    }
  }
  reopen(random, meta);
  abortAll(h);
  assert.equal(h.ns.participant.intents.size, 0);
  assert.equal(h.ns.locks.size, 0);
  assert.equal(h.ns.inodeCount, 3);
  assert.equal(h.lookup(root, 'f').inode, inodes[1]);
}

/** Another process opens the store, with some of the intents damaged. */
function reopen(random: SimRandom, meta: MemoryMetaStore): void {
  const kept: [number, Uint8Array][] = [];
  meta.transaction(() => {
    for (let number = 1; number < 40; number++) {
      const value = meta.get(intentKey(number));
      if (value === undefined) continue;
      const whole = Uint8Array.from(value);
      kept.push([number, whole]);
      if (random.chance(0.5)) meta.put(intentKey(number), damage(random, whole));
    }
  });
  const other = new Harness(meta);
  assert.ok(other.ns.participant.intents.size <= kept.length);
  meta.transaction(() => {
    for (const [number, value] of kept) meta.put(intentKey(number), value);
  });
}

describe('fuzz: steps of transactions', function () {
  this.timeout(60_000 + fuzzSeconds * 2000);

  it('are done or refused, and leave nothing when they are aborted', () => {
    fuzzFor(fuzzSeconds / 2, fuzz);
  });
});

if (PrepareRequest.SIZE % 8 !== 0) throw new Error('bodies are multiples of 8');
