/** The typed face of sealfs_core.node (native/core). Used by arena.ts and reactor.ts only. */
import { loadAddon } from './load.js';

/** A C++ object for another addon; JavaScript only carries it. */
export type NativeHandle = { readonly nativeHandle: unique symbol };

export interface CoreAddon {
  createArena(
    messageSlots: number,
    bulkSlots: number,
    receiveAreas: number,
    shares: number,
  ): { buffer: ArrayBuffer; fd: number; hugePages: boolean; handle: NativeHandle };
  Poller: new (onTurn: () => void) => NativePoller;
}

export interface NativePoller {
  /** TurnState and counts (schema/core.fbs). */
  readonly state: ArrayBuffer;
  add(source: NativeHandle): number;
  remove(source: number): void;
  kick(): void;
  stamp(): void;
  setSpin(idleUs: number, waitingUs: number): void;
  setRef(keepAlive: boolean): void;
  close(): void;
}

let addon: CoreAddon | undefined;

export function coreAddon(): CoreAddon {
  addon ??= loadAddon<CoreAddon>('sealfs_core');
  return addon;
}
