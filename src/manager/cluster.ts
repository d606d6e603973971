/**
 * The cluster as the manager sees it: membership, epochs, volumes. Every change is computed on a
 * copy, committed to the store, and only then taken over, announced and answered; changes run one
 * after the other, so no answer ever shows what a crash could take back.
 *
 *   register ──► first volume not yet created ──► member   (new epoch)
 *            └─► afterwards                   ──► standby  (no new epoch)
 *   known target, other endpoints or server   ──► same role (new epoch if a member)
 */
import { randomUUID } from 'node:crypto';
import { SealfsError } from '../common/errors.js';
import type {
  ClusterMap,
  HeartbeatReply,
  RegisterReply,
  ScrubStatus,
  ServerStatus,
  TargetStatus,
  Volume,
} from '../common/manager-api.js';
import { volumeIdEnd } from '../common/manager-api.js';
import type { ParsedHeartbeat, ParsedRegistration } from './requests.js';
import type { ClusterStore, StoreWrite } from './cluster-store.js';
import { HealthBook } from './health.js';
import { ScrubControl } from './scrub-control.js';
import type { ClusterRecord, Records, TargetRecord } from './records.js';
import { clusterKey, readRecords, storeFormat, targetKey, volumeKey } from './records.js';

export interface ClusterOptions {
  /** Monotonic milliseconds; the process's clock by default. */
  nowMs?: () => number;
  /** Wall clock, milliseconds since 1970. */
  wallMs?: () => number;
}

const sequenceBits = 2 ** 37;

