/**
 * Inventory: the pairs of a target's store from a key on, as they are, for `sealfs fsck` of a cluster
 * that runs. One answer is one snapshot of at most a bulk slot, so however large the store, a request
 * costs no more than a listing does. Records of sessions are left out: their keys are the sessions'
 * names, which are nobody else's business (docs/security.md).
 */
import { errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { inlineDataBytes } from '../protocol/limits.generated.js';
import { InventoryPair, InventoryReply, InventoryRequest } from '../protocol/wire.generated.js';
import { readU16, writeU16, writeU53 } from '../protocol/u53.js';
import type { RpcRequest, RpcServer } from '../transport/rpc-server.js';
import { ownRange } from './keys.js';
import type { MetaStore } from './meta-store-api.js';

const PAIRS_MAX = 8192;
/** LMDB's limit. */
const KEY_BYTES_MAX = 511;
const ALIGNMENT = 8;
/** The kinds of keys that have a session's id. */
const SESSION = ownRange('session').start[2]!;
const HOLDER = ownRange('holder').start[2]!;
const BATCH_STATUSES = ownRange('batchStatuses').start[2]!;
/** Above every key. */
const END = Uint8Array.of(0xff, 0xff, 0xff);

/** What one answer holds so far. */
interface Packing {
  at: number;
  end: number;
  pairs: number;
  maxPairs: number;
}

/** Answers the request; returns the status. EAGAIN: a pair needs a bulk slot, and none is free. */
export function answerInventory(
  rpc: RpcServer,
  arena: ArenaMemory,
  meta: MetaStore,
  request: RpcRequest,
): number {
  const { words, bytes, bulk } = arena;
  const { body, bodyBytes } = request;
  const keyBytes = bodyBytes < InventoryRequest.SIZE ? -1 : readU16(words, body);
  if (keyBytes < 1 || keyBytes > KEY_BYTES_MAX || InventoryRequest.SIZE + keyBytes > bodyBytes) {
    rpc.reply(request, errno.EINVAL);
    return errno.EINVAL;
  }
  const from = body + InventoryRequest.SIZE;
  const start = bytes.slice(from, from + keyBytes);
  const maxPairs = Math.min(PAIRS_MAX, words[(body + InventoryRequest.maxPairs) >>> 2]!);
  const maxBytes = words[(body + InventoryRequest.maxBytes) >>> 2]!;
  const slot = maxBytes > inlineDataBytes ? bulk.take() : 0;
  const room = Math.min(maxBytes, slot === 0 ? inlineDataBytes : bulk.payloadBytes);
  const reply = rpc.beginReply(request, InventoryReply.SIZE + inlineDataBytes);
  const first = slot === 0 ? reply + InventoryReply.SIZE : slot;
  const packing = { at: first, end: first + room, pairs: 0, maxPairs };
  const ended = pack(arena, meta, start, packing, slot !== 0 && room === bulk.payloadBytes);
  const packed = packing.at - first;
  const status = packing.pairs === 0 && !ended ? errno.EAGAIN : 0;
  writeU53(words, reply + InventoryReply.commits, meta.commitSequence);
  words[(reply + InventoryReply.inlineBytes) >>> 2] = slot === 0 ? packed : 0;
  words[(reply + InventoryReply.pairCount) >>> 2] = packing.pairs;
  words[(reply + InventoryReply.end) >>> 2] = ended ? 1 : 0;
  words[(reply + InventoryReply.reserved) >>> 2] = 0;
  const isBulk = slot !== 0 && status === 0 && packed > 0;
  if (isBulk) rpc.addReplyBulk(slot, packed, true);
  else if (slot !== 0) bulk.give(slot);
  const inlineBytes = slot === 0 ? packed : 0;
  rpc.endReply(request, status, status === 0 ? InventoryReply.SIZE + inlineBytes : 0);
  return status;
}

/** Fills the room with pairs; whether there are none behind them. */
function pack(
  arena: ArenaMemory,
  meta: MetaStore,
  start: Uint8Array,
  packing: Packing,
  isLargest: boolean,
): boolean {
  let ended = true;
  meta.scan(start, END, (key, value) => {
    if (isSessions(key)) return true;
    const whole = InventoryPair.SIZE + key.length + value.length;
    // No room holds such a value: it can only be damage. It is told of, and left out.
    const omitted = isLargest && packing.pairs === 0 && whole > packing.end - packing.at;
    const length = omitted ? InventoryPair.SIZE + key.length : whole;
    const next = packing.at + Math.ceil(length / ALIGNMENT) * ALIGNMENT;
    if (packing.pairs === packing.maxPairs || next > packing.end) {
      ended = false;
      return false;
    }
    const { at } = packing;
    writeU16(arena.words, at + InventoryPair.keyBytes, key.length);
    writeU16(arena.words, at + InventoryPair.omitted, omitted ? 1 : 0);
    arena.words[(at + InventoryPair.valueBytes) >>> 2] = omitted ? 0 : value.length;
    arena.bytes.set(key, at + InventoryPair.SIZE);
    if (!omitted) arena.bytes.set(value, at + InventoryPair.SIZE + key.length);
    arena.bytes.fill(0, at + length, next);
    packing.at = next;
    packing.pairs++;
    return true;
  });
  return ended;
}

function isSessions(key: Uint8Array): boolean {
  if (key[0] !== 0xff || key[1] !== 0xff) return false;
  return key[2] === SESSION || key[2] === HOLDER || key[2] === BATCH_STATUSES;
}
