/**
 * The records of a ClusterStore: one `cluster`, and one for each target and volume. Checked when
 * they are read, so that a damaged store is an error at start and not a wrong map later.
 */
import { z } from 'zod';
import { SealfsError } from '../common/errors.js';
import type { ScrubWish } from '../common/manager-api.js';
import {
  describeIssues,
  endpointSchema,
  scrubWishSchema,
  volumeSchema,
} from '../common/manager-api.js';

/** Raised when older managers could misread what is written. */
export const storeFormat = 1;

export const clusterKey = 'cluster';
export const scrubKey = 'scrub';
export const targetKey = (targetId: string): string => `target/${targetId}`;
export const volumeKey = (name: string): string => `volume/${name}`;

const clusterRecordSchema = z.strictObject({
  format: z.int(),
  clusterId: z.guid(),
  epoch: z.int().nonnegative(),
  /** Ids are never used twice: files of a deleted volume may still be waiting for reclaim. */
  nextVolumeId: z.int().positive(),
  /** Set with the first volume, for ever: from then on new targets are standby. */
  membershipFixed: z.boolean(),
});
export type ClusterRecord = z.infer<typeof clusterRecordSchema>;

const targetRecordSchema = z.strictObject({
  targetId: z.guid(),
  serverId: z.string(),
  role: z.enum(['member', 'standby']),
  weight: z.number().positive(),
  endpoints: z.array(endpointSchema).min(1),
});
export type TargetRecord = z.infer<typeof targetRecordSchema>;

export interface Records {
  cluster: ClusterRecord | undefined;
  targets: TargetRecord[];
  volumes: z.infer<typeof volumeSchema>[];
  scrub: ScrubWish | undefined;
}

/** Throws CORRUPT for a record that is not understood, UNSUPPORTED for a newer format. */
export function readRecords(stored: Map<string, unknown>): Records {
  const records: Records = { cluster: undefined, targets: [], volumes: [], scrub: undefined };
  const first = stored.get(clusterKey) as { format?: unknown } | undefined;
  if (typeof first?.format === 'number' && first.format > storeFormat) {
    throw new SealfsError(
      'UNSUPPORTED',
      `the manager's store has format ${first.format}; this version reads up to ${storeFormat}`,
    );
  }
  for (const [key, value] of stored) {
    if (key === clusterKey) records.cluster = check(clusterRecordSchema, key, value);
    else if (key === scrubKey) records.scrub = check(scrubWishSchema, key, value);
    else if (key.startsWith('target/')) records.targets.push(check(targetRecordSchema, key, value));
    else if (key.startsWith('volume/')) records.volumes.push(check(volumeSchema, key, value));
    else throw new SealfsError('CORRUPT', `the manager's store: unknown record '${key}'`);
  }
  if (records.cluster === undefined && stored.size > 0) {
    throw new SealfsError('CORRUPT', `the manager's store: record '${clusterKey}' is missing`);
  }
  return records;
}

function check<Schema extends z.ZodType>(
  schema: Schema,
  key: string,
  value: unknown,
): z.infer<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const reason = describeIssues(result.error);
  throw new SealfsError('CORRUPT', `the manager's store: record '${key}': ${reason}`);
}
