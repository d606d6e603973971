/**
 * What all operations of one core share: the injected surroundings, the table of targets, the
 * open files, counters. No behaviour beyond finding the peer of a bucket.
 */
import { errno } from '../common/errno.js';
import type { Scheduler } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { BucketTable } from '../placement/bucket-table.js';
import { targetAddress } from '../placement/cluster-map.js';
import type { ClusterMap } from '../placement/cluster-map.js';
import { bucketOfInode, chunkBucket } from '../placement/inode-number.js';
import { SealfsError } from '../common/errors.js';
import { RpcClient } from '../transport/rpc-client.js';
import type { PeerState, RpcPeer } from '../transport/rpc-client.js';
import { transportKinds } from '../transport/transport.js';
import type { Transport, TransportKind } from '../transport/transport.js';
import { FileAttributes } from './attributes.js';
import { AccessTimes } from './access-times.js';
import { InodeFacts } from './inode-facts.js';
import type { OpenFile, OpenFileTable } from './open-file.js';

export interface ClientOptions {
  /** host:pid, for people. */
  clientName: string;
  /** hard: wait for a target that is away, for ever; soft: EIO after `softTimeoutMs`. */
  mode: 'hard' | 'soft';
  softTimeoutMs: number;
  /** How long a file's size is believed without asking its target again. */
  sizeFreshMs: number;
  /** Reading changes access times, by relatime's rule. */
  accessTimes: boolean;
  log: (message: string) => void;
}

export const defaultClientOptions: ClientOptions = {
  clientName: 'client',
  mode: 'hard',
  softTimeoutMs: 60_000,
  sizeFreshMs: 1000,
  accessTimes: true,
  log: () => undefined,
};

export interface ClientEnvironment {
  transport: Transport;
  arena: ArenaMemory;
  scheduler: Scheduler;
  /** The map to begin with; has at least one member. */
  map: ClusterMap;
  options: ClientOptions;
}

export class ClientCounters {
  /** Payloads that did not match their checksum on arrival (answered EIO). */
  checksumErrors = 0;
  /** Replies that contradicted the protocol (answered EIO). */
  malformedReplies = 0;
  readBytes = 0;
  writtenBytes = 0;
}

/** One target as a client is connected to it. */
export interface TargetConnection {
  targetId: string;
  state: PeerState;
  /** What carries it; absent while it is not connected. */
  transport?: TransportKind;
  /** Why it is not, as of the last attempt. */
  failure?: string;
}

export class ClientContext {
  readonly arena: ArenaMemory;
  readonly scheduler: Scheduler;
  readonly options: ClientOptions;
  readonly rpc: RpcClient;
  readonly counters = new ClientCounters();
  readonly facts = new InodeFacts();
  readonly accessTimes: AccessTimes;
  /** Lent to reply methods; see request.ts. */
  readonly attributes: FileAttributes;
  /** A message slot kept for good, where attributes that a reply's body does not hold are lent. */
  readonly #scratch: number;
  /** Set by FileSystemCore right after construction. */
  files!: OpenFileTable;
  /** Peers of all members, by member index of the present map. */
  peers: RpcPeer[] = [];
  /** Counts restarts of targets: whoever registers a handle meanwhile does it again. */
  incarnationChanges = 0;
  /** Counts Release requests, for the same reason. */
  releases = 0;
  /** The volume's root: sent with renames, which are serialised there when directories move. */
  root = 0;
  #table: BucketTable;
  /** The preferred one first. */
  readonly #transports: readonly TransportKind[];

  constructor(
    environment: ClientEnvironment,
    onReady: (peer: RpcPeer, incarnationChanged: boolean) => void,
  ) {
    const { options, transport } = environment;
    this.arena = environment.arena;
    this.scheduler = environment.scheduler;
    this.options = options;
    this.#transports = transportKinds(transport);
    this.rpc = new RpcClient(transport, this.arena, this.scheduler, {
      clusterId: environment.map.clusterId,
      clientName: options.clientName,
      kind: 'client',
      mode: options.mode,
      softTimeoutMs: options.softTimeoutMs,
      log: options.log,
      onReady,
    });
    this.#scratch = this.arena.messages.take();
    if (this.#scratch === 0) throw new SealfsError('FAILED', 'the arena has no message slot left');
    this.attributes = new FileAttributes(this.arena.words, this.#scratch);
    this.accessTimes = new AccessTimes(this);
    this.#table = BucketTable.build(environment.map);
    this.#adopt(environment.map);
  }

  get mapEpoch(): number {
    return this.#table.map.epoch;
  }

  /** A newer map: other buckets, other addresses. Older ones and foreign clusters' are ignored. */
  setMap(map: ClusterMap): void {
    if (map.epoch <= this.#table.map.epoch || map.clusterId !== this.#table.map.clusterId) return;
    if (map.members.length === 0) return;
    this.#table = BucketTable.build(map);
    this.#adopt(map);
  }

  #adopt(map: ClusterMap): void {
    this.rpc.mapEpoch = map.epoch;
    this.peers = map.members.map((member) =>
      this.rpc.peer(targetAddress(member, this.#transports)),
    );
  }

  /** In the map's order. */
  targets(): TargetConnection[] {
    return this.peers.map(({ targetId, state, transportKind, refusal, failure }) => ({
      targetId,
      state,
      ...(transportKind === undefined ? {} : { transport: transportKind }),
      ...(failure === '' ? {} : { failure: refusal === '' ? failure : refusal }),
    }));
  }

  peerOfBucket(bucket: number): RpcPeer {
    return this.peers[this.#table.memberOfBucket(bucket)]!;
  }

  peerOfInode(inode: number): RpcPeer {
    return this.peers[this.#table.memberOfBucket(bucketOfInode(inode))]!;
  }

  peerOfChunk(file: OpenFile, chunk: number): RpcPeer {
    const bucket = chunkBucket(file.inode, file.layout, chunk);
    return this.peers[this.#table.memberOfBucket(bucket)]!;
  }

  /**
   * The lent view of the Attributes at this arena offset; learns a known file's size on the way.
   */
  readAttributes(offset: number): FileAttributes {
    const attributes = this.attributes;
    attributes.offset = offset;
    this.learn(offset);
    const file = this.files.peek(attributes.inode);
    if (file !== undefined) {
      file.learnSize(attributes.sizeBytes, this.scheduler.nowMs());
      if (attributes.striped) file.learnStriped(attributes.layout);
      file.privileged = attributes.privileged;
    }
    return attributes;
  }

  /** Takes note of the Attributes at this arena offset, and completes their access time. */
  learn(offset: number): void {
    const { words } = this.arena;
    const { scheduler } = this;
    this.accessTimes.complete(words, offset);
    this.facts.learn(words, offset, scheduler.nowMs(), scheduler.wallClock().seconds);
  }

  /** The lent view over a copy of attributes that an operation has kept. */
  lendAttributes(kept: FileAttributes): FileAttributes {
    this.attributes.offset = this.#scratch;
    this.attributes.copyFrom(kept);
    return this.attributes;
  }

  /** Status 0 with a reply shorter than its struct is the peer's fault: EIO. */
  checkReply(status: number, bodyBytes: number, expectedBytes: number): number {
    if (status !== 0) return status;
    if (bodyBytes >= expectedBytes) return 0;
    return this.malformed(`${bodyBytes} bytes where ${expectedBytes} are due`);
  }

  /** A reply contradicts the protocol: counted, said, EIO. */
  malformed(what: string): number {
    this.counters.malformedReplies++;
    this.options.log(`a reply contradicts the protocol: ${what}`);
    return errno.EIO;
  }
}
