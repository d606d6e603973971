/**
 * Protects the RPC layer over a real transport: connections are closed under it at random, by either
 * side, and requests are given up, yet each mutation is executed once, no answer is another's, and
 * no memory is written that its owner has taken back. The simulator's tests (exactly-once.test.ts) go
 * further; this one shows that the engine keeps what they rest on. SEALFS_TRANSPORT_SEED repeats a run
 * as far as timing does.
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { RpcClient, type RpcPeer } from '../../../src/transport/rpc-client.js';
import { RpcServer } from '../../../src/transport/rpc-server.js';
import { SimRandom } from '../../../src/transport/sim/sim-random.js';
import type { Transport, TransportHandler } from '../../../src/transport/transport.js';
import {
  CLUSTER_ID,
  CounterOperation,
  CounterService,
  Durable,
  FETCH,
  INCREMENT,
  PEEK,
  STORE,
} from './counter-cluster.js';
import { timeScale, type Side, type TransportFixture } from './endpoint.js';

const { EINTR, ENOMEM } = constants.errno;
const KINDS = [INCREMENT, INCREMENT, STORE, PEEK, FETCH];
const OPERATIONS = timeScale > 1 ? 600 : 2000;
const CLOSES = 8;
const BURST = 24;

/** Notes the open connections of a transport whose handler others set. */
function watchConnections(transport: Transport): Set<number> {
  const open = new Set<number>();
  const setHandler = transport.setHandler.bind(transport);
  transport.setHandler = (handler: TransportHandler) => {
    setHandler({
      onOpen: (connection, incoming) => {
        open.add(connection);
        handler.onOpen(connection, incoming);
      },
      onMessage: (...frame) => {
        handler.onMessage(...frame);
      },
      onClose: (connection, reason) => {
        open.delete(connection);
        handler.onClose(connection, reason);
      },
    });
  };
  return open;
}

type Sides = Record<'client' | 'server', Side>;

/** One client and one target over the fixture's transport. */
class RpcRun {
  readonly #random: SimRandom;
  readonly #sides: Sides;
  readonly #open: Record<keyof Sides, Set<number>>;
  readonly #peer: RpcPeer;
  readonly client: RpcClient;
  readonly server: RpcServer;
  readonly durable = new Durable();
  readonly operations: CounterOperation[] = [];
  pending = 0;
  closes = 0;

  private constructor(sides: Sides, host: string, port: number, seed: number) {
    this.#random = new SimRandom(seed);
    this.#sides = sides;
    const { client, server } = sides;
    this.#open = {
      client: watchConnections(client.transport),
      server: watchConnections(server.transport),
    };
    this.client = new RpcClient(client.transport, client.arena, client.scheduler, {
      clusterId: CLUSTER_ID,
      clientName: 'c',
    });
    const service = new CounterService(this.durable, server.arena, server.scheduler);
    service.slowRate = 0.02;
    this.server = new RpcServer(server.transport, server.arena, server.scheduler, service, {
      clusterId: CLUSTER_ID,
      targetId: 't',
      incarnation: 'only',
    });
    service.server = this.server;
    this.#peer = this.client.peer({ targetId: 't', host, port });
  }

  static async start(fixture: TransportFixture, seed: number): Promise<RpcRun> {
    const sides = { client: fixture.side('client'), server: fixture.side('server') };
    const port = await sides.server.transport.listen(fixture.host, 0);
    return new RpcRun(sides, fixture.host, port, seed);
  }

  /** Calls, gives up and closes, a little of each in a turn of the client's, until all is done. */
  go(): void {
    const { scheduler } = this.#sides.client;
    const turn = (): void => {
      const finished = this.operations.length >= OPERATIONS && this.closes >= CLOSES;
      if (!finished) this.#callSome();
      if (this.#random.chance(0.02)) this.#closeOne();
      if (!finished || this.pending > 0) scheduler.setTimer(1, turn);
    };
    scheduler.setTimer(0, turn);
  }

  get finished(): boolean {
    return this.operations.length >= OPERATIONS && this.closes >= CLOSES && this.pending === 0;
  }

  async stop(fixture: TransportFixture): Promise<void> {
    this.client.close();
    const closed = () => this.#open.client.size + this.#open.server.size === 0;
    assert.ok(await fixture.runUntil(closed, 5000 * timeScale), 'not closed');
    const { client, server } = this.#sides;
    for (const { transport, arena } of [client, server]) {
      transport.shutdown();
      assert.equal(arena.bulk.available, arena.bulk.capacity, 'bulk slots');
    }
    assert.equal(client.arena.messages.available, client.arena.messages.capacity);
    // The server keeps one, to write replies in.
    assert.equal(server.arena.messages.available, server.arena.messages.capacity - 1);
  }

  #callSome(): void {
    const random = this.#random;
    for (let burst = random.below(BURST); burst > 0 && this.pending < 200; burst--) {
      const opcode = KINDS[random.below(KINDS.length)]!;
      const operation = new CounterOperation(
        this.#sides.client,
        opcode,
        this.operations.length + 1,
      );
      if (!operation.prepare()) return;
      this.pending++;
      operation.onDone = () => {
        this.pending--;
      };
      this.operations.push(operation);
      this.#peer.call(operation);
      if (opcode !== FETCH || !random.chance(0.1)) continue;
      const { scheduler } = this.#sides.client;
      scheduler.setTimer(random.below(3), () => {
        this.#peer.cancel(operation);
      });
    }
  }

  #closeOne(): void {
    const end = this.#random.chance(0.5) ? 'client' : 'server';
    for (const connection of this.#open[end]) {
      this.#sides[end].transport.close(connection, 'trouble');
      this.closes++;
    }
  }

  check(): void {
    const results = new Set<number>();
    let mutations = 0;
    for (const { id, opcode, status, doneCount, result } of this.operations) {
      assert.equal(doneCount, 1, `operation ${id} is done once`);
      const excused = opcode === FETCH && (status === EINTR || status === ENOMEM);
      assert.ok(status === 0 || excused, `operation ${id}: status ${status}`);
      if (opcode !== INCREMENT && opcode !== STORE) continue;
      mutations++;
      results.add(result);
      assert.equal(this.durable.applied.get(id), 1, `times that operation ${id} was applied`);
    }
    assert.equal(this.durable.total, mutations);
    assert.equal(results.size, mutations, 'an answer was given twice');
  }
}

export function describeRpc(name: string, makeFixture: () => TransportFixture): void {
  describe(`rpc over ${name}`, function () {
    this.timeout(60_000 * timeScale);

    it('executes each mutation once while its connections are closed', async () => {
      const given = process.env['SEALFS_TRANSPORT_SEED'];
      const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
      const fixture = makeFixture();
      const run = await RpcRun.start(fixture, seed);
      run.go();
      const done = await fixture.runUntil(() => run.finished, 40_000 * timeScale);
      const state = `${run.operations.length} called, ${run.pending} pending, ${run.closes} closes`;
      assert.ok(done, `seed ${seed}: ${state}`);
      run.check();
      await run.stop(fixture);
      fixture.close();
    });
  });
}
