/**
 * From `--transport` to the transports of a thread. Two steps, because the arena's receive areas must
 * be known before it is made: `planTransport` looks at the machine, `openTransports` makes what was
 * planned over the arena. The rdma transport is loaded only where it is used.
 */
import { isIP } from 'node:net';
import { SealfsError, UsageError } from '../common/errors.js';
import type { NativeArena } from '../native/arena.js';
import { arenaBytes } from '../native/arena-memory.js';
import type { ArenaShape } from '../native/arena-memory.js';
import { readRdmaState, usableDevices } from '../native/rdma-state.js';
import type { RdmaProblem, RdmaState } from '../native/rdma-state.js';
import type { Reactor } from '../native/reactor.js';
import type { TransportChoice } from './choices.js';
import { combineTransports } from './combined.js';
import type { TransportPart } from './combined.js';
import { TcpTransport } from './tcp.js';
import type { Transport } from './transport.js';

export type PlannedKind = 'rdma' | 'tcp';

export interface TransportPlan {
  /** The preferred one first. */
  kinds: readonly PlannedKind[];
  /** Why rdma is not among them although it might be; '' otherwise. */
  note: string;
  /** The arenas' shape, receive areas included. */
  shape: ArenaShape;
}

export interface PlanRequest {
  choice: TransportChoice;
  role: 'server' | 'client';
  /** Of each arena, without receive areas. */
  shape: { messageSlots: number; bulkSlots: number };
  /** Threads of this process, an arena each; 1 by default. */
  arenas?: number;
  /** Where a server listens. */
  host?: string;
}

const RECEIVE_AREAS_TCP = 1;
/** Each holds 56 receive buffers of 18 KiB; a connection is granted up to 16. */
const RECEIVE_AREAS_RDMA = { server: 8, client: 4 } as const;

/**
 * Room in a client's arena for memory of programs (docs/intercept.md, "Memory"), 4 MiB each: addresses alone until one
 * attaches.
 */
const SHARES = 64;

function areasFor(kinds: readonly PlannedKind[], role: 'server' | 'client'): number {
  let areas = 0;
  for (const kind of kinds) areas += kind === 'tcp' ? RECEIVE_AREAS_TCP : RECEIVE_AREAS_RDMA[role];
  return areas;
}

/** Throws UsageError, with the line that mends it, when rdma is insisted on and cannot be had. */
export function planTransport(
  request: PlanRequest,
  look: (lockedBytes: number) => RdmaState = readRdmaState,
): TransportPlan {
  const { choice, role, shape } = request;
  const plan = (kinds: readonly PlannedKind[], note = ''): TransportPlan => {
    const shares = role === 'client' ? SHARES : 0;
    return { kinds, note, shape: { ...shape, receiveAreas: areasFor(kinds, role), shares } };
  };
  if (choice === 'tcp') return plan(['tcp']);
  const wanted: PlannedKind[] = choice === 'rdma' ? ['rdma'] : ['rdma', 'tcp'];
  const lockedBytes = (request.arenas ?? 1) * arenaBytes(plan(wanted).shape);
  const state = look(lockedBytes);
  const problem = state.problems[0] ?? addressProblem(request.host, state);
  if (problem === undefined) return plan(wanted);
  if (choice === 'auto') return plan(['tcp'], problem.what);
  throw new UsageError(`--transport rdma: ${problem.what}; ${problem.mend}`);
}

export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** A host that is named is looked up by the transport itself. */
function addressProblem(host: string | undefined, state: RdmaState): RdmaProblem | undefined {
  if (host === undefined || isIP(host) === 0 || isWildcard(host)) return undefined;
  const addresses = usableDevices(state).flatMap((device) => device.addresses);
  if (addresses.includes(host)) return undefined;
  return {
    what: `no RDMA device has the address ${host}`,
    mend: `listen on ${addresses.join(' or ')}`,
  };
}

/**
 * Where the servers of a cluster on this one machine listen: loopback, or an RDMA device's first
 * address, since a device is reached by no other. Throws UsageError as `planTransport` does.
 */
export function localHome(choice: TransportChoice, look = readRdmaState): string {
  if (choice === 'tcp') return '127.0.0.1';
  const state = look();
  const problem = state.problems[0];
  if (problem === undefined) return usableDevices(state)[0]!.addresses[0]!;
  if (choice === 'auto') return '127.0.0.1';
  throw new UsageError(`--transport rdma: ${problem.what}; ${problem.mend}`);
}

/** What a process says of its plan, once. */
export function describePlan({ kinds, note }: TransportPlan): string {
  const names = kinds.length === 2 ? 'rdma, tcp where that cannot be had' : kinds.join('');
  return note === '' ? `transport: ${names}` : `transport: ${names} (${note})`;
}

export interface OpenTransports {
  transport: Transport;
  /** What `transport` is made of, in the plan's order. */
  parts: (TransportPart & { kind: PlannedKind })[];
  /** Why rdma is missing although it was planned; '' when nothing is. */
  failure: string;
}

export interface OpenOptions {
  /** Numeric local address that connections leave from. */
  source?: string | undefined;
}

/** Rejects with SealfsError UNSUPPORTED when nothing of the plan can be had. */
export async function openTransports(
  kinds: readonly PlannedKind[],
  arena: NativeArena,
  reactor: Reactor,
  { source }: OpenOptions,
): Promise<OpenTransports> {
  const options = source === undefined ? {} : { source };
  const parts: OpenTransports['parts'] = [];
  let failure = '';
  // First: it takes its one receive area, rdma takes all that are left.
  if (kinds.includes('tcp')) {
    parts.push({ kind: 'tcp', transport: new TcpTransport(arena, reactor, options) });
  }
  if (kinds.includes('rdma')) {
    try {
      const { RdmaTransport } = await import('./rdma.js');
      parts.unshift({ kind: 'rdma', transport: new RdmaTransport(arena, reactor, options) });
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
      if (parts.length === 0) {
        throw new SealfsError('UNSUPPORTED', failure, { cause: error });
      }
    }
  }
  return { transport: combineTransports(parts), parts, failure };
}
