/** What the parts of a chunk store share. */
import type { Scheduler } from '../../common/scheduler.js';
import type { SeldomLog } from '../../common/seldom.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import type { MetaStore } from '../meta-store-api.js';
import type { Allocator } from './allocator.js';
import type { DiskManager } from './disk-manager.js';

export interface DataCounters {
  reads: number;
  readBytes: number;
  writes: number;
  writtenBytes: number;
  /** Writes whose data did not match the checksums that came with it. */
  arrivalChecksumErrors: number;
  /** Blocks that did not match their CRC when they were read. */
  readChecksumErrors: number;
  compactions: number;
  /** Reads and writes that had to wait for a bulk slot, for freed space, for a compaction. */
  slotWaits: number;
  spaceWaits: number;
  compactionWaits: number;
}

export interface DataContext {
  readonly arena: ArenaMemory;
  readonly scheduler: Scheduler;
  readonly store: MetaStore;
  readonly disks: DiskManager;
  readonly allocator: Allocator;
  readonly log: (message: string) => void;
  /** Writes that did not match their checksums: a client's program may see to that. */
  readonly damaged: SeldomLog;
  readonly counters: DataCounters;
  /** Whether space that was given up will be freed before long: who finds none waits for it. */
  spaceIsComing: () => boolean;
}

export function newDataCounters(): DataCounters {
  return {
    reads: 0,
    readBytes: 0,
    writes: 0,
    writtenBytes: 0,
    arrivalChecksumErrors: 0,
    readChecksumErrors: 0,
    compactions: 0,
    slotWaits: 0,
    spaceWaits: 0,
    compactionWaits: 0,
  };
}

/** Blocks that one bulk slot takes: its payload and the tail room behind it. */
export const SLOT_BLOCKS = 257;
