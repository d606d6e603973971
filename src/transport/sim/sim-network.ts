/**
 * The simulated network between nodes: connections that keep their order, with seeded delays that
 * differ between connections, that break and lose what is on its way, and pairs of nodes that are
 * cut off from each other for a while.
 *
 * A frame's way:  send ── flush ──> queued ── out: copied, slots given back ──> on its way ──> arrived
 *
 * Frames are copied from the sender's arena when they are "out", which is later than `send`: memory
 * that its owner changes too early arrives changed. A break loses a random tail of what is on its
 * way, in each direction by itself, and the two ends learn of it at different times: until then the
 * one that has not learnt goes on receiving what the other sent before.
 */
import type { SimScheduler } from './sim-scheduler.js';
import type { SimWorld } from './sim-world.js';

export interface SimNetworkOptions {
  /** Delay of a frame: `delayMs` plus up to `jitterMs`, seldom ten times as much. */
  delayMs?: number;
  jitterMs?: number;
  /** Probability that a frame breaks its connection. */
  breakRate?: number;
}

/** A frame on its way; its bytes are its own. */
export interface SimFrame {
  message: Uint8Array;
  /** Null: without bulk. */
  bulk: Uint8Array | null;
  /** When it arrives at the earliest; the network's to fill. */
  atMs: number;
}

/** What a transport does with its end of a connection. */
export interface SimReceiver {
  readonly scheduler: SimScheduler;
  /** False: no bulk slot is free, try again soon. `partial`: the break came in the bulk. */
  frameArrived(connection: number, frame: SimFrame, partial: boolean): boolean;
  opened(connection: number, incoming: boolean): void;
  closed(connection: number, reason: string): void;
}

/** One end of a connection: what was sent to it and has not arrived. */
export class SimEnd {
  readonly node: string;
  readonly receiver: SimReceiver;
  /** The receiver's number of this connection. */
  readonly number: number;
  peer: SimEnd | null = null;
  readonly incoming: SimFrame[] = [];
  /** When the frame sent last arrives: none arrives before it, so that order is kept. */
  lastMs = 0;
  open = true;
  /** The connection is broken; this end has not been told yet. */
  broken = false;
  /** A delivery is scheduled. */
  scheduled = false;

  constructor(node: string, receiver: SimReceiver, number: number) {
    this.node = node;
    this.receiver = receiver;
    this.number = number;
  }
}

export interface SimListener {
  readonly node: string;
  readonly receiver: SimReceiver;
  /** A number for the incoming connection. */
  accept(end: (number: number) => SimEnd): SimEnd;
}

const RETRY_MS = 0.5;
const CLOSE_NOTICE_MAX_MS = 300;

export class SimNetwork {
  readonly world: SimWorld;
  readonly #delayMs: number;
  readonly #jitterMs: number;
  /** May be changed at any time. */
  breakRate: number;
  readonly #listeners = new Map<string, SimListener>();
  readonly #ends = new Set<SimEnd>();
  readonly #cuts = new Set<string>();

  constructor(world: SimWorld, options: SimNetworkOptions = {}) {
    this.world = world;
    this.#delayMs = options.delayMs ?? 0.05;
    this.#jitterMs = options.jitterMs ?? 0.1;
    this.breakRate = options.breakRate ?? 0;
  }

