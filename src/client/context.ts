/**
 * What all operations of one core share: the injected surroundings, the table of targets, the
 * open files, counters. No behaviour beyond finding the peer of a bucket.
 */
import { errno } from '../common/errno.js';
import type { Scheduler } from '../common/scheduler.js';
import { SeldomLog } from '../common/seldom.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { BucketTable } from '../placement/bucket-table.js';
import { targetAddress } from '../placement/cluster-map.js';
import type { ClusterMap } from '../placement/cluster-map.js';
import { bucketOfInode, chunkBucket } from '../placement/inode-number.js';
import { SealfsError } from '../common/errors.js';
import { LEASE_ENTRY, LEASE_INODE } from '../protocol/leases.js';
import { readU53 } from '../protocol/u53.js';
import { Attributes, AttributesReply } from '../protocol/wire.generated.js';
import { RpcClient } from '../transport/rpc-client.js';
import type { PeerState, RpcPeer } from '../transport/rpc-client.js';
import { transportKinds } from '../transport/transport.js';
import type { Transport, TransportKind } from '../transport/transport.js';
import { ATTRIBUTES_WORDS, FileAttributes } from './attributes.js';
import { AccessTimes } from './access-times.js';
import { gatherPartitions } from './gather-partitions.js';
import { InodeFacts } from './inode-facts.js';
import { ListingsAhead } from './listing-ahead.js';
import { NamesAhead } from './names-ahead.js';
import { LookupCounts } from './lookup-counts.js';
import type { OwnChange } from './leases/change-marks.js';
import { Leases } from './leases/leases.js';
import type { NameText } from './leases/name-text.js';
import { Notices } from './leases/notices.js';
import { PageCache } from './leases/page-cache.js';
import { Recalls } from './leases/recalls.js';
import type { OpenFile, OpenFileTable } from './open-file.js';
import type { ClientRequest } from './request.js';
import { PartitionTables } from './partition-tables.js';

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
  /**
   * leases: what targets grant is kept and believed until it is recalled; timeout: nothing is
   * kept here, and the kernel believes what it has for a stated time.
   */
  coherence: 'leases' | 'timeout';
  /** Notices are awaited without leases, too: locks that are waited for. */
  awaitsNotices: boolean;
  /** Inodes, and names, that leases are kept of; powers of two. */
  leaseInodesMax: number;
  leaseNamesMax: number;
  log: (message: string) => void;
}

export const defaultClientOptions: ClientOptions = {
  clientName: 'client',
  mode: 'hard',
  softTimeoutMs: 60_000,
  sizeFreshMs: 1000,
  accessTimes: true,
  coherence: 'timeout',
  awaitsNotices: false,
  leaseInodesMax: 65_536,
  leaseNamesMax: 65_536,
  log: () => undefined,
};

