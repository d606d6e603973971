/** A native engine's counters, read where it counts (schema/engine.fbs, Counters). */
import { Counters } from '../native/engine-layout.generated.js';
import type { CopiedBytes, TransportCounters } from './transport.js';

export class EngineCounters implements TransportCounters {
  readonly #values: Float64Array;
  readonly bytesCopied: CopiedBytes;

  /** `memory` is the engine's `counters`. */
  constructor(memory: ArrayBuffer) {
    const values = new Float64Array(memory);
    this.#values = values;
    this.bytesCopied = {
      get below4KiB(): number {
        return values[Counters.copiedBelow4k / 8]!;
      },
      get below64KiB(): number {
        return values[Counters.copiedBelow64k / 8]!;
      },
      get above(): number {
        return values[Counters.copiedAbove / 8]!;
      },
    };
  }

  get framesSent(): number {
    return this.#values[Counters.framesSent / 8]!;
  }

  get framesReceived(): number {
    return this.#values[Counters.framesReceived / 8]!;
  }

  get bytesSent(): number {
    return this.#values[Counters.bytesSent / 8]!;
  }

  get bytesReceived(): number {
    return this.#values[Counters.bytesReceived / 8]!;
  }

  get protocolErrors(): number {
    return this.#values[Counters.protocolErrors / 8]!;
  }

  /** Open or opening now. */
  get connections(): number {
    return this.#values[Counters.connections / 8]!;
  }

  /** This and all below: 0 unless the engine is rdma. */
  get workRequests(): number {
    return this.#values[Counters.workRequests / 8]!;
  }

  /** Calls that hand a chain of work requests to the device. */
  get doorbells(): number {
    return this.#values[Counters.doorbells / 8]!;
  }

  get signalledCompletions(): number {
    return this.#values[Counters.signalledCompletions / 8]!;
  }

  get receiveCompletions(): number {
    return this.#values[Counters.receiveCompletions / 8]!;
  }

  get inlineSends(): number {
    return this.#values[Counters.inlineSends / 8]!;
  }

  get bulkReads(): number {
    return this.#values[Counters.bulkReads / 8]!;
  }

  get bulkWrites(): number {
    return this.#values[Counters.bulkWrites / 8]!;
  }

  get windowsBound(): number {
    return this.#values[Counters.windowsBound / 8]!;
  }

  get creditFrames(): number {
    return this.#values[Counters.creditFrames / 8]!;
  }

  get creditStalls(): number {
    return this.#values[Counters.creditStalls / 8]!;
  }
}
