/** What the benches of RPC, metadata and data drive a target with: one thread's client side. */
import { NativeArena } from '../src/native/arena.js';
import { Reactor } from '../src/native/reactor.js';
import { RpcClient } from '../src/transport/rpc-client.js';
import type { RpcPeer } from '../src/transport/rpc-client.js';
import { RpcOperation } from '../src/transport/rpc-operation.js';
import { transportChoices } from '../src/transport/choices.js';
import type { TransportChoice } from '../src/transport/choices.js';
import { openTransports, planTransport } from '../src/transport/select.js';
import type { OpenTransports } from '../src/transport/select.js';
import { transportKinds } from '../src/transport/transport.js';
import type { Transport } from '../src/transport/transport.js';
import { ManagerClient } from '../src/common/manager-client.js';
import { targetAddress } from '../src/placement/cluster-map.js';

/** `--transport` of the bench that this process is part of. */
export function benchTransport(): TransportChoice {
  return transportChoices.find((name) => name === process.env['SEALFS_TRANSPORT']) ?? 'tcp';
}

/** Arena, reactor and transports of one side of a bench. */
export async function openBenchBase(role: 'server' | 'client', host?: string): Promise<BenchBase> {
  const plan = planTransport({
    choice: benchTransport(),
    role,
    shape: { messageSlots: 512, bulkSlots: 32 },
    ...(host === undefined ? {} : { host }),
  });
  const arena = new NativeArena(plan.shape);
  const reactor = new Reactor();
  const source = process.env['SEALFS_BIND'];
  const { transport, parts } = await openTransports(plan.kinds, arena, reactor, { source });
  return { arena, reactor, transport, parts };
}

export interface BenchBase {
  arena: NativeArena;
  reactor: Reactor;
  transport: Transport;
  parts: OpenTransports['parts'];
}

export class BenchEndpoint {
  readonly arena: NativeArena;
  readonly reactor: Reactor;
  readonly transport: Transport;
  readonly rpc: RpcClient;

  private constructor(base: BenchBase, clusterId: string) {
    this.arena = base.arena;
    this.reactor = base.reactor;
    this.transport = base.transport;
    this.rpc = new RpcClient(this.transport, this.arena, this.reactor, {
      clusterId,
      clientName: `bench:${process.pid}`,
    });
  }

  static async open(clusterId: string): Promise<BenchEndpoint> {
    return new BenchEndpoint(await openBenchBase('client'), clusterId);
  }

  /** The first target of the cluster that this manager keeps. */
  static async ofCluster(manager: string): Promise<{ endpoint: BenchEndpoint; peer: RpcPeer }> {
    const map = await new ManagerClient(manager).map();
    const endpoint = await BenchEndpoint.open(map.clusterId);
    endpoint.rpc.mapEpoch = map.epoch;
    const address = targetAddress(map.members[0]!, transportKinds(endpoint.transport));
    if (address.unreachable !== undefined) throw new Error(address.unreachable);
    return { endpoint, peer: endpoint.rpc.peer(address) };
  }

  close(): void {
    this.rpc.close();
    this.transport.shutdown();
    this.reactor.close();
  }
}

/** One request slot of a bench: sends its next request from inside the last one's `done`. */
export abstract class BenchOperation extends RpcOperation {
  run!: Run;

  /** Fills opcode, bodyBytes, bulk and landing for request number `index`. */
  abstract prepare(index: number): void;

  /** Checks a successful reply; throws when it is not what was asked for. */
  protected check(_body: number, _bodyBytes: number, _bulkBytes: number): void {
    // Most replies need no check beyond their status.
  }

  override done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    if (status !== 0) {
      this.run.fail(new Error(`opcode ${this.opcode}: status ${status}`));
      return;
    }
    this.check(body, bodyBytes, bulkBytes);
    this.run.completed(this);
  }
}

/** `count` requests with as many outstanding as there are operations; resolves to seconds. */
export class Run {
  readonly #peer: RpcPeer;
  readonly #count: number;
  #next = 0;
  #done = 0;
  #began = 0;
  #resolve!: (seconds: number) => void;
  fail!: (error: Error) => void;

  private constructor(peer: RpcPeer, count: number) {
    this.#peer = peer;
    this.#count = count;
  }

  static execute(
    endpoint: { readonly reactor: Reactor },
    peer: RpcPeer,
    count: number,
    operations: BenchOperation[],
  ): Promise<number> {
    const run = new Run(peer, count);
    return new Promise((resolve, reject) => {
      run.#resolve = resolve;
      run.fail = reject;
      run.#began = performance.now();
      for (const operation of operations) {
        operation.run = run;
        run.#issue(operation);
      }
      endpoint.reactor.requestTurn();
    });
  }

  #issue(operation: BenchOperation): void {
    if (this.#next >= this.#count) return;
    operation.prepare(this.#next++);
    this.#peer.call(operation);
  }

  completed(operation: BenchOperation): void {
    this.#done++;
    if (this.#done === this.#count) this.#resolve((performance.now() - this.#began) / 1000);
    else this.#issue(operation);
  }
}
