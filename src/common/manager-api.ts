/**
 * The manager's HTTP interface, declared once: zod schemas of every request and answer, and the
 * types that follow from them. The manager checks what arrives with the request schemas, its
 * callers (`ManagerClient`) check the answers. docs/manager.md is the table of routes.
 *
 * Requests are strict (an unknown field is an error, so a misspelt one cannot pass unnoticed);
 * answers drop what the reader does not know, so a newer manager can add to them.
 */
import { z } from 'zod';
import type { ErrorCode } from './errors.js';

/** Where a manager listens and is looked for when nothing else is said. */
export const defaultManagerPort = 7300;
export const defaultManagerUrl = `http://127.0.0.1:${defaultManagerPort}`;

/** A server that is silent this long is `suspect`, then `down`. Heartbeats come every second. */
export const heartbeatIntervalMs = 1000;
export const suspectAfterMs = 3000;
export const downAfterMs = 10_000;

/** An idle watch stream has a line without a map this often; silence of three is a dead peer. */
export const watchKeepaliveMs = 5000;

/** Largest request body that the manager reads. 4,096 targets of a server fit. */
export const maxRequestBytes = 4 * 1024 * 1024;
export const maxTargetsPerRequest = 4096;
export const maxDevicesPerTarget = 256;
/** Volume ids are from 1 and below this: an id is its root inode's sequence (firstSequence). */
export const volumeIdEnd = 2 ** 20;

const endpointPattern = /^(tcp|rdma):\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/;

/** `tcp://host:port` or `rdma://host:port`; the host of IPv6 in brackets. */
export const endpointSchema = z.string().refine(
  (text) => {
    const port = Number(endpointPattern.exec(text)?.[3] ?? 0);
    return port >= 1 && port <= 65535;
  },
  { error: 'not an endpoint; expected tcp://HOST:PORT or rdma://HOST:PORT' },
);

export interface Endpoint {
  transport: 'tcp' | 'rdma';
  /** Without brackets. */
  host: string;
  port: number;
}

/** The parts of an endpoint that `endpointSchema` accepted; undefined for any other text. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = endpointPattern.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  if (port < 1 || port > 65535) return undefined;
  return {
    transport: match[1] === 'rdma' ? 'rdma' : 'tcp',
    host: match[2]!.replace(/^\[|\]$/g, ''),
    port,
  };
}

const idSchema = z.guid({ error: 'not a UUID' });

/** A server's own name: its UUID, or what its operator calls it. */
export const serverIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: 'expected 1 to 64 of A-Z a-z 0-9 . _ -' });

export const volumeNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const volumeNameSchema = z.string().regex(volumeNamePattern, {
  error:
    'not a volume name; expected 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit',
});

const bytesSchema = z.int().nonnegative();

/** A data device (or data file) of a target. `failed`: taken out of use, its reads answer EIO. */
export const deviceSchema = z.strictObject({
  path: z.string().min(1).max(4096),
  state: z.enum(['ok', 'failed']),
  totalBytes: bytesSchema,
  freeBytes: bytesSchema,
  error: z.string().max(1024).optional(),
});
export type DeviceReport = z.infer<typeof deviceSchema>;
const devicesSchema = z.array(deviceSchema).max(maxDevicesPerTarget);

// ---------------------------------------------------------------- the cluster map

export const clusterMemberSchema = z.object({
  targetId: idSchema,
  serverId: serverIdSchema,
  /** Share of the buckets relative to the others; above 0. */
  weight: z.number().positive(),
  endpoints: z.array(endpointSchema).min(1).max(16),
});
export type ClusterMember = z.infer<typeof clusterMemberSchema>;

/** Members are in ascending order of targetId. Epoch 0: no member yet. */
export const clusterMapSchema = z.object({
  clusterId: idSchema,
  epoch: z.int().nonnegative(),
  members: z.array(clusterMemberSchema),
});
export type ClusterMap = z.infer<typeof clusterMapSchema>;

// ---------------------------------------------------------------- servers

/** One target as its server registers it. */
export const targetRegistrationSchema = z.strictObject({
  targetId: idSchema,
  endpoints: z.array(endpointSchema).min(1).max(16),
  weight: z.number().positive().max(1e6).default(1),
  totalBytes: bytesSchema,
  freeBytes: bytesSchema,
  devices: devicesSchema.default([]),
});
export type TargetRegistration = z.input<typeof targetRegistrationSchema>;

