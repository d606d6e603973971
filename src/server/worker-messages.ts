/** What a server's main thread and a target's worker thread say to each other. */
import type { ClusterMap } from '../placement/cluster-map.js';
import type { ErrorCode } from '../common/errors.js';
import type { DeviceReport, ScrubReport, ScrubWish } from '../common/manager-api.js';
import type { ArenaShape } from '../native/arena-memory.js';
import type { PlannedKind } from '../transport/select.js';
import type { Durability } from './committer.js';

export interface DeviceSpecMessage {
  path: string;
  sizeBytes: number | undefined;
}

/** A worker's workerData. */
export interface WorkerStart {
  /** Of this target in its server. */
  index: number;
  targetId: string;
  /** Of the target alone. */
  metaDir: string;
  devices: DeviceSpecMessage[];
  host: string;
  port: number;
  transports: readonly PlannedKind[];
  arena: ArenaShape;
  /** Local address that connections to other targets leave from. */
  source: string | undefined;
  durability: Durability;
  /** Bytes of removed files a second; undefined: the default. */
  reclaimRate: number | undefined;
  /** Entries of a directory that is split; undefined: the default. */
  splitEntries: number | undefined;
  /** Whether `metaDir` lies on a DAX file system. */
  persistentMemory: boolean;
}

export type ToWorker =
  | { kind: 'start'; clusterId: string; map: ClusterMap | undefined }
  | { kind: 'map'; map: ClusterMap }
  | { kind: 'scrub'; wish: ScrubWish }
  | { kind: 'stop' };

export interface TargetState {
  totalBytes: number;
  freeBytes: number;
  inodes: number;
  devices: DeviceReport[];
  counters: Record<string, number>;
  scrub: ScrubReport;
}

export type LogLevel = 'info' | 'warn' | 'error';

export type FromWorker =
  | { kind: 'listening'; endpoints: { kind: PlannedKind; port: number }[] }
  | { kind: 'started'; state: TargetState }
  | { kind: 'state'; state: TargetState }
  | { kind: 'log'; level: LogLevel; message: string }
  | { kind: 'failed'; code: ErrorCode; message: string }
  | { kind: 'stopped' };