  /** False when the address is in use. */
  listen(node: string, port: number, listener: SimListener): boolean {
    const address = `${node}:${port}`;
    if (this.#listeners.has(address)) return false;
    this.#listeners.set(address, listener);
    return true;
  }

  /** Nothing listens at any port of this receiver from now on. */
  unlisten(receiver: SimReceiver): void {
    for (const [address, listener] of [...this.#listeners]) {
      if (listener.receiver === receiver) this.#listeners.delete(address);
    }
  }

  /** Connects `client`'s end to whatever listens at `node:port`; refused when nothing does. */
  connect(client: SimEnd, node: string, port: number): void {
    this.#ends.add(client);
    this.world.schedule(this.#delay(), () => {
      if (!client.open) return;
      if (this.#isCut(client.node, node)) {
        // As a lost SYN: nothing is heard; it is tried again once.
        this.world.schedule(1000, () => {
          if (client.open && client.peer === null) this.connect(client, node, port);
        });
        return;
      }
      const listener = this.#listeners.get(`${node}:${port}`);
      if (!listener?.receiver.scheduler.alive) {
        this.#closeEnd(client, 'ECONNREFUSED');
        return;
      }
      const server = listener.accept((number) => new SimEnd(node, listener.receiver, number));
      this.#ends.add(server);
      server.peer = client;
      client.peer = server;
      this.world.trace(`open ${client.node} ${node}`, client.number, server.number);
      this.#deliver(server, () => {
        server.receiver.opened(server.number, true);
      });
      this.world.schedule(this.#delay(), () => {
        this.#deliver(client, () => {
          client.receiver.opened(client.number, false);
        });
      });
    });
  }

  #delay(): number {
    const random = this.world.random;
    const jitter = random.next() * this.#jitterMs;
    return this.#delayMs + (random.chance(0.02) ? 10 * jitter : jitter);
  }

  #deliver(end: SimEnd, event: () => void): void {
    end.receiver.scheduler.deliver(() => {
      if (end.open) event();
    });
  }

  /** Puts a frame on its way from this end. */
  transmit(from: SimEnd, frame: SimFrame): void {
    const to = from.peer;
    if (to === null || !to.open || from.broken || to.broken) return;
    to.lastMs = Math.max(to.lastMs, this.world.nowMs + this.#delay());
    frame.atMs = to.lastMs;
    to.incoming.push(frame);
    this.#schedule(to);
    if (this.breakRate > 0 && this.world.random.chance(this.breakRate)) {
      this.world.schedule(this.world.random.next() * 2 * this.#delayMs, () => {
        this.breakConnection(from);
      });
    }
  }

  #schedule(end: SimEnd): void {
    const first = end.incoming[0];
    if (end.scheduled || first === undefined) return;
    end.scheduled = true;
    this.world.schedule(first.atMs - this.world.nowMs, () => {
      end.receiver.scheduler.deliver(() => {
        end.scheduled = false;
        this.#arrive(end);
      });
    });
  }

  #arrive(end: SimEnd): void {
    while (end.open && end.incoming.length > 0) {
      // Cut off: what is on its way waits, as behind a lost segment.
      if (end.peer !== null && this.#isCut(end.node, end.peer.node)) return;
      const frame = end.incoming[0]!;
      if (frame.atMs > this.world.nowMs) break;
      if (!end.receiver.frameArrived(end.number, frame, false)) {
        frame.atMs = this.world.nowMs + RETRY_MS;
        break;
      }
      end.incoming.shift();
    }
    if (end.open) this.#schedule(end);
  }

  /** Breaks a connection as a failing network does: see the head of this file. */
  breakConnection(end: SimEnd): void {
    if (!end.open || end.broken) return;
    this.#breakEnd(end, 'connection lost');
    if (end.peer !== null) this.#breakEnd(end.peer, 'connection lost');
  }

  #breakEnd(end: SimEnd, reason: string): void {
    if (!end.open || end.broken) return;
    end.broken = true;
    const random = this.world.random;
    const kept = random.below(end.incoming.length + 1);
    const cutFrame = end.incoming[kept];
    end.incoming.length = kept;
    if (cutFrame !== undefined && kept === 0 && cutFrame.bulk !== null && random.chance(0.5)) {
      this.#deliver(end, () => {
        end.receiver.frameArrived(end.number, cutFrame, true);
      });
    }
    this.world.trace(`break ${end.node}`, end.number, kept);
    const noticeMs = random.chance(0.5) ? this.#delay() : random.next() * CLOSE_NOTICE_MAX_MS;
    this.world.schedule(noticeMs, () => {
      this.#closeEnd(end, reason);
    });
  }

  /** The end is told; nothing arrives there any more. */
  #closeEnd(end: SimEnd, reason: string): void {
    if (!end.open) return;
    this.#deliver(end, () => {
      this.forget(end);
      this.world.trace(`closed ${end.node}`, end.number);
      end.receiver.closed(end.number, reason);
    });
  }

  /** This end is closed by its owner, who tells itself; the other end learns of it in time. */
  closeByOwner(end: SimEnd): void {
    if (!end.open) return;
    this.forget(end);
    const peer = end.peer;
    if (peer === null || !peer.open || peer.broken) return;
    peer.broken = true;
    // An orderly close: what was sent before arrives before, except that some of it is lost.
    const lastMs = Math.max(0, peer.lastMs - this.world.nowMs);
    if (this.world.random.chance(0.3)) peer.incoming.length = 0;
    this.world.schedule(lastMs + this.#delay(), () => {
      this.#closeEnd(peer, 'closed by the peer');
    });
  }

  forget(end: SimEnd): void {
    end.open = false;
    end.incoming.length = 0;
    this.#ends.delete(end);
  }

  /** The node is gone (killed): its listeners and connections with it. */
  crash(node: string): void {
    this.world.trace(`crash ${node}`);
    for (const [address, listener] of [...this.#listeners]) {
      if (listener.node === node) this.#listeners.delete(address);
    }
    for (const end of [...this.#ends]) {
      if (end.node !== node) continue;
      this.forget(end);
      if (end.peer !== null) this.#breakEnd(end.peer, 'ECONNRESET');
    }
  }

  /** Breaks each connection of this pair of nodes. */
  breakBetween(a: string, b: string): void {
    for (const end of [...this.#ends]) {
      if (end.node === a && end.peer?.node === b) this.breakConnection(end);
    }
  }

  /** From now on nothing passes between the two nodes; connections stay open and silent. */
  partition(a: string, b: string): void {
    this.world.trace(`cut ${a} ${b}`);
    this.#cuts.add(pair(a, b));
  }

  heal(a: string, b: string): void {
    this.world.trace(`heal ${a} ${b}`);
    this.#cuts.delete(pair(a, b));
    for (const end of this.#ends) this.#schedule(end);
  }

  #isCut(a: string, b: string): boolean {
    return this.#cuts.has(pair(a, b));
  }
}

function pair(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`;
}