/** The root's bucket spreads the volumes over targets; the id is the root's sequence there. */
export function rootInodeOf(volumeId: number): number {
  let mixed = Math.imul(volumeId ^ 0x9e3779b9, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  const bucket = (mixed ^ (mixed >>> 16)) & 0xffff;
  return bucket * sequenceBits + volumeId;
}

export class Cluster {
  readonly health: HealthBook;
  private readonly scrubControl: ScrubControl;
  private readonly store: ClusterStore;
  private readonly wallMs: () => number;
  private cluster: ClusterRecord;
  private readonly targets: Map<string, TargetRecord>;
  private readonly volumeRecords: Map<string, Volume>;
  private currentMap: ClusterMap;
  private readonly listeners = new Set<(map: ClusterMap) => void>();
  private lastChange: Promise<unknown> = Promise.resolve();

  private constructor(
    store: ClusterStore,
    cluster: ClusterRecord,
    records: Records,
    options: ClusterOptions,
  ) {
    this.store = store;
    this.cluster = cluster;
    this.targets = new Map(records.targets.map((target) => [target.targetId, target]));
    this.volumeRecords = new Map(records.volumes.map((volume) => [volume.name, volume]));
    this.health = new HealthBook(options.nowMs ?? (() => performance.now()));
    this.wallMs = options.wallMs ?? Date.now;
    this.scrubControl = new ScrubControl(store, records.scrub, this.wallMs);
    this.currentMap = buildMap(cluster, this.targets.values());
  }

  /** Reads the store; an empty one becomes a new cluster with an id of its own. */
  static async open(store: ClusterStore, options: ClusterOptions = {}): Promise<Cluster> {
    const records = readRecords(await store.load());
    let cluster = records.cluster;
    if (cluster === undefined) {
      cluster = {
        format: storeFormat,
        clusterId: randomUUID(),
        epoch: 0,
        nextVolumeId: 1,
        membershipFixed: false,
      };
      await store.commit([{ key: clusterKey, value: cluster }]);
    }
    return new Cluster(store, cluster, records, options);
  }

  get clusterId(): string {
    return this.cluster.clusterId;
  }

  get epoch(): number {
    return this.cluster.epoch;
  }

  map(): ClusterMap {
    return this.currentMap;
  }

  /** `listener` is called with each new map, after it is committed. Returns how to stop that. */
  onMap(listener: (map: ClusterMap) => void): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  register(request: ParsedRegistration): Promise<RegisterReply> {
    return this.change(async () => {
      this.checkRegistration(request);
      const changed: TargetRecord[] = [];
      for (const offered of request.targets) {
        const known = this.targets.get(offered.targetId);
        const fixed = this.cluster.membershipFixed;
        const record: TargetRecord = {
          targetId: offered.targetId,
          serverId: request.serverId,
          role: known?.role ?? (fixed ? 'standby' : 'member'),
          // Another weight would move buckets, which a fixed membership must not.
          weight: fixed && known !== undefined ? known.weight : offered.weight,
          endpoints: offered.endpoints,
        };
        if (known === undefined || JSON.stringify(known) !== JSON.stringify(record)) {
          changed.push(record);
        }
      }
      await this.takeOver(changed);
      this.health.heard(request.serverId);
      for (const { targetId, totalBytes, freeBytes, devices } of request.targets) {
        const before = this.health.report(targetId);
        this.health.setReport(targetId, { ...before, totalBytes, freeBytes, devices });
      }
      return { clusterId: this.clusterId, epoch: this.epoch, map: this.currentMap };
    });
  }

  private checkRegistration(request: ParsedRegistration): void {
    if (request.clusterId !== undefined && request.clusterId !== this.clusterId) {
      throw new SealfsError(
        'USAGE',
        `server ${request.serverId} belongs to cluster ${request.clusterId}, ` +
          `this manager's cluster is ${this.clusterId}`,
      );
    }
    const seen = new Set<string>();
    for (const { targetId } of request.targets) {
      if (seen.has(targetId)) {
        throw new SealfsError('USAGE', `target ${targetId} is named twice`);
      }
      seen.add(targetId);
      // A copied metadata directory: two servers with one identity would both take writes.
      const known = this.targets.get(targetId);
      const elsewhere = known !== undefined && known.serverId !== request.serverId;
      if (elsewhere && this.health.state(known.serverId) === 'up') {
        throw new SealfsError(
          'BUSY',
          `target ${targetId} is being served by server ${known.serverId}, which is up`,
        );
      }
    }
  }

  private async takeOver(changed: TargetRecord[]): Promise<void> {
    if (changed.length === 0) return;
    const newEpoch = changed.some((target) => target.role === 'member');
    const cluster = newEpoch ? { ...this.cluster, epoch: this.epoch + 1 } : this.cluster;
    const writes: StoreWrite[] = changed.map((target) => ({
      key: targetKey(target.targetId),
      value: target,
    }));
    if (newEpoch) writes.push({ key: clusterKey, value: cluster });
    await this.store.commit(writes);
    for (const target of changed) this.targets.set(target.targetId, target);
    this.cluster = cluster;
    if (!newEpoch) return;
    this.currentMap = buildMap(cluster, this.targets.values());
    for (const listener of this.listeners) listener(this.currentMap);
  }

  /** NOT_FOUND if a target is not this server's: it should register (again). */
  heartbeat(serverId: string, request: ParsedHeartbeat): HeartbeatReply {
    for (const { targetId } of request.targets) {
      if (this.targets.get(targetId)?.serverId !== serverId) {
        throw new SealfsError('NOT_FOUND', `target ${targetId} is not registered by ${serverId}`);
      }
    }
    if (request.targets.length === 0 && !this.serverIds().includes(serverId)) {
      throw new SealfsError('NOT_FOUND', `server ${serverId} is not registered`);
    }
    this.health.heard(serverId);
    for (const { targetId, counters, ...report } of request.targets) {
      this.health.setReport(targetId, { ...report, counters: counters ?? {} });
    }
    const { wish } = this.scrubControl;
    const reply = wish === undefined ? { epoch: this.epoch } : { epoch: this.epoch, scrub: wish };
    return request.epoch === this.epoch ? reply : { ...reply, map: this.currentMap };
  }

  scrubStatus(): ScrubStatus {
    const targets = this.servers().flatMap(({ serverId, targets: own }) =>
      own.map(({ targetId }) => {
        const { scrub } = this.health.report(targetId);
        return { serverId, targetId, ...(scrub === undefined ? {} : { scrub }) };
      }),
    );
    return this.scrubControl.status(targets);
  }

  /** A new pass, or another rate for the one that is under way. */
  startScrub(bytesPerSecond: number | undefined): Promise<ScrubStatus> {
    return this.change(async () => {
      await this.scrubControl.start(this.scrubStatus().state === 'running', bytesPerSecond);
      return this.scrubStatus();
    });
  }

  stopScrub(): Promise<ScrubStatus> {
    return this.change(async () => {
      await this.scrubControl.stop();
      return this.scrubStatus();
    });
  }

  volumes(): Volume[] {
    return [...this.volumeRecords.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  volume(name: string): Volume {
    const volume = this.volumeRecords.get(name);
    if (volume === undefined) {
      throw new SealfsError('NOT_FOUND', `there is no volume '${name}'`);
    }
    return volume;
  }

  createVolume(name: string): Promise<Volume> {
    return this.change(async () => {
      if (this.volumeRecords.has(name)) {
        throw new SealfsError('EXISTS', `volume '${name}' exists already`);
      }
      if (this.currentMap.members.length === 0) {
        throw new SealfsError(
          'UNAVAILABLE',
          'no target is registered; start a server before creating a volume',
        );
      }
      const id = this.cluster.nextVolumeId;
      if (id >= volumeIdEnd) {
        throw new SealfsError('FAILED', `no volume ids are left; ${volumeIdEnd - 1} were given`);
      }
      const createdAt = new Date(this.wallMs()).toISOString();
      const volume: Volume = { name, id, rootInode: rootInodeOf(id), createdAt };
      const cluster = { ...this.cluster, nextVolumeId: id + 1, membershipFixed: true };
      await this.store.commit([
        { key: volumeKey(name), value: volume },
        { key: clusterKey, value: cluster },
      ]);
      this.volumeRecords.set(name, volume);
      this.cluster = cluster;
      return volume;
    });
  }

  deleteVolume(name: string): Promise<Volume> {
    return this.change(async () => {
      const volume = this.volume(name);
      await this.store.commit([{ key: volumeKey(name), value: undefined }]);
      this.volumeRecords.delete(name);
      return volume;
    });
  }

  servers(): ServerStatus[] {
    return this.serverIds().map((serverId) => ({
      serverId,
      state: this.health.state(serverId),
      silentMs: this.health.silentMs(serverId),
      targets: [...this.targets.values()]
        .filter((target) => target.serverId === serverId)
        .sort(byTargetId)
        .map((target) => this.targetStatus(target)),
    }));
  }

  private targetStatus(target: TargetRecord): TargetStatus {
    const { totalBytes, freeBytes, inodes, devices, counters } = this.health.report(
      target.targetId,
    );
    const count = (name: string): number => Math.max(0, Math.trunc(counters[name] ?? 0));
    return {
      targetId: target.targetId,
      role: target.role,
      state: this.health.state(target.serverId),
      weight: target.weight,
      endpoints: target.endpoints,
      totalBytes,
      freeBytes,
      inodes,
      connections: { rdma: count('connectionsRdma'), tcp: count('connectionsTcp') },
      reclaim: {
        cuts: count('cutsUnderWay'),
        waitingBytes: count('reclaimWaitingBytes'),
        reclaimedBytes: count('reclaimedBytes'),
      },
      devices,
    };
  }

  private serverIds(): string[] {
    return [...new Set([...this.targets.values()].map((target) => target.serverId))].sort();
  }

  /** Resolves when no change is under way; closes the store. */
  async close(): Promise<void> {
    await this.change(() => this.store.close());
  }

  private change<Result>(body: () => Promise<Result>): Promise<Result> {
    const result = this.lastChange.then(body);
    // The next change runs whether or not this one succeeded; its caller sees the rejection.
    this.lastChange = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}

function byTargetId(a: { targetId: string }, b: { targetId: string }): number {
  return a.targetId < b.targetId ? -1 : 1;
}

function buildMap(cluster: ClusterRecord, targets: Iterable<TargetRecord>): ClusterMap {
  const members = [...targets]
    .filter((target) => target.role === 'member')
    .map(({ targetId, serverId, weight, endpoints }) => ({
      targetId,
      serverId,
      weight,
      endpoints,
    }))
    .sort(byTargetId);
  return { clusterId: cluster.clusterId, epoch: cluster.epoch, members };
}
