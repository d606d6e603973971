/**
 * Damages valid stored values at random and gives them to what reads them at a start or in an
 * operation, for SEALFS_FUZZ_SECONDS (2 by default) in all. Each parser either takes a value that
 * does not contradict itself or refuses it as documented; nothing else is thrown, and nothing is
 * read or written beyond its bounds. A failing seed is printed; SEALFS_FUZZ_SEED runs it alone.
 */
import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import { describe, it } from 'mocha';
import { SealfsError } from '../../src/common/errors.js';
import { crc32cOf } from '../../src/native/crc32c.js';
import {
  blockBytes,
  chunkBytes,
  inlineDataBytes,
  nameBytesMax,
} from '../../src/protocol/limits.generated.js';
import {
  NameRequest,
  Opcode,
  SetXattrRequest,
  SymlinkRequest,
  XattrRequest,
} from '../../src/protocol/wire.generated.js';
import {
  CHECKPOINT_FILE_BYTES,
  CHECKPOINT_SLOT_BYTES,
  encodeCheckpoint,
  META_PAGE_BYTES,
  newestCheckpoint,
  readMetaPage,
  slotOffset,
} from '../../src/server/checkpoint.js';
import { Allocator } from '../../src/server/data/allocator.js';
import { REGION_BLOCKS } from '../../src/server/data/block-bitmap.js';
import { EXTENTS_CAPACITY, ExtentMap, INLINE_DEVICE } from '../../src/server/data/extent-map.js';
import { regionKey } from '../../src/server/data/keys.js';
import { BlockRuns, splice } from '../../src/server/data/splice.js';
import { decodeSuperblock, encodeSuperblock } from '../../src/server/data/superblock.js';
import { Dentry } from '../../src/server/dentries.js';
import { InodeRecord, storedInode } from '../../src/server/inode-record.js';
import { sessionKey } from '../../src/server/keys.js';
import { MemoryMetaStore } from '../../src/server/memory-meta-store.js';
import { Listing, listDirectory } from '../../src/server/namespace-read.js';
import { readXattrs, XattrAnswer } from '../../src/server/namespace-xattrs.js';
import { SessionRecords } from '../../src/server/sessions.js';
import { PENDING } from '../../src/server/transactions/step.js';
import { RpcRequest } from '../../src/transport/rpc-request.js';
import { Session, SESSION_RECORD_BYTES } from '../../src/transport/rpc-session.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { fuzzFor, fuzzSeconds } from '../support/fuzz-seeds.js';
import { body, Harness, idleScheduler } from '../unit/server/namespace-harness.js';

const CASES = 6;

function randomBytes(random: SimRandom, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => random.below(256));
}

/** A damaged copy; now and then the value as it is. */
function damage(random: SimRandom, valid: Uint8Array): Uint8Array {
  let value: Uint8Array = Uint8Array.from(valid); // a slice of a Buffer would share its memory
  for (let changes = random.below(4); changes > 0; changes--) {
    const at = random.below(value.length);
    switch (random.below(7)) {
      case 0:
        if (value.length > 0) value[at]! ^= 1 << random.below(8);
        break;
      case 1:
        value.fill([0, 1, 0x7f, 0x80, 0xff][random.below(5)]!, at, at + 1 + random.below(8));
        break;
      case 2:
        value = value.slice(0, at);
        break;
      case 3:
        value = Uint8Array.of(...value, ...randomBytes(random, 1 + random.below(600)));
        break;
      case 4:
        value = randomBytes(random, random.chance(0.5) ? value.length : random.below(300));
        break;
      case 5:
        value.set(randomBytes(random, Math.min(4, value.length - at)), at);
        break;
      default:
        value.copyWithin(at & ~3, random.below(value.length) & ~3);
    }
  }
  return value;
}

/** False: refused, with an error of this code. Everything else that is thrown passes on. */
function accepts(run: () => void, ...codes: string[]): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (error instanceof SealfsError && codes.includes(error.code)) return false;
    throw error;
  }
}

function newStore(): MemoryMetaStore {
  return new MemoryMetaStore({ scheduler: idleScheduler });
}

// ---------------------------------------------------------------- chunk values

function randomPatch(random: SimRandom): { patch: ExtentMap; start: number; stop: number } {
  const patch = new ExtentMap();
  const inline = random.chance(0.4);
  const start = random.below(inline ? inlineDataBytes - 1 : chunkBytes - 1);
  const most = (inline ? inlineDataBytes : Math.min(chunkBytes, start + 40_000)) - start;
  const length = 1 + random.below(most);
  if (inline) patch.appendInline(start, length, randomBytes(random, length), 0);
  else {
    const crcs = Uint32Array.from({ length: Math.ceil(length / blockBytes) }, () => random.word());
    patch.append(start, length, random.below(3), 0, 1 + random.below(1e6), crcs, 0);
  }
  return { patch, start, stop: start + length };
}

