/**
 * A cluster that runs: each target's pairs by Inventory requests, over a connection of fsck's own. A
 * walk is not one moment: what looks wrong is looked at again (second-look.ts).
 */
import { copyOf } from './findings.js';
import { hostname } from 'node:os';
import { errno, errnoName } from '../common/errno.js';
import { SealfsError } from '../common/errors.js';
import { ManagerClient } from '../common/manager-client.js';
import { NativeArena } from '../native/arena.js';
import { Reactor } from '../native/reactor.js';
import { BucketTable } from '../placement/bucket-table.js';
import { targetAddress } from '../placement/cluster-map.js';
import { inlineDataBytes } from '../protocol/limits.generated.js';
import { readU16, readU53, writeU16 } from '../protocol/u53.js';
import {
  InventoryPair,
  InventoryReply,
  InventoryRequest,
  Opcode,
} from '../protocol/wire.generated.js';
import type { TransportChoice } from '../transport/choices.js';
import { RpcClient, RpcOperation, type RpcPeer } from '../transport/rpc-client.js';
import { openTransports, planTransport } from '../transport/select.js';
import type { Transport } from '../transport/transport.js';
import { START_OF_KEYS } from './store-reader.js';
import type { FsckCluster, StoreReader } from './store-reader.js';

/** One answer lands in the one bulk slot that is asked for at a time. */
const ARENA = { messageSlots: 64, bulkSlots: 4 };
const SOFT_TIMEOUT_MS = 15_000;
const RETRY_MS = 20;
const PAIRS_A_REQUEST = 8192;
const ALIGNMENT = 8;

/** What came back: pairs, packed, in memory of its own. */
interface Answer {
  status: number;
  bytes: Uint8Array;
  pairs: number;
  ended: boolean;
  /** Commits of the target since it started. */
  commits: number;
}

class InventoryOperation extends RpcOperation {
  override opcode = Opcode.Inventory;
  readonly #arena: NativeArena;
  readonly #key: Uint8Array;
  readonly #maxPairs: number;
  readonly #maxBytes: number;
  readonly #answered: (answer: Answer) => void;

  constructor(
    arena: NativeArena,
    key: Uint8Array,
    maxPairs: number,
    landing: number,
    answered: (answer: Answer) => void,
  ) {
    super();
    this.#arena = arena;
    this.#key = key;
    this.#maxPairs = maxPairs;
    this.#answered = answered;
    this.bodyBytes = InventoryRequest.SIZE + key.length + ALIGNMENT;
    this.landingOffset = landing;
    this.landingBytes = landing === 0 ? 0 : arena.bulk.payloadBytes;
    this.#maxBytes = landing === 0 ? inlineDataBytes : arena.bulk.payloadBytes;
  }

  override encode(body: number): number {
    const { words, bytes } = this.#arena;
    writeU16(words, body + InventoryRequest.keyBytes, this.#key.length);
    writeU16(words, body + InventoryRequest.reserved0, 0);
    words[(body + InventoryRequest.maxPairs) >>> 2] = this.#maxPairs;
    words[(body + InventoryRequest.maxBytes) >>> 2] = this.#maxBytes;
    words[(body + InventoryRequest.reserved1) >>> 2] = 0;
    bytes.set(this.#key, body + InventoryRequest.SIZE);
    return InventoryRequest.SIZE + this.#key.length;
  }

  override done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    const empty = new Uint8Array(0);
    if (status !== 0 || bodyBytes < InventoryReply.SIZE) {
      const failed = status === 0 ? errno.EPROTO : status;
      this.#answered({ status: failed, bytes: empty, pairs: 0, ended: false, commits: 0 });
      return;
    }
    const { words, bytes } = this.#arena;
    const inlineBytes = words[(body + InventoryReply.inlineBytes) >>> 2]!;
    const from = inlineBytes > 0 ? body + InventoryReply.SIZE : this.landingOffset;
    const length = inlineBytes > 0 ? inlineBytes : bulkBytes;
    const fits = inlineBytes === 0 || InventoryReply.SIZE + inlineBytes <= bodyBytes;
    this.#answered({
      status: fits ? 0 : errno.EPROTO,
      bytes: fits ? bytes.slice(from, from + length) : empty,
      pairs: words[(body + InventoryReply.pairCount) >>> 2]!,
      ended: words[(body + InventoryReply.end) >>> 2] !== 0,
      commits: readU53(words, body + InventoryReply.commits),
    });
  }
}

/** One target's store. */
class OnlineStore implements StoreReader {
  readonly #arena: NativeArena;
  readonly #peer: RpcPeer;

  constructor(arena: NativeArena, peer: RpcPeer) {
    this.#arena = arena;
    this.#peer = peer;
  }

