/** What an rdma transport had its device do: the difference of counters between two moments. */
import type { EngineCounters } from '../src/transport/engine-counters.js';

export interface RdmaWork {
  workRequests: number;
  doorbells: number;
  signalledCompletions: number;
  receiveCompletions: number;
  framesSent: number;
  /** By the processor, copies of 4 KiB and more. */
  bytesCopied: number;
}

export function takeWork(counters: EngineCounters): RdmaWork {
  const { workRequests, doorbells, signalledCompletions, receiveCompletions, framesSent } =
    counters;
  const { below64KiB, above } = counters.bytesCopied;
  return {
    workRequests,
    doorbells,
    signalledCompletions,
    receiveCompletions,
    framesSent,
    bytesCopied: below64KiB + above,
  };
}

export function difference(before: RdmaWork, after: RdmaWork): RdmaWork {
  const result = { ...after };
  for (const name of Object.keys(result) as (keyof RdmaWork)[]) result[name] -= before[name];
  return result;
}
