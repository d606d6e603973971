/**
 * The typed face of a native transport engine (native/common/engine_object.h), and the one over
 * sockets (sealfs_socket.node, native/socket). Used by src/transport only.
 */
import { loadAddon } from './load.js';
import type { NativeHandle } from './core.js';

/** Rings and their records: schema/engine.fbs, native/common/engine_rings.h. */
export interface NativeTransportEngine {
  readonly records: ArrayBuffer;
  readonly submissions: ArrayBuffer;
  readonly counters: ArrayBuffer;
  readonly source: NativeHandle;
  /** A number for a connection to come; 0: too many. */
  reserve(): number;
  /**
   * Begins to connect it to a numeric address, from the numeric local address `source` if given; a
   * record follows. False: no such reservation.
   */
  connect(connection: number, address: string, port: number, source?: string): boolean;
  /** Listens on a numeric address; returns the bound port or throws an Error with an errno's name. */
  listen(address: string, port: number): number;
  /** Takes the submission ring now; the poller does it after each turn. */
  submit(): void;
  /** Every few seconds: closes connections that stopped in the middle of a bulk. */
  tick(): void;
  /** Closes everything; no record follows. */
  shutdown(): void;
  /**
   * Only of engines that can: takes a landing back so that nobody writes to it after return. What
   * the submission ring holds must have been submitted before.
   */
  withdraw?(connection: number, tag: number): void;
}

/** Bytes before the first record of a ring; the first word is the number of records. */
export const RING_HEADER_BYTES = 64;

interface SocketAddon {
  SocketEngine: new (arena: NativeHandle) => NativeTransportEngine;
}

/**
 * The arena must have a receive area left. Throws SealfsError UNSUPPORTED without the addon, an
 * Error with code ERR_SOCKET_ENGINE when the engine cannot be had.
 */
export function createSocketEngine(arena: NativeHandle): NativeTransportEngine {
  return new (loadAddon<SocketAddon>('sealfs_socket').SocketEngine)(arena);
}