function checkMap(map: ExtentMap): void {
  assert.ok(map.count <= EXTENTS_CAPACITY && map.end <= chunkBytes);
  assert.ok(map.inlineBytes <= inlineDataBytes);
  let before = 0;
  for (let i = 0; i < map.count; i++) {
    assert.ok(map.offsets[i]! >= before && map.lengths[i]! > 0, 'ascending and not empty');
    before = map.offsets[i]! + map.lengths[i]!;
    const crcEnd = map.crcStarts[i]! + map.blockCount(i);
    if (map.devices[i] !== INLINE_DEVICE) assert.ok(crcEnd <= map.crcCount, 'CRCs');
    else assert.ok(map.blocks[i]! + map.lengths[i]! <= map.inlineBytes, 'inline bytes');
  }
  assert.ok(before <= map.end, 'ends behind its extents');
}

function fuzzChunk(random: SimRandom): boolean {
  let base = new ExtentMap();
  let out = new ExtentMap();
  const write = (): void => {
    const { patch, start, stop } = randomPatch(random);
    splice(base, patch, start, stop, out, new BlockRuns());
    [base, out] = [out, base];
  };
  for (let i = random.below(8); i >= 0; i--) write();
  const value = damage(random, base.store().slice());
  if (
    !accepts(() => {
      base.load(value);
    }, 'CORRUPT')
  )
    return false;
  checkMap(base);
  const { count, end } = base;
  const allInline = base.devices.subarray(0, count).every((device) => device === INLINE_DEVICE);
  const again = new ExtentMap();
  again.load(base.store().slice());
  checkMap(again);
  assert.equal(again.end, end);
  if (!allInline) assert.equal(again.count, count);
  if (accepts(write, 'CORRUPT')) checkMap(base);
  return true;
}

// ---------------------------------------------------------------- superblock, checkpoint

function fuzzSuperblock(random: SimRandom): boolean {
  const valid = {
    deviceId: 'd'.repeat(1 + random.below(64)),
    targetId: 't1',
    clusterId: 'c1',
    number: random.below(64),
    totalBlocks: 256 + random.below(1e9),
  };
  const block = damage(random, encodeSuperblock(valid));
  const sealed = random.chance(0.5) && block.length >= blockBytes;
  if (sealed) {
    const crc = crc32cOf(block.subarray(0, blockBytes - 4));
    new DataView(block.buffer).setUint32(blockBytes - 4, crc, true);
  }
  let read: ReturnType<typeof decodeSuperblock>;
  const decode = (): void => {
    read = decodeSuperblock(block, '/dev/x');
  };
  if (!accepts(decode, 'CORRUPT', 'EXISTS', 'UNSUPPORTED')) return false;
  if (read === undefined) assert.ok(block.every((byte, i) => byte === 0 || i >= blockBytes));
  else if (!sealed) assert.deepEqual(read, valid);
  else assert.ok(Number.isInteger(read.totalBlocks) && read.number <= 0xffff);
  return true;
}

function fuzzCheckpoint(random: SimRandom): boolean {
  const file = Buffer.alloc(CHECKPOINT_FILE_BYTES);
  const newest = 1 + random.below(1000);
  for (const generation of [newest - 1, newest]) {
    const metaPage = Buffer.alloc(META_PAGE_BYTES, random.below(2));
    metaPage.writeUInt32LE(0xbeefc0de, 24);
    const slot = encodeCheckpoint({ generation, bootId: 'boot', allocatedBytes: 8192, metaPage });
    slot.copy(file, slotOffset(generation));
  }
  const bytes = Buffer.from(damage(random, file));
  // A CRC that is right over damage: what an error in the writer would leave.
  const sealed = random.chance(0.5) && bytes.length >= CHECKPOINT_FILE_BYTES;
  for (const at of sealed ? [0, CHECKPOINT_SLOT_BYTES] : []) {
    bytes.writeUInt32LE(0, at + 64);
    bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 128 + META_PAGE_BYTES)), at + 64);
  }
  const found = newestCheckpoint(bytes);
  if (found === undefined) return false;
  const facts = readMetaPage(found.metaPage);
  assert.equal(found.metaPage.length, META_PAGE_BYTES);
  assert.ok(facts !== undefined && Number.isSafeInteger(facts.transactionId));
  assert.ok([found.generation, found.allocatedBytes].every(Number.isSafeInteger));
  if (!sealed) assert.ok(found.generation === newest || found.generation === newest - 1);
  return true;
}

// ---------------------------------------------------------------- name space