export const registerRequestSchema = z.strictObject({
  /** The cluster that the targets' stores belong to; absent from fresh ones. */
  clusterId: idSchema.optional(),
  serverId: serverIdSchema,
  targets: z.array(targetRegistrationSchema).min(1).max(maxTargetsPerRequest),
});
export type RegisterRequest = z.input<typeof registerRequestSchema>;

export const registerReplySchema = z.object({
  clusterId: idSchema,
  epoch: z.int().nonnegative(),
  map: clusterMapSchema,
});
export type RegisterReply = z.infer<typeof registerReplySchema>;

// ---------------------------------------------------------------- scrub

/** What the manager wants of every target's scrub. Another `run` than the last: a new pass. */
export const scrubWishSchema = z.object({
  run: z.int().nonnegative(),
  running: z.boolean(),
  /** Read from the devices, by each target. */
  bytesPerSecond: z.int().positive(),
});
export type ScrubWish = z.infer<typeof scrubWishSchema>;

export const scrubRateMin = 64 * 1024;
export const scrubRateDefault = 64 * 1024 * 1024;
/** Extents that a target names; all are counted. */
export const maxScrubDamage = 64;

/** An extent that is not what was written. */
export const scrubDamageSchema = z.object({
  inode: z.int().nonnegative(),
  chunk: z.int().nonnegative(),
  /** Of the first damaged byte's block, in the chunk, and how long the extent is. */
  offset: z.int().nonnegative(),
  lengthBytes: z.int().nonnegative(),
  /** Number of the device in its target; -1: the chunk's own record is damaged. */
  device: z.int(),
  block: z.int().nonnegative(),
  reason: z.string().max(1024),
});
export type ScrubDamage = z.infer<typeof scrubDamageSchema>;

export const scrubReportSchema = z.object({
  /** Of the pass that these figures are of; 0: there was none. */
  run: z.int().nonnegative(),
  state: z.enum(['idle', 'running', 'stopped', 'finished']),
  /** 0 to 1, by buckets. */
  progress: z.number(),
  checkedBytes: z.int().nonnegative(),
  checkedExtents: z.int().nonnegative(),
  damagedExtents: z.int().nonnegative(),
  /** On devices that are out of use. */
  skippedExtents: z.int().nonnegative(),
  /** ISO 8601, UTC; empty: not yet. */
  startedAt: z.string(),
  finishedAt: z.string(),
  damage: z.array(scrubDamageSchema).max(maxScrubDamage),
});
export type ScrubReport = z.infer<typeof scrubReportSchema>;

/** `bytesPerSecond` absent: the default, or that of the pass under way. */
export const scrubStartRequestSchema = z.strictObject({
  bytesPerSecond: z.int().min(scrubRateMin).optional(),
});

export const scrubStatusSchema = z.object({
  ...scrubWishSchema.shape,
  /** running: wanted, and some target has not finished. */
  state: z.enum(['idle', 'running', 'stopped', 'finished']),
  checkedBytes: z.int().nonnegative(),
  checkedExtents: z.int().nonnegative(),
  damagedExtents: z.int().nonnegative(),
  skippedExtents: z.int().nonnegative(),
  targets: z.array(
    z.object({
      serverId: z.string(),
      targetId: z.string(),
      /** Absent: it has not reported since the manager started. */
      scrub: scrubReportSchema.optional(),
    }),
  ),
});
export type ScrubStatus = z.infer<typeof scrubStatusSchema>;

export const targetHeartbeatSchema = z.strictObject({
  targetId: idSchema,
  totalBytes: bytesSchema,
  freeBytes: bytesSchema,
  /** In use. */
  inodes: bytesSchema.default(0),
  devices: devicesSchema.default([]),
  /** Whatever else the target counts, by name; shown under /metrics as sealfs_target_counter. */
  counters: z
    .record(z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/), z.number())
    .refine((counters) => Object.keys(counters).length <= 128, { error: 'more than 128 counters' })
    .optional(),
  scrub: scrubReportSchema.optional(),
});
export type TargetHeartbeat = z.input<typeof targetHeartbeatSchema>;

