/** The typed face of sealfs_socket.node (native/socket). Used by src/transport/tcp.ts only. */
import { loadAddon } from './load.js';
import type { NativeHandle } from './core.js';

/** Rings and their records: schema/socket.fbs, native/common/record_ring.h. */
export interface NativeSocketEngine {
  readonly records: ArrayBuffer;
  readonly submissions: ArrayBuffer;
  readonly counters: ArrayBuffer;
  readonly source: NativeHandle;
  /** A number for a connection to come; 0: too many. */
  reserve(): number;
  /** Begins to connect it to a numeric address; a record follows. False: no such reservation. */
  connect(connection: number, address: string, port: number): boolean;
  /** Listens on a numeric address; returns the bound port or throws an Error with an errno's name. */
  listen(address: string, port: number): number;
  /** Takes the submission ring now; the poller does it after each turn. */
  submit(): void;
  /** Every few seconds: closes connections that stopped in the middle of a bulk. */
  tick(): void;
  /** Closes everything; no record follows. */
  shutdown(): void;
}

/** Bytes before the first record of a ring; the first word is the number of records. */
export const RING_HEADER_BYTES = 64;

interface SocketAddon {
  SocketEngine: new (arena: NativeHandle) => NativeSocketEngine;
}

export function createSocketEngine(arena: NativeHandle): NativeSocketEngine {
  return new (loadAddon<SocketAddon>('sealfs_socket').SocketEngine)(arena);
}