function listAll(harness: Harness, directory: number): number {
  const listing = new Listing();
  const bytes = new Uint8Array(4096 + 64).fill(0xee, 4096);
  const out = { bytes, words: new Uint32Array(bytes.buffer) };
  const status = listDirectory(harness.ns, directory, 0, true, out, 0, 4096, listing);
  assert.ok(listing.bytes <= 4096 && bytes.subarray(4096).every((byte) => byte === 0xee), 'bounds');
  return status;
}

function fuzzNamespace(random: SimRandom): boolean {
  const store = newStore();
  // All names collide, so that a removal moves entries.
  const harness = random.chance(0.5) ? new Harness(store, () => 7) : new Harness(store);
  const root = harness.root();
  const folder = harness.directory(root, 'folder');
  const inodes = ['a', 'b', 'c'].map((name) => harness.file(root, name));
  const link = { parent: root, nameBytes: 4, targetBytes: 6 };
  assert.equal(harness.run(Opcode.Symlink, body(SymlinkRequest, link, 'link', 'target')), 0);
  for (const inode of [root, inodes[0]!]) {
    for (const name of ['user.one', 'user.two']) setXattr(harness, inode, name, Buffer.from(name));
  }
  setXattr(harness, root, 'system.posix_acl_default', defaultAcl);
  const keys = [...store.image.values.keys()].filter((key) => /^[^]{2}[IDLX]/.test(key));
  for (let i = random.below(4); i >= 0; i--) {
    const key = Buffer.from(keys[random.below(keys.length)]!, 'latin1');
    store.transaction(() => {
      store.put(key, damage(random, store.get(key)!));
    });
  }
  const records = [root, folder, ...inodes].map((inode) => {
    const record = storedInode(store, inode);
    if (record === undefined) return false;
    assert.equal(record.length, InodeRecord.SIZE);
    assert.equal(Number(Buffer.from(record).readBigUInt64LE(InodeRecord.inode)), inode);
    return true;
  });
  listAll(harness, root);
  harness.ns.dentries.list(root, 0, (_cookie, inode, _mode, value) => {
    const nameBytes = value.length - Dentry.name;
    assert.ok(nameBytes >= 1 && nameBytes <= nameBytesMax && Number.isSafeInteger(inode));
    return true;
  });
  for (const inode of [root, folder, ...inodes]) harness.statStatus(inode);
  for (const name of ['a', 'b', 'c', 'link', 'folder']) {
    const { status, inode } = harness.lookup(root, name);
    assert.ok(Number.isSafeInteger(inode));
    if (status === 0 && inode > 0) harness.statStatus(inode);
  }
  for (const inode of [root, inodes[0]!]) readAllXattrs(harness, inode);
  mutate(random, harness, root, folder);
  listAll(harness, folder);
  return records.every((good) => good);
}

/** Owner, group and others may do everything. */
const defaultAcl = Buffer.from(
  '02000000' + '01000700ffffffff' + '04000700ffffffff' + '20000700ffffffff',
  'hex',
);

function setXattr(harness: Harness, inode: number, name: string, value: Buffer): number {
  const bytes = value.length;
  const fields = { inode, nameBytes: name.length, valueBytes: bytes, inlineBytes: bytes };
  const head = body(SetXattrRequest, fields);
  const padding = Buffer.alloc(7 - ((name.length + bytes + 7) & 7));
  const whole = Buffer.concat([head, Buffer.from(name), value, padding]);
  return harness.run(Opcode.SetXattr, whole);
}

function readAllXattrs(harness: Harness, inode: number): void {
  const answer = new XattrAnswer();
  for (const name of ['', 'user.one', 'user.two', 'system.posix_acl_default']) {
    const fields = { inode, nameBytes: name.length, maxBytes: 65536 };
    const call = harness.prepare(body(XattrRequest, fields, name));
    const status = readXattrs(harness.ns, call, name === '', answer);
    assert.ok(status > 0 || answer.bytes.length <= 65536);
  }
}

function mutate(random: SimRandom, harness: Harness, root: number, folder: number): void {
  const names = ['a', 'b', 'c', 'link', 'folder', 'new'];
  for (let i = 0; i < 6; i++) {
    const name = names[random.below(names.length)]!;
    const other = names[random.below(names.length)]!;
    const steps = [
      (): number => harness.unlink(root, name),
      (): number => harness.rename(root, name, random.chance(0.5) ? root : folder, other),
      (): number => harness.create(root, name),
      (): number => harness.setAttr(harness.lookup(root, name).inode, { valid: 3, mode: 0o4755 }),
      (): number => setXattr(harness, root, 'user.one', Buffer.from(name)),
      (): number => harness.lookup(folder, name).status,
      (): number =>
        harness.run(
          Opcode.Unlink,
          body(NameRequest, { parent: folder, nameBytes: name.length }, name),
        ),
    ];
    const asked = harness.lone.needed.length;
    const status = steps[random.below(steps.length)]!();
    assert.ok(Number.isInteger(status), 'a status');
    // A damaged entry may name an inode elsewhere: then its target is needed.
    const pending = status === PENDING && harness.lone.needed.length > asked;
    assert.ok(status >= 0 || pending, 'an errno');
  }
}

