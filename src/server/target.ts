/**
 * One target: the buckets that the cluster map gives it, their metadata and their data. It is the
 * RpcService of one thread; everything it stands on is injected, so the simulator runs it as well.
 *
 *   request ──┬─ reads: answered at once, from what is committed
 *             ├─ mutations: queued ──┐
 *             ├─ Write: data to the device first, then queued ──┤
 *             │                      turn's end: one transaction (committer.ts) ─> replies
 *             └─ Read, Fsync, Cut: answered when the device, the flush, the reclaimer is done
 */
import { errno } from '../common/errno.js';
import { TURN_COMMIT, type Scheduler, type Timer, type WallClock } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { BucketTable } from '../placement/bucket-table.js';
import { targetAddress, type ClusterMap } from '../placement/cluster-map.js';
import { partitionBucket } from '../placement/partition-bucket.js';
import { isBatch } from '../protocol/batch.js';
import { batchItemsMax } from '../protocol/limits.generated.js';
import {
  AttributesReply,
  ChangeSpaceRequest,
  CutRequest,
  InodeRequest,
  Opcode,
  OpenRequest,
  PrepareRequest,
  SetAttrRequest,
} from '../protocol/wire.generated.js';
import { readU16, readU53, readU53OrZero } from '../protocol/u53.js';
import { RpcClient, type RpcPeer } from '../transport/rpc-client.js';
import {
  RpcServer,
  type RpcRequest,
  type RpcService,
  type Session,
} from '../transport/rpc-server.js';
import { transportKinds, type Transport } from '../transport/transport.js';
import { REPLY_ROOM, type Mutation } from './batch.js';
import { Committer, type CommitterHost, type Durability } from './committer.js';
import { SPACE_DROP } from './data/chunk-changes.js';
import type { ChunkStore } from './data/chunk-store.js';
import type { NameHash } from './dentries.js';
import { FileLocks } from './file-locks/file-locks.js';
import { FileSpace } from './file-space.js';
import { HandleTable } from './handles.js';
import { LeaseService } from './leases/lease-service.js';
import { answerInventory } from './inventory.js';
import type { MetaStore } from './meta-store-api.js';
import { S_IFDIR, S_IFMT, storedMode } from './inode-record.js';
import { Call, Namespace, type NamespaceHost, type WireMemory } from './namespace.js';
import { SET_SIZE } from './namespace-attributes.js';
import { isFreeing, minimumBody, mutationOf, openTruncating } from './operations.js';
import { partitionsMax, PartitionService } from './partitions/partition-service.js';
import { syncPartitions } from './partitions/sync.js';
import { Reclaimer, type ReclaimHost } from './reclaimer.js';
import { replay } from './replay.js';
import { SessionRecords } from './sessions.js';
import { replayBatch, TargetBatches } from './target-batches.js';
import { TargetData } from './target-data.js';
import { TargetReads } from './target-reads.js';
import { TargetStatistics } from './target-statistics.js';
import { Coordinator, type CoordinatorHost } from './transactions/coordinator.js';
import type { FaultPoint } from './transactions/fault-points.js';
import { isOfTargets } from './transactions/questions.js';
import { IntentRecovery } from './transactions/recovery.js';
import { isFreeingStep } from './transactions/step.js';

/** Without a registration for so long after a restart, a file without a name goes. */
const ORPHAN_GRACE_MS = 60_000;
const SESSION_SWEEP_MS = 600_000;
const ATTRIBUTES_ROOM = AttributesReply.SIZE;
const STATISTICS_ROOM = 12_288;

const OPEN_TRUNCATE = 1;

export interface TargetIdentity {
  clusterId: string;
  targetId: string;
  /** Changes with each start. */
  incarnation: string;
}