export const heartbeatRequestSchema = z.strictObject({
  /** Epoch of the map that the server holds; the answer has the map if it is older. */
  epoch: z.int().nonnegative(),
  targets: z.array(targetHeartbeatSchema).max(maxTargetsPerRequest),
});
export type HeartbeatRequest = z.input<typeof heartbeatRequestSchema>;

/** Also the form of one line of the watch stream: without a map it says only "still here". */
export const epochReplySchema = z.object({
  epoch: z.int().nonnegative(),
  map: clusterMapSchema.optional(),
});
export type EpochReply = z.infer<typeof epochReplySchema>;

export const heartbeatReplySchema = epochReplySchema.extend({
  scrub: scrubWishSchema.optional(),
});
export type HeartbeatReply = z.infer<typeof heartbeatReplySchema>;

export const healthSchema = z.enum(['up', 'suspect', 'down']);
export type Health = z.infer<typeof healthSchema>;

export const targetStatusSchema = z.object({
  targetId: idSchema,
  /** member: holds buckets. standby: registered after the first volume was created. */
  role: z.enum(['member', 'standby']),
  state: healthSchema,
  weight: z.number(),
  endpoints: z.array(z.string()),
  totalBytes: bytesSchema,
  freeBytes: bytesSchema,
  inodes: bytesSchema,
  /** Clients and other targets that are connected now, by transport. */
  connections: z
    .object({ rdma: z.int().nonnegative(), tcp: z.int().nonnegative() })
    .default({ rdma: 0, tcp: 0 }),
  /** What removed files still hold: cuts under way, sizes of their files, given back so far. */
  reclaim: z
    .object({ cuts: bytesSchema, waitingBytes: bytesSchema, reclaimedBytes: bytesSchema })
    .default({ cuts: 0, waitingBytes: 0, reclaimedBytes: 0 }),
  devices: z.array(
    z.object({ ...deviceSchema.shape }), // an answer, so not strict
  ),
});
export type TargetStatus = z.infer<typeof targetStatusSchema>;

export const serverStatusSchema = z.object({
  serverId: z.string(),
  state: healthSchema,
  /** Since the last heartbeat or registration; null if none since the manager started. */
  silentMs: z.number().nullable(),
  targets: z.array(targetStatusSchema),
});
export type ServerStatus = z.infer<typeof serverStatusSchema>;

export const serverListSchema = z.object({ servers: z.array(serverStatusSchema) });
export type ServerList = z.infer<typeof serverListSchema>;

// ---------------------------------------------------------------- volumes

export const createVolumeRequestSchema = z.strictObject({ name: volumeNameSchema });
export type CreateVolumeRequest = z.infer<typeof createVolumeRequestSchema>;

export const volumeSchema = z.object({
  name: z.string(),
  id: z.int().positive(),
  rootInode: z.int().positive(),
  /** ISO 8601, UTC. */
  createdAt: z.string(),
});
export type Volume = z.infer<typeof volumeSchema>;

export const volumeListSchema = z.object({ volumes: z.array(volumeSchema) });
export type VolumeList = z.infer<typeof volumeListSchema>;

// ---------------------------------------------------------------- the cluster as a whole

export const clusterStatusSchema = z.object({
  clusterId: idSchema,
  epoch: z.int().nonnegative(),
  version: z.string(),
  uptimeSeconds: z.number(),
  /** Sums over member targets. */
  totalBytes: bytesSchema,
  freeBytes: bytesSchema,
  servers: z.array(serverStatusSchema),
  volumes: z.array(volumeSchema),
});
export type ClusterStatus = z.infer<typeof clusterStatusSchema>;

/** Every answer that is not 2xx. */
export const errorReplySchema = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
});
export type ErrorReply = z.infer<typeof errorReplySchema>;

/** HTTP status of each error code, both ways. */
export const httpStatusOfCode: Readonly<Record<ErrorCode, number>> = {
  USAGE: 400,
  NOT_FOUND: 404,
  EXISTS: 409,
  BUSY: 409,
  UNAVAILABLE: 503,
  UNSUPPORTED: 501,
  CORRUPT: 500,
  FAILED: 500,
};

/** One line for a person: which field, and what is wrong with it. */
export function describeIssues(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'invalid';
  const path = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
  return path === '' ? issue.message : `${path}: ${issue.message}`;
}