// ---------------------------------------------------------------- sessions, allocator

function fuzzSession(random: SimRandom): boolean {
  const store = newStore();
  const identity = {
    id: '0123456789abcdef'.repeat(2),
    clientName: 'c',
    kind: 'client' as const,
    client: 1,
  };
  const value = damage(random, randomBytes(random, SESSION_RECORD_BYTES));
  store.transaction(() => {
    store.put(sessionKey(Buffer.from(identity.id, 'hex')), value);
  });
  const records = new SessionRecords(store);
  records.open(0);
  const session = new Session(identity, records.load(identity.id));
  const whole = value.length === SESSION_RECORD_BYTES;
  assert.deepEqual(session.records, whole ? value : new Uint8Array(SESSION_RECORD_BYTES));
  const request = new RpcRequest();
  for (let slot = 0; slot < 64; slot++) {
    request.slot = slot;
    request.sequence = Buffer.from(session.records.buffer).readUInt32LE(slot * 24);
    assert.ok(session.recall(request));
    assert.ok(request.recordStatus <= 0xffff && request.recordOpcode <= 0xff);
  }
  return whole;
}

function fuzzAllocator(random: SimRandom): boolean {
  const store = newStore();
  const total = 300 + random.below(2 * REGION_BLOCKS);
  const before = new Allocator(store);
  before.addDevice(3, total);
  store.transaction(() => {
    for (let i = 0; i < 4; i++) {
      const count = before.allocate(3, 1 + random.below(total / 6), random.below(total), false);
      if (count > 0) before.commitAllocated(3, before.allocatedBlock, count);
    }
    before.seal();
  });
  const region = regionKey(3, random.below(Math.ceil(total / REGION_BLOCKS) + 1)).slice();
  store.transaction(() => {
    const value = damage(random, store.get(region) ?? new Uint8Array(REGION_BLOCKS / 8));
    // Around the device's end more often than chance would have it.
    const last = ((total % REGION_BLOCKS) >>> 3) + random.below(3) - 1;
    if (last < value.length && random.chance(0.3)) value[last]! ^= 1 << random.below(8);
    store.put(region, value);
  });
  const allocator = new Allocator(store);
  const add = (): void => {
    allocator.addDevice(3, total);
  };
  if (!accepts(add, 'CORRUPT')) return false;
  const taken = new Uint8Array(total);
  store.scan(regionKey(3, 0).slice(), regionKey(3, 9).slice(), (key, value) => {
    value.forEach((byte, i) => {
      const first = key[8]! * REGION_BLOCKS + i * 8;
      for (let bit = 0; bit < 8; bit++) if ((byte >>> bit) & 1) taken[first + bit] = 1;
    });
    return true;
  });
  const unused = taken.subarray(1).filter((state) => state === 0).length;
  let free = 0;
  for (let run = 1; run > 0; free += run) {
    run = allocator.allocate(3, total, 0, true);
    const { allocatedBlock } = allocator;
    assert.ok(run === 0 || (allocatedBlock >= 1 && allocatedBlock + run <= total), 'in the device');
    const blocks = taken.subarray(allocatedBlock, allocatedBlock + run);
    assert.ok(
      blocks.every((state) => state === 0),
      'given out twice',
    );
    blocks.fill(1);
  }
  assert.equal(free, unused, 'the books add up');
  return true;
}

function fuzz(run: (random: SimRandom) => boolean): void {
  let accepted = 0;
  let runs = 0;
  fuzzFor(fuzzSeconds / CASES, (seed) => {
    if (run(new SimRandom(seed))) accepted++;
    runs++;
  });
  assert.ok(runs < 100 || (accepted > 0 && accepted < runs), 'some are taken, some are refused');
}

describe('fuzz: stored values', function () {
  this.timeout(10_000 + 2000 * fuzzSeconds);

  it('chunks: extent maps', () => {
    fuzz(fuzzChunk);
  });

  it('superblocks', () => {
    fuzz(fuzzSuperblock);
  });

  it('checkpoint files', () => {
    fuzz(fuzzCheckpoint);
  });

  it('inode records, directory entries and link targets, under operations', () => {
    fuzz(fuzzNamespace);
  });

  it('session records', () => {
    fuzz(fuzzSession);
  });

  it('allocator regions', () => {
    fuzz(fuzzAllocator);
  });
});
