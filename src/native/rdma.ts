/**
 * The typed face of sealfs_rdma.node (native/rdma), loaded when it is first asked for: a machine
 * without libibverbs, devices or the addon runs everything else. Used by src/transport/rdma.ts, and
 * by what tells the user which devices there are.
 */
import { SealfsError } from '../common/errors.js';
import type { NativeHandle } from './core.js';
import type { NativeTransportEngine } from './engine.js';
import { loadAddon } from './load.js';

export interface RdmaGid {
  index: number;
  /** As an IPv6 address. */
  gid: string;
  type: 'RoCE v1' | 'RoCE v2' | 'IB';
  /** '' when it has none. */
  netdev: string;
  /** IPv4 where the GID is one in IPv6 form, else as `gid`. */
  address: string;
}

export interface RdmaDevice {
  name: string;
  /** Software devices by their driver's name. */
  kind: 'rxe' | 'siw' | 'hardware';
  nodeGuid: string;
  /** Of port 1. */
  portState: string;
  linkLayer: 'Ethernet' | 'InfiniBand' | '';
  gids: RdmaGid[];
  limits: {
    queuePairs: number;
    sendDepth: number;
    completions: number;
    sharedReceives: number;
    gather: number;
    readsOut: number;
    readsIn: number;
    windows: number;
    /** Bytes. */
    activeMtu: number;
  };
  /** Has memory windows of type 2 and send with invalidate. */
  windows: boolean;
  /** Why no connection can be made over it; '' when one can. */
  unusable: string;
}

export interface NativeRdmaEngine extends NativeTransportEngine {
  withdraw(connection: number, tag: number): void;
  /** For tests: breaks a connection as a failing network would. */
  breakQueuePair(connection: number): void;
}

interface RdmaAddon {
  RdmaEngine: new (arena: NativeHandle) => NativeRdmaEngine;
  devices(): RdmaDevice[];
}

function addon(): RdmaAddon {
  return loadAddon<RdmaAddon>('sealfs_rdma');
}

/**
 * Throws SealfsError UNSUPPORTED when this machine cannot: no addon, library, device or active port,
 * too little memory that may be locked, no receive area in the arena. The message says which.
 */
export function createRdmaEngine(arena: NativeHandle): NativeRdmaEngine {
  const { RdmaEngine } = addon();
  try {
    return new RdmaEngine(arena);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SealfsError('UNSUPPORTED', why, { cause: error });
  }
}

/** Empty where there are none, or no way to know; never throws. */
export function rdmaDevices(): RdmaDevice[] {
  try {
    return addon().devices();
  } catch {
    // The addon or its library is missing: rdma-state.ts says which.
    return [];
  }
}