  async scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => void,
  ): Promise<void> {
    let from = start;
    for (;;) {
      const answer = await this.#ask(from, PAIRS_A_REQUEST, true);
      let last: Uint8Array | undefined;
      for (const [key, value] of pairsOf(answer)) {
        if (Buffer.compare(key, end) >= 0) return;
        visit(key, value);
        last = key;
      }
      if (answer.ended || last === undefined) return;
      // The least key above the last one.
      from = new Uint8Array(last.length + 1);
      from.set(last);
    }
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const small = await this.#ask(key, 1, false);
    const answer = small.status === 0 ? small : await this.#ask(key, 1, true);
    for (const [found, value] of pairsOf(answer)) {
      return Buffer.compare(found, key) === 0 ? copyOf(value) : undefined;
    }
    return undefined;
  }

  async version(): Promise<number> {
    return (await this.#ask(START_OF_KEYS, 1, true)).commits;
  }

  /** Asks until there is an answer; a small one that does not fit comes back with EAGAIN. */
  async #ask(key: Uint8Array, maxPairs: number, large: boolean): Promise<Answer> {
    for (;;) {
      const landing = large ? this.#arena.bulk.take() : 0;
      const answer = await new Promise<Answer>((resolve) => {
        this.#peer.call(new InventoryOperation(this.#arena, key, maxPairs, landing, resolve));
      });
      if (landing !== 0) this.#arena.bulk.give(landing);
      if (answer.status === 0 || (answer.status === errno.EAGAIN && !large)) return answer;
      if (answer.status !== errno.EAGAIN) throw this.#failure(answer.status);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #failure(status: number): SealfsError {
    const { targetId, failure } = this.#peer;
    const why = failure === undefined ? errnoName(status) : failure;
    return new SealfsError('UNAVAILABLE', `target ${targetId} does not answer: ${why}`);
  }
}

function* pairsOf(answer: Answer): Generator<[Uint8Array, Uint8Array]> {
  const { bytes } = answer;
  const words = new Uint32Array(bytes.buffer, 0, bytes.length >>> 2);
  let at = 0;
  for (let pair = 0; pair < answer.pairs; pair++) {
    const keyAt = at + InventoryPair.SIZE;
    if (keyAt > bytes.length) throw new SealfsError('CORRUPT', 'an answer of a target is damaged');
    const valueAt = keyAt + readU16(words, at + InventoryPair.keyBytes);
    const end = valueAt + words[(at + InventoryPair.valueBytes) >>> 2]!;
    if (end > bytes.length) throw new SealfsError('CORRUPT', 'an answer of a target is damaged');
    yield [bytes.subarray(keyAt, valueAt), bytes.subarray(valueAt, end)];
    at = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
  }
}

export interface OnlineOptions {
  managerUrl: string;
  transport?: TransportChoice;
  bind?: string | undefined;
}

export class OnlineCluster {
  readonly cluster: FsckCluster;
  readonly #client: RpcClient;
  readonly #transport: Transport;
  readonly #reactor: Reactor;

  private constructor(
    cluster: FsckCluster,
    client: RpcClient,
    transport: Transport,
    reactor: Reactor,
  ) {
    this.cluster = cluster;
    this.#client = client;
    this.#transport = transport;
    this.#reactor = reactor;
  }

  /** Rejects with a SealfsError: UNAVAILABLE without a manager, or a cluster without targets. */
  static async open(options: OnlineOptions): Promise<OnlineCluster> {
    const manager = new ManagerClient(options.managerUrl);
    const map = await manager.map();
    if (!map.members.some((member) => member.weight > 0)) {
      throw new SealfsError('UNAVAILABLE', `the cluster at ${manager.url} has no targets yet`);
    }
    const roots = new Map((await manager.volumes()).map((each) => [each.rootInode, each.name]));
    const plan = planTransport({
      choice: options.transport ?? 'auto',
      role: 'client',
      shape: ARENA,
    });
    const arena = new NativeArena(plan.shape);
    const reactor = new Reactor();
    const { transport } = await openTransports(plan.kinds, arena, reactor, {
      source: options.bind,
    });
    const client = new RpcClient(transport, arena, reactor, {
      clusterId: map.clusterId,
      clientName: `${hostname()}:${process.pid} fsck`,
      mode: 'soft',
      softTimeoutMs: SOFT_TIMEOUT_MS,
      mapEpoch: map.epoch,
    });
    const targets = map.members.map((member) => ({
      id: member.targetId,
      label: `target ${member.targetId}`,
      reader: new OnlineStore(arena, client.peer(targetAddress(member, plan.kinds))),
    }));
    const table = BucketTable.build(map);
    const cluster = {
      targets,
      holderOf: (bucket: number): number => table.memberOfBucket(bucket),
      running: true,
      volumeName: (root: number): string | undefined => roots.get(root),
    };
    return new OnlineCluster(cluster, client, transport, reactor);
  }

  async close(): Promise<void> {
    this.#client.close();
    this.#reactor.requestTurn();
    await new Promise((resolve) => setTimeout(resolve, 5));
    this.#transport.shutdown();
    this.#reactor.close();
  }
}