/** AttributesReply.flags of Create: the file was there. */
export const REPLY_EXISTED = 1;
/** What was learnt so lately is of the same system call: the kernel asks in pieces. */
const SAME_CALL_MS = 2;

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
  /** Data that did not match its checksum: a program may see to that while its read is under way. */
  readonly damaged: SeldomLog;
  readonly facts = new InodeFacts();
  readonly partitions = new PartitionTables();
  readonly lookups = new LookupCounts();
  readonly ahead = new ListingsAhead(this);
  readonly namesAhead = new NamesAhead(this);
  readonly accessTimes: AccessTimes;
  readonly notices: Notices;
  readonly leases: Leases;
  readonly recalls: Recalls;
  /** Which files the kernel may cache. */
  readonly pages: PageCache;
  /** Lent to reply methods; see request.ts. */
  readonly attributes: FileAttributes;
  /** A message slot kept for good, where attributes that a reply's body does not hold are lent. */
  readonly #scratch: number;
  /** Set by FileSystemCore right after construction. */
  files!: OpenFileTable;
  /** Peers of all members, by member index of the present map. */
  peers: RpcPeer[] = [];
  /** False: something must be told to the target before its notices are awaited. */
  mayAwait: (peer: RpcPeer) => boolean = () => true;
  /** Counts restarts of targets: whoever registers a handle meanwhile does it again. */
  incarnationChanges = 0;
  /** Counts Release requests, for the same reason. */
  releases = 0;
  /** The volume's root: sent with renames, which are serialised there when directories move. */
  root = 0;
  /** Whose notices are awaited although there are no leases. */
  readonly #awaited = new Set<RpcPeer>();
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
    this.damaged = new SeldomLog(this.scheduler, options.log);
    this.#transports = transportKinds(transport);
    const wantsLeases = options.coherence === 'leases';
    const awaits = wantsLeases || options.awaitsNotices;
    const { arena, scheduler } = environment;
    this.notices = new Notices({ wantsLeases, arena, scheduler, log: options.log });
    this.leases = new Leases({
      enabled: wantsLeases,
      inodesMax: options.leaseInodesMax,
      namesMax: options.leaseNamesMax,
      scheduler,
      arena,
      peerOfInode: (inode) => this.peerOfInode(inode),
      homeOf: (directory, hash) => this.partitions.homeOfHash(directory, hash),
    });
    this.leases.splits.gather = (directory) => {
      gatherPartitions(this, directory);
    };
    this.pages = new PageCache({
      fileOf: (inode) => this.files.peek(inode),
      nowMs: () => scheduler.nowMs(),
      peerOfInode: (inode) => this.peerOfInode(inode),
    });
    const { leases, pages, notices } = this;
    this.recalls = new Recalls({
      leases,
      pages,
      notices,
      scheduler,
      mayAwait: (peer) => this.mayAwait(peer),
    });
    this.rpc = new RpcClient(transport, this.arena, this.scheduler, {
      clusterId: environment.map.clusterId,
      clientName: options.clientName,
      kind: 'client',
      mode: options.mode,
      softTimeoutMs: options.softTimeoutMs,
      log: options.log,
      onNewSession: (peer) => {
        if (!awaits && !this.#awaited.has(peer)) return;
        this.notices.newSession(peer);
        this.recalls.newSession(peer);
      },
      onReady: (peer, incarnationChanged) => {
        onReady(peer, incarnationChanged);
        const isAwaited = awaits || this.#awaited.has(peer);
        if (isAwaited) this.recalls.ready(peer);
      },
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
    this.leases.forgetAll();
    this.pages.forgetAll();
  }

  #adopt(map: ClusterMap): void {
    this.rpc.mapEpoch = map.epoch;
    this.peers = map.members.map((member) =>
      this.rpc.peer(targetAddress(member, this.#transports)),
    );
  }

  /** From now on, and for good, this target's notices are awaited. */
  awaitNotices(peer: RpcPeer): void {
    if (this.#awaited.has(peer)) return;
    this.#awaited.add(peer);
    this.recalls.ready(peer);
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

  /** Index in the present map. */
  memberOfInode(inode: number): number {
    return this.#table.memberOfBucket(bucketOfInode(inode));
  }

  peerOfInode(inode: number): RpcPeer {
    return this.peers[this.memberOfInode(inode)]!;
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

  /** The lent view of what is held of this inode; null: its target is to be asked. */
  heldAttributes(inode: number): FileAttributes | null {
    const { leases, files } = this;
    const at = leases.attributes(inode);
    if (at < 0 || files.peek(inode)?.mtimeDirty === true) return null;
    leases.counters.attributesAnswered++;
    this.#copyHeld(at);
    return this.readAttributes(this.#scratch);
  }

  /** The same of a directory for who asks about permissions in it alone; it is not to be believed again. */
  heldPermissions(directory: number, request: ClientRequest): FileAttributes | null {
    const { leases } = this;
    const at = leases.permissions(directory);
    if (at < 0 || leases.mayLeaseWhole(directory) || !request.asksPermissions()) return null;
    leases.counters.permissionsAnswered++;
    this.#copyHeld(at);
    this.attributes.offset = this.#scratch;
    return this.attributes;
  }

  #copyHeld(at: number): void {
    const from = this.leases.attributeWords;
    const to = this.arena.words;
    const base = this.#scratch >>> 2;
    for (let i = 0; i < ATTRIBUTES_WORDS; i++) to[base + i] = from[(at >>> 2) + i]!;
  }

  /**
   * A reply of the partition `home` to the making of a name with an inode beside it, an AttributesReply at
   * `body`: what it grants is kept, and what the directory shows of it. Returns the leases that are held
   * now (LEASE_…).
   */
  learnCreated(
    body: number,
    parent: number,
    home: number,
    name: NameText,
    change: OwnChange,
  ): number {
    const { leases, arena } = this;
    const { words } = arena;
    const at = body + AttributesReply.attributes;
    const flags = words[(body + AttributesReply.flags) >>> 2]!;
    const inode = readU53(words, at + Attributes.inode);
    const { stamp } = change;
    // Without its lease the answer may be older than what others have done since.
    const isNew = (flags & LEASE_ENTRY) !== 0 && (flags & REPLY_EXISTED) === 0;
    if (isNew) leases.directoryChanged(parent, at, change);
    const named = leases.learnName(parent, home, name, inode, flags, stamp, change);
    this.accessTimes.complete(words, at);
    const held = leases.learnInode(at, flags, stamp, change);
    return (named ? LEASE_ENTRY : 0) | (held ? LEASE_INODE : 0);
  }

  /** Attributes.flags of the inode if they are known; -1: unknown. */
  flagsOf(inode: number): number {
    const { leases, facts, options } = this;
    const whole = leases.attributes(inode);
    const at = whole >= 0 ? whole : leases.permissions(inode);
    if (at >= 0) return leases.attributeWords[(at + Attributes.flags) >>> 2]!;
    const freshMs = leases.enabled ? SAME_CALL_MS : options.sizeFreshMs;
    return facts.flagsOf(inode, this.scheduler.nowMs(), freshMs);
  }

  /** The file's size is what it was when it was learnt. */
  isSizeFresh(file: OpenFile): boolean {
    if (!this.leases.enabled) {
      return file.isSizeFresh(this.scheduler.nowMs(), this.options.sizeFreshMs);
    }
    return file.isSizeKnown && this.leases.isLeased(file.inode);
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