export interface TargetDeps {
  transport: Transport;
  arena: ArenaMemory;
  scheduler: Scheduler;
  /** Owned by the caller, who closes it after the target. */
  meta: MetaStore & { useReserve?(on: boolean): void };
  chunks: ChunkStore;
  identity: TargetIdentity;
  durability?: Durability;
  /** Bytes of removed files that are given back a second, about. */
  reclaimRate?: number;
  log?: (message: string) => void;
  /** Of names; replaced by tests. */
  nameHash?: NameHash;
  sessionExpiryMs?: number;
  /** Entries of a directory, or a partition of it, that is split. Infinity: none ever is. */
  splitEntries?: number;
  /** Partitions that a directory may have for each target of the cluster. */
  partitionsPerTarget?: number;
  /** Called with the name of each point of a transaction between targets, for tests that kill there. */
  faultPoint?: (name: FaultPoint) => void;
}

export class Target
  implements RpcService, NamespaceHost, CommitterHost, CoordinatorHost, ReclaimHost
{
  readonly arena: ArenaMemory;
  readonly scheduler: Scheduler;
  readonly meta: MetaStore;
  readonly chunks: ChunkStore;
  readonly namespace: Namespace;
  readonly space: FileSpace;
  readonly handles = new HandleTable();
  readonly coordinator: Coordinator;
  readonly statistics = new TargetStatistics();
  /** Leases, notices to sessions, the grace after a start. */
  readonly lease: LeaseService;
  readonly fileLocks: FileLocks;
  readonly #deps: TargetDeps;
  readonly #committer: Committer;
  readonly #recovery: IntentRecovery;
  readonly #sessions: SessionRecords;
  readonly #reclaimer: Reclaimer;
  readonly #data: TargetData;
  readonly #reads: TargetReads;
  readonly #batches: TargetBatches;
  readonly #partitions: PartitionService;
  readonly #rpc: RpcServer;
  readonly #peers: RpcClient;
  readonly #call = new Call();
  readonly #fsyncs: RpcRequest[] = [];
  #table: BucketTable | undefined;
  #myIndex = -1;
  #orphanTimer: Timer | undefined;
  #sweepTimer: Timer | undefined;
  #closed = false;

  constructor(deps: TargetDeps) {
    this.#deps = deps;
    this.arena = deps.arena;
    this.scheduler = deps.scheduler;
    this.meta = deps.meta;
    this.chunks = deps.chunks;
    this.namespace = new Namespace(deps.meta, this, deps.nameHash);
    this.space = new FileSpace(deps.chunks, deps.meta, (bucket) => this.owns(bucket));
    this.coordinator = new Coordinator(this);
    this.#recovery = new IntentRecovery(this);
    this.#sessions = new SessionRecords(deps.meta);
    this.#reclaimer = new Reclaimer(this, deps.reclaimRate);
    const log = (message: string): void => {
      this.log(message);
    };
    this.#committer = new Committer(
      {
        transaction: (body) => {
          deps.chunks.transaction(body);
        },
        meta: deps.meta,
        scheduler: deps.scheduler,
        durability: deps.durability ?? 'fsync',
        namespace: this.namespace,
        sessions: this.#sessions,
        reclaimer: this.#reclaimer,
        coordinator: this.coordinator,
        log,
      },
      this,
    );
    const { clusterId, targetId, incarnation } = deps.identity;
    this.#rpc = new RpcServer(deps.transport, deps.arena, deps.scheduler, this, {
      clusterId,
      targetId,
      incarnation,
      log,
      ...(deps.sessionExpiryMs === undefined ? {} : { sessionExpiryMs: deps.sessionExpiryMs }),
    });
    this.#peers = new RpcClient(deps.transport, deps.arena, deps.scheduler, {
      clusterId,
      clientName: `target ${targetId}`,
      kind: 'target',
      log,
    });
    this.lease = new LeaseService(this, this.#rpc, incarnation);
    this.fileLocks = new FileLocks(this, this.#rpc, this.lease);
    this.#partitions = new PartitionService(this, this.#committer, deps.splitEntries);
    const reading = {
      sums: this.#partitions.sums,
      arena: deps.arena,
      rpc: this.#rpc,
      namespace: this.namespace,
      chunks: deps.chunks,
      statistics: this.statistics,
      grants: this.lease.grants,
    };
    this.#reads = new TargetReads(reading);
    this.#batches = new TargetBatches(reading);
    this.#data = new TargetData(this, this.#rpc, this.#committer, deps.chunks);
    this.#call.memory = deps.arena;
    this.#call.out = deps.arena;
    deps.scheduler.onTurnEnd(TURN_COMMIT, () => {
      this.#endTurn();
    });
  }

  #endTurn(): void {
    if (this.#closed) return;
    if (this.lease.grace.isOver) {
      if (this.#data.holdsCommit(this.#committer.queued)) this.scheduler.requestTurn();
      else this.#committer.commit();
    }
    this.lease.notices.flush();
  }

  /** Reads what is kept in memory; before the transport listens. */
  open(): void {
    this.namespace.open();
    this.#sessions.open(this.scheduler.nowMs());
    this.lease.open();
    if (this.#sessions.awaited) this.lease.pages.restarted();
    this.#reclaimer.open();
    this.coordinator.open();
    this.#orphanTimer = this.scheduler.setTimer(ORPHAN_GRACE_MS, () => {
      this.#dropOrphans();
    });
    this.#sweep();
  }

  setMap(map: ClusterMap): void {
    if (map.epoch < (this.#table?.map.epoch ?? 0)) return;
    if (!map.members.some((member) => member.weight > 0)) return;
    this.#table = BucketTable.build(map);
    this.#myIndex = map.members.findIndex(
      (member) => member.targetId === this.#deps.identity.targetId,
    );
    this.#rpc.mapEpoch = map.epoch;
    this.#peers.mapEpoch = map.epoch;
    // What is on its way to a peer that has moved, cuts and steps of transactions, must find it.
    const kinds = transportKinds(this.#deps.transport);
    for (const member of map.members) this.#peers.moved(targetAddress(member, kinds));
    this.#reclaimer.resume();
    this.coordinator.resume();
    this.#recovery.start();
  }

  /** Nothing is accepted or answered from here on; what is committed is flushed by its owner. */
  close(): void {
    if (this.#closed) return;
    this.#committer.close();
    // What waits for the end of the grace is repeated by its clients.
    if (this.lease.grace.isOver) this.#committer.commit();
    this.#closed = true;
    this.lease.close();
    this.fileLocks.close();
    this.#orphanTimer?.cancel();
    this.#sweepTimer?.cancel();
    this.#reclaimer.close();
    this.coordinator.close();
    this.#partitions.close();
    this.#recovery.close();
    this.#peers.close();
    this.#rpc.close();
  }

  log(message: string): void {
    this.#deps.log?.(message);
  }

  // ---------------------------------------------------------------- placement

  now(): WallClock {
    return this.scheduler.wallClock();
  }

  owns(bucket: number): boolean {
    return this.#table !== undefined && this.#table.memberOfBucket(bucket) === this.#myIndex;
  }

  get partitionsMax(): number {
    return partitionsMax(this.#table?.map.members ?? [], this.#deps.partitionsPerTarget);
  }

  partitionBucket(directory: number, number: number): number {
    return this.#table === undefined ? -1 : partitionBucket(this.#table, directory, number);
  }

  answerLater(request: RpcRequest, roomBytes: number, fill: (call: Call) => number): void {
    if (!this.#closed) this.#reads.answerLater(request, roomBytes, fill);
  }

  holderOf(bucket: number): number | undefined {
    if (this.#table === undefined) return undefined;
    const member = this.#table.memberOfBucket(bucket);
    return member === this.#myIndex ? -1 : member;
  }

  peerOf(member: number): RpcPeer | undefined {
    const target = this.#table?.map.members[member];
    if (target === undefined) return undefined;
    return this.#peers.peer(targetAddress(target, transportKinds(this.#deps.transport)));
  }

  get targetId(): string {
    return this.#deps.identity.targetId;
  }

  peerOfTarget(targetId: string): RpcPeer | undefined {
    const members = this.#table?.map.members ?? [];
    const index = members.findIndex((member) => member.targetId === targetId);
    return index < 0 ? undefined : this.peerOf(index);
  }

  place(mutation: Mutation): void {
    this.#committer.place(mutation);
  }

  recallAll(directory: number, done: () => void): void {
    this.#partitions.recallAll(directory, done);
  }

  lastChanged(directory: number, done: (time: WallClock | undefined) => void): void {
    this.#partitions.sums.lastChanged(directory, done);
  }

  faultPoint(name: FaultPoint): void {
    this.#deps.faultPoint?.(name);
  }

  // ---------------------------------------------------------------- requests

  onRequest(request: RpcRequest): void {
    const { opcode } = request;
    this.statistics.requested(opcode);
    if (request.bodyBytes < minimumBody(opcode)) {
      this.answerStatus(request, errno.EINVAL);
      return;
    }
    if (isOfTargets(opcode) && request.session.kind !== 'target') {
      this.answerStatus(request, errno.EPERM);
      return;
    }
    const execute = mutationOf(opcode);
    if (execute !== undefined) {
      if (opcode === Opcode.Resolve) this.faultPoint('participant-resolving');
      const mutation = this.#committer.enqueue(request, execute, this.arena);
      if (isBatch(opcode)) mutation.weight = batchItemsMax;
      if (takesBulk(opcode) && request.bulkOffset !== 0) {
        // The request keeps its slot until it is answered.
        const { bulkOffset, bulkBytes } = request;
        mutation.context = this.arena.bytes.subarray(bulkOffset, bulkOffset + bulkBytes);
      }
      mutation.sizeInode = this.#sizeInode(request);
      mutation.frees = isFreeing(opcode) || this.#frees(request, mutation.sizeInode);
      return;
    }
    if (this.#batches.answer(request) || this.#reads.answer(request)) return;
    this.#onOther(request);
  }

  /** A truncation, a request that makes a hole, a step of a removal. */
  #frees(request: RpcRequest, sizeInode: number): boolean {
    if (request.opcode === Opcode.SetAttr) return sizeInode !== 0;
    if (request.opcode === Opcode.Prepare) {
      return isFreeingStep(readU16(this.arena.words, request.body + PrepareRequest.step));
    }
    if (request.opcode !== Opcode.ChangeSpace) return false;
    return this.arena.words[(request.body + ChangeSpaceRequest.how) >>> 2] === SPACE_DROP;
  }

  /** The file whose size this changes, 0 for none. */
  #sizeInode(request: RpcRequest): number {
    const { words } = this.arena;
    switch (request.opcode) {
      case Opcode.SetAttr: {
        const valid = words[(request.body + SetAttrRequest.valid) >>> 2]!;
        return (valid & SET_SIZE) === 0 ? 0 : readU53(words, request.body);
      }
      case Opcode.Extend:
      case Opcode.Reserve:
      case Opcode.ChangeSpace:
      case Opcode.CloneRange:
        return readU53(words, request.body);
      default:
        return 0;
    }
  }

  #onOther(request: RpcRequest): void {
    switch (request.opcode) {
      case Opcode.Read:
        this.#data.read(request);
        return;
      case Opcode.Write:
        this.#data.write(request);
        return;
      case Opcode.Open:
        this.#open(request);
        return;
      case Opcode.Release:
        this.#release(request);
        return;
      case Opcode.Fsync:
        this.#fsync(request);
        return;
      case Opcode.Cut:
        this.#cut(request);
        return;
      case Opcode.Await:
        this.fileLocks.heard(request.session);
        this.statistics.answered(request.opcode, 0);
        this.lease.notices.await(request);
        return;
      case Opcode.EndSession:
        this.#endSession(request);
        return;
      case Opcode.Returned:
        this.lease.returned(request);
        this.answerStatus(request, 0);
        return;
      case Opcode.Inventory:
        this.statistics.answered(
          request.opcode,
          answerInventory(this.#rpc, this.arena, this.meta, request),
        );
        return;
      case Opcode.TargetStats:
        this.#answerStatistics(request);
        return;
      default:
        if (!this.fileLocks.onRequest(request)) this.answerStatus(request, errno.ENOSYS);
    }
  }

  answerStatus(request: RpcRequest, status: number): void {
    this.statistics.answered(request.opcode, status);
    this.#rpc.reply(request, status);
  }

  /** Truncating opens are mutations; the others only register. */
  #open(request: RpcRequest): void {
    const { words } = this.arena;
    const inode = this.#inodeAt(request, OpenRequest.inode);
    const flags = words[(request.body + OpenRequest.flags) >>> 2]!;
    if ((flags & OPEN_TRUNCATE) !== 0) {
      const mutation = this.#committer.enqueue(request, openTruncating, this.arena);
      mutation.sizeInode = inode;
      mutation.frees = true;
      return;
    }
    this.#openWhenReturned(request, inode, flags);
  }

  #openWhenReturned(request: RpcRequest, inode: number, flags: number): void {
    const { grace } = this.lease;
    if (!grace.isOver) {
      // Who has leases on its pages is not known before.
      grace.whenOver(() => {
        this.#openWhenReturned(request, inode, flags);
      });
      return;
    }
    const pages = this.lease.pages.recall(request.session, inode);
    const recall = pages ?? this.namespace.recalls.inode(inode);
    if (recall === undefined) this.#openNow(request, inode, flags);
    else {
      recall.waiters.push(() => {
        this.#openWhenReturned(request, inode, flags);
      });
    }
  }

  #openNow(request: RpcRequest, inode: number, flags: number): void {
    const call = this.#call;
    call.reply = this.#rpc.beginReply(request, ATTRIBUTES_ROOM);
    const status = inode === 0 ? errno.EINVAL : this.namespace.replyStored(call, inode);
    if (status === 0) {
      this.handles.open(request.session, inode);
      const leases =
        this.lease.grants.inode(request.session, inode) |
        this.lease.pages.opened(request.session, inode, flags);
      this.arena.words[(call.reply + AttributesReply.flags) >>> 2]! |= leases;
    }
    request.session.recordVolatile(request.slot, request.sequence, request.opcode, status);
    this.statistics.answered(request.opcode, status);
    this.#rpc.endReply(request, status, status === 0 ? call.replyBytes : 0);
  }

  #release(request: RpcRequest): void {
    const inode = this.#inodeAt(request, InodeRequest.inode);
    if (this.handles.release(request.session, inode)) this.#closedByAll(inode);
    request.session.recordVolatile(request.slot, request.sequence, request.opcode, 0);
    this.answerStatus(request, 0);
  }

  #inodeAt(request: RpcRequest, field: number): number {
    return readU53OrZero(this.arena.words, request.body + field);
  }

  #closedByAll(inode: number): void {
    if (!this.namespace.orphans.has(inode)) return;
    this.#committer.enqueueWork(
      () => {
        this.namespace.dropOrphan(inode);
      },
      () => undefined,
    );
  }

  #dropOrphans(): void {
    for (const inode of this.namespace.orphans) {
      if (!this.handles.isOpen(inode)) this.#closedByAll(inode);
    }
  }

  /** All that is committed becomes power-safe, data devices included: one flush for many. */
  #fsync(request: RpcRequest): void {
    const inode = request.bodyBytes < InodeRequest.SIZE ? 0 : this.#inodeAt(request, 0);
    const mode = inode === 0 ? 0 : storedMode(this.meta, inode);
    if ((mode & S_IFMT) !== S_IFDIR) {
      this.#fsyncHere(request);
      return;
    }
    // What happened to a directory's entries has another half elsewhere; and so may have its entries.
    syncPartitions(this, inode, () => {
      this.coordinator.sync(() => {
        this.#fsyncHere(request);
      });
    });
  }

  #fsyncHere(request: RpcRequest): void {
    this.#fsyncs.push(request);
    if (this.#fsyncs.length > 1) return;
    // At the turn's end, so that the fsyncs that arrive together share a flush.
    this.#committer.enqueueWork(
      () => undefined,
      () => {
        const requests = this.#fsyncs.splice(0);
        this.meta.flush((error) => {
          if (error !== undefined) this.log(`a flush failed: ${error.message}`);
          for (const one of requests) this.answerStatus(one, error === undefined ? 0 : errno.EIO);
          this.scheduler.requestTurn();
        });
      },
    );
  }

  #cut(request: RpcRequest): void {
    const inode = this.#inodeAt(request, CutRequest.inode);
    const fromByte = this.#inodeAt(request, CutRequest.fromByte);
    if (inode === 0 || request.session.kind !== 'target') {
      this.answerStatus(request, inode === 0 ? errno.EINVAL : errno.EPERM);
      return;
    }
    const deleted = (this.arena.words[(request.body + CutRequest.flags) >>> 2]! & 1) !== 0;
    if (deleted) this.space.markGone(inode);
    const layout = this.#inodeAt(request, CutRequest.layout);
    this.#reclaimer.cutForPeer(inode, layout, fromByte, deleted, () => {
      this.answerStatus(request, 0);
    });
  }

  #answerStatistics(request: RpcRequest): void {
    const text = Buffer.from(JSON.stringify(this.report()));
    const fits = text.length <= STATISTICS_ROOM;
    const reply = this.#rpc.beginReply(request, STATISTICS_ROOM);
    if (fits) this.arena.bytes.set(text, reply);
    this.statistics.answered(request.opcode, fits ? 0 : errno.EMSGSIZE);
    this.#rpc.endReply(request, fits ? 0 : errno.EMSGSIZE, fits ? text.length : 0);
  }

  /** Counters by name, for people and for the heartbeat. */
  report(): Record<string, number> {
    let sessions = 0;
    for (const session of this.#rpc.sessions) sessions += session.id === '' ? 0 : 1;
    const { transactions, mutations, largest, aborts, deferred } = this.#committer.counters;
    const { rdma, tcp } = this.#rpc.connectionKinds();
    return {
      ...this.statistics.report(),
      ...this.#data.report(),
      transactions,
      mutations,
      largestTransaction: largest,
      abortedTransactions: aborts,
      deferredMutations: deferred,
      sessions,
      connections: this.#rpc.connectionCount,
      connectionsRdma: rdma,
      connectionsTcp: tcp,
      openInodes: this.handles.inodes,
      orphans: this.namespace.orphans.size,
      inodes: this.namespace.inodeCount,
      intents: this.namespace.participant.intents.size,
      ...this.coordinator.report(),
      ...this.lease.leases.report(),
      ...this.fileLocks.report(),
      ...this.#partitions.report(),
      ...this.#reclaimer.report(),
      mapEpoch: this.#rpc.mapEpoch,
    };
  }

  // ---------------------------------------------------------------- sessions

  onReplay(request: RpcRequest): void {
    const { everything } = this.namespace.recalls;
    if (everything !== undefined && !request.executedHere) {
      // Somebody may not know what it has changed, before the restart. Its body is valid until return only.
      const { body, bodyBytes } = request;
      const bytes = this.arena.bytes.slice(body, body + ((bodyBytes + 7) & ~7));
      everything.waiters.push(() => {
        this.#replayWhenCut(request, { bytes, words: new Uint32Array(bytes.buffer) }, 0);
      });
      return;
    }
    this.#replayWhenCut(request, this.arena, request.body);
  }

  #replayWhenCut(request: RpcRequest, memory: WireMemory, body: number): void {
    if (request.opcode === Opcode.SetAttr && this.#reclaimer.isBlocked(request.recordResult0)) {
      // Its answer says nothing of its body.
      this.#reclaimer.wait(request.recordResult0, () => {
        this.#replay(request, memory, body);
      });
      return;
    }
    this.#replay(request, memory, body);
  }

  #replay(request: RpcRequest, memory: WireMemory, body: number): void {
    const call = this.#call;
    call.session = request.session;
    call.memory = memory;
    call.body = body;
    call.bodyBytes = request.bodyBytes;
    call.openInode = 0;
    call.replyBytes = 0;
    call.reply = this.#rpc.beginReply(request, REPLY_ROOM);
    const status = isBatch(request.opcode)
      ? replayBatch(call, request, this.#sessions)
      : replay(this.namespace, call, request);
    // What this process has registered may be released since.
    if (status === 0 && call.openInode !== 0 && !request.executedHere) {
      this.handles.open(request.session, call.openInode);
    }
    this.#rpc.endReply(request, status, status === 0 ? call.replyBytes : 0);
  }

  loadSession(sessionId: string): Uint8Array | undefined {
    return this.#sessions.load(sessionId);
  }

  onSessionOpened(session: Session): void {
    this.log(`session of ${session.clientName} begins`);
    this.lease.grace.heard(session);
  }

  onSessionClosed(session: Session, reason: string): void {
    this.log(`session of ${session.clientName} ends: ${reason}`);
    this.#sessions.closed(session, this.scheduler.nowMs());
    this.fileLocks.drop(session);
    this.lease.sessionClosed(session);
    this.handles.drop(session, (inode) => {
      this.#closedByAll(inode);
    });
  }

  /** Nobody has to wait for a client that says that it has done. */
  #endSession(request: RpcRequest): void {
    this.onSessionClosed(request.session, 'its client has done');
    request.session.unannounced = true;
    // Answered when the store has forgotten it, too.
    this.#committer.enqueueWork(
      () => undefined,
      () => {
        this.answerStatus(request, 0);
      },
    );
  }

  /** Records of sessions that nobody came back to. */
  #sweep(): void {
    this.#sweepTimer = this.scheduler.setTimer(SESSION_SWEEP_MS, () => {
      const expired = this.#sessions.takeExpired(this.scheduler.nowMs());
      if (expired.length > 0) {
        this.#committer.enqueueWork(
          () => {
            for (const id of expired) this.#sessions.remove(id);
          },
          () => undefined,
        );
      }
      this.#sweep();
    });
  }

  // ---------------------------------------------------------------- of the committer

  executed(mutation: Mutation): void {
    this.lease.executed(mutation);
  }

  decided(mutation: Mutation): void {
    if (mutation.status === 0 && mutation.openInode !== 0 && mutation.session !== undefined) {
      this.handles.open(mutation.session, mutation.openInode);
    }
    this.lease.pages.decided(mutation);
    if (mutation.opcode === Opcode.Write) this.#data.decided(mutation);
  }

  answer(mutation: Mutation): void {
    const request = mutation.request!;
    const { status, out, reply } = mutation;
    if (request.opcode === Opcode.Prepare && status === 0) this.faultPoint('participant-prepared');
    else if (request.opcode === Opcode.MoveEntries) this.faultPoint('entries-received');
    else if (request.opcode === Opcode.Resolve) this.faultPoint('participant-resolved');
    const bytes = status === 0 ? mutation.replyBytes : 0;
    this.statistics.answered(request.opcode, status);
    const body = this.#rpc.beginReply(request, bytes) >>> 2;
    const to = this.arena.words;
    const from = out.words;
    const source = reply >>> 2;
    const words = (bytes + 3) >>> 2;
    for (let i = 0; i < words; i++) to[body + i] = from[source + i]!;
    if (bytes !== 0) this.lease.answered(mutation, body << 2);
    this.#rpc.endReply(request, status, bytes);
  }

  // ---------------------------------------------------------------- of the name space

  isOpen(inode: number): boolean {
    return this.handles.isOpen(inode);
  }

  removeData(inode: number, layout: number, hasData: boolean, striped: boolean): void {
    if (!striped && !hasData) return;
    this.#reclaimer.remove(inode, layout, striped, this.#sizeInTransaction(inode));
  }

  isBeingCut(inode: number): boolean {
    return this.#reclaimer.isBlocked(inode);
  }

  cutData(inode: number, layout: number, fromByte: number, striped: boolean): boolean {
    const size = this.#sizeInTransaction(inode);
    return this.#reclaimer.shorten(inode, layout, fromByte, striped, size);
  }

  #sizeInTransaction(inode: number): number {
    const at = this.namespace.inodes.load(inode);
    return at < 0 ? 0 : this.namespace.inodes.size(at);
  }

  deleted(inode: number): void {
    this.space.markGone(inode);
  }

  enqueue(work: () => void, after: () => void): void {
    this.#committer.enqueueWork(work, after);
  }
}

/** Mutations that keep the request's bulk until they are executed. */
function takesBulk(opcode: number): boolean {
  return opcode === Opcode.SetXattr || opcode === Opcode.BatchWrite;
}
