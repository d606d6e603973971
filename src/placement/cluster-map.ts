/**
 * The cluster map: the short list of members that everybody computes placement from. The manager
 * publishes it as JSON under a growing epoch; it is checked here on arrival, once.
 */
import { z } from 'zod';
import { SealfsError } from '../common/errors.js';
import type { TransportAddress } from '../transport/transport.js';
import { parseEndpoint } from './endpoint.js';
import type { Endpoint } from './endpoint.js';

/** Members that one map may have: their indexes are u16 in the bucket table. */
export const MEMBERS_MAX = 4096;

export interface Target {
  /** UUID, kept in the target's store for its lifetime. */
  targetId: string;
  serverId: string;
  /** Share of the buckets relative to the other members; 0: none (drained). */
  weight: number;
  /** As `tcp://host:port`. */
  endpoints: string[];
}

export interface ClusterMap {
  clusterId: string;
  /** Grows by one with each change, from 1; fits u32. */
  epoch: number;
  members: Target[];
}

const endpointText = z.string().refine((text) => {
  try {
    parseEndpoint(text);
    return true;
  } catch (error) {
    if (error instanceof SealfsError) return false;
    throw error;
  }
}, 'not an endpoint such as tcp://host:port');

const targetSchema = z.object({
  targetId: z.string().min(1).max(64),
  serverId: z.string().min(1).max(64),
  weight: z.number().min(0).max(1e9),
  endpoints: z.array(endpointText).max(16),
});

const mapSchema = z.object({
  clusterId: z.string().min(1).max(64),
  epoch: z.int().min(0).max(0xffffffff),
  members: z.array(targetSchema).max(MEMBERS_MAX),
});

/** The map in this JSON value. Throws SealfsError CORRUPT that names the first wrong field. */
export function parseClusterMap(value: unknown): ClusterMap {
  const result = mapSchema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0];
    const where = issue === undefined ? '' : issue.path.join('.');
    throw new SealfsError('CORRUPT', `cluster map: ${where}: ${issue?.message ?? 'invalid'}`);
  }
  const map: ClusterMap = result.data;
  const ids = new Set<string>();
  for (const member of map.members) {
    if (ids.has(member.targetId)) {
      throw new SealfsError('CORRUPT', `cluster map: target ${member.targetId} stands twice`);
    }
    ids.add(member.targetId);
  }
  return map;
}

/**
 * Where `target` is reached by these transports, the preferred one first: what `RpcClient.peer` takes.
 * A target that listens on none of them counts as away, with a line that says what it lacks.
 */
export function targetAddress(
  target: Target,
  transports: readonly Endpoint['transport'][],
): PlacedTarget {
  const offered = target.endpoints.map(parseEndpoint);
  const endpoints = transports.flatMap((kind) =>
    offered
      .filter((endpoint) => endpoint.transport === kind)
      .map(({ host, port }) => ({ kind, host, port })),
  );
  if (endpoints.length > 0) return { targetId: target.targetId, endpoints };
  const wanted = transports.join(' or ');
  const found = target.endpoints.length === 0 ? 'none' : target.endpoints.join(' ');
  const unreachable = `it has no ${wanted} endpoint (${found}): start its server with --transport auto`;
  return { targetId: target.targetId, endpoints, unreachable };
}

/** A `TargetAddress` with its endpoints spelt out. */
export interface PlacedTarget {
  targetId: string;
  endpoints: (TransportAddress & { kind: Endpoint['transport'] })[];
  /** Why there are none. */
  unreachable?: string;
}
