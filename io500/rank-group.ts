/**
 * All ranks of one run, and the exchange of one phase between them:
 *
 *   prepare → every rank `ready` → go → (write phases: every rank `wall` → until the largest count;
 *   find: directories handed out until all ranks are idle and none is left) → every rank `done`
 *
 * The first failure of a rank fails the phase; the caller then stops the group.
 */
import { SealfsError } from '../src/common/errors.js';
import { RankProcess } from './rank-process.js';

export interface RankOutcome {
  count: number;
  /** CLOCK_MONOTONIC nanoseconds. */
  startNs: number;
  endNs: number;
  found: number;
  wallCount: number | undefined;
  wallNs: number | undefined;
}

export interface PhaseRequest {
  name: string;
  /** How many ranks, from rank 0 on, take part. */
  participants: number;
  argumentsOf: (rank: number) => string;
  /** Called with the sum of the ranks' counts as they report them. */
  onProgress: (operations: number) => void;
}

/** One phase in the making; ends by resolving or rejecting `outcome`, once. */
class Exchange {
  readonly outcome: Promise<RankOutcome[]>;
  private resolve!: (outcomes: RankOutcome[]) => void;
  private reject!: (error: Error) => void;
  private readonly request: PhaseRequest;
  private readonly ranks: readonly RankProcess[];
  private readonly done: (RankOutcome | undefined)[];
  private readonly walls: ({ count: number; ns: number } | undefined)[];
  private readonly counts: number[];
  private readonly idle: number[] = [];
  private readonly directories: string[] = ['.'];
  private ready = 0;

  constructor(request: PhaseRequest, ranks: readonly RankProcess[]) {
    this.request = request;
    this.ranks = ranks.slice(0, request.participants);
    this.done = this.ranks.map(() => undefined);
    this.walls = this.ranks.map(() => undefined);
    this.counts = this.ranks.map(() => 0);
    this.outcome = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    for (const rank of this.ranks) {
      rank.send(`prepare ${request.name} ${request.argumentsOf(rank.rank)}`);
    }
  }

  cancel(error: Error): void {
    this.reject(error);
  }

  fail(rank: number, reason: string): void {
    const verification = reason.startsWith('verification failed');
    const text = `io500: ${this.request.name} failed on rank ${rank}: ${reason}`;
    this.reject(new SealfsError(verification ? 'CORRUPT' : 'FAILED', text));
  }

  onLine(rank: number, line: string): void {
    const space = line.indexOf(' ');
    const word = space < 0 ? line : line.slice(0, space);
    const rest = space < 0 ? '' : line.slice(space + 1);
    switch (word) {
      case 'ready':
        this.ready++;
        if (this.ready === this.ranks.length) this.broadcast('go');
        return;
      case 'at':
        this.onProgress(rank, Number(rest));
        return;
      case 'wall':
        this.onWall(rank, rest);
        return;
      case 'dir':
        this.directories.push(rest);
        this.handOut();
        return;
      case 'idle':
        this.idle.push(rank);
        this.handOut();
        return;
      case 'done':
        this.onDone(rank, rest);
        return;
      case 'fail':
        this.fail(rank, rest);
        return;
      default:
        this.fail(rank, `it answered '${line}'`);
    }
  }

  private broadcast(line: string): void {
    for (const rank of this.ranks) rank.send(line);
  }

  private onProgress(rank: number, count: number): void {
    this.counts[rank] = count;
    this.request.onProgress(this.counts.reduce((sum, one) => sum + one, 0));
  }

  private onWall(rank: number, rest: string): void {
    const [count, ns] = rest.split(' ').map(Number);
    this.walls[rank] = { count: count!, ns: ns! };
    const counts = this.walls.map((wall) => wall?.count ?? -1);
    if (!counts.includes(-1)) this.broadcast(`until ${Math.max(...counts)}`);
  }

  private handOut(): void {
    while (this.idle.length > 0 && this.directories.length > 0) {
      this.ranks[this.idle.pop()!]!.send(`scan ${this.directories.pop()!}`);
    }
    if (this.idle.length === this.ranks.length) this.broadcast('end');
  }

  private onDone(rank: number, rest: string): void {
    const [count, startNs, endNs, found] = rest.split(' ').map(Number);
    const wall = this.walls[rank];
    this.done[rank] = {
      count: count!,
      startNs: startNs!,
      endNs: endNs!,
      found: found!,
      wallCount: wall?.count,
      wallNs: wall?.ns,
    };
    const outcomes = this.done.filter((outcome) => outcome !== undefined);
    if (outcomes.length === this.ranks.length) this.resolve(outcomes);
  }
}

export class RankGroup {
  private readonly ranks: RankProcess[] = [];
  private exchange: Exchange | undefined;
  private greeted = 0;
  private stopping = false;
  /** Why the group is of no more use: a rank has gone. */
  private broken: Error | undefined;
  private onGreeted: () => void = () => undefined;
  private onBroken: (error: Error) => void = () => undefined;

  /** Starts `np` ranks on the data directory `dir` and waits until all of them answer. */
  static async start(
    binary: string,
    np: number,
    seed: number,
    dir: string,
    preload: string | undefined,
  ): Promise<RankGroup> {
    const group = new RankGroup();
    const greeted = new Promise<void>((resolve, reject) => {
      group.onGreeted = resolve;
      group.onBroken = reject;
    });
    const handler = group.onLine.bind(group);
    for (let rank = 0; rank < np; rank++) {
      group.ranks.push(new RankProcess(binary, { rank, np, seed, dir, preload }, handler));
    }
    try {
      await greeted;
    } catch (error) {
      await group.stop();
      throw error;
    }
    return group;
  }

  async runPhase(request: PhaseRequest): Promise<RankOutcome[]> {
    if (this.broken) throw this.broken;
    this.exchange = new Exchange(request, this.ranks);
    try {
      return await this.exchange.outcome;
    } catch (error) {
      // The other ranks are in the middle of something: they are only good for being killed.
      this.broken ??= error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      this.exchange = undefined;
    }
  }

  /** Fails the phase that runs now, if any. */
  abort(error: Error): void {
    this.broken ??= error;
    this.exchange?.cancel(error);
  }

  /** Ends all ranks. Returns those that could not be killed. */
  async stop(): Promise<number[]> {
    this.stopping = true;
    const gently = this.exchange === undefined && this.broken === undefined;
    const stopped = await Promise.all(this.ranks.map((rank) => rank.stop(gently)));
    return this.ranks.filter((_rank, i) => !stopped[i]).map((rank) => rank.rank);
  }

  private onLine(rank: number, line: string | undefined, reason: string): void {
    if (this.stopping) return;
    if (line === undefined) {
      this.broken ??= new SealfsError('FAILED', `io500: rank ${rank} ${reason}`);
      this.onBroken(this.broken);
      this.exchange?.fail(rank, `it ${reason}`);
    } else if (line.startsWith('hello ')) {
      this.greeted++;
      if (this.greeted === this.ranks.length) this.onGreeted();
    } else if (this.exchange) {
      this.exchange.onLine(rank, line);
    } else if (line.startsWith('fail ')) {
      this.broken ??= new SealfsError('FAILED', `io500: rank ${rank}: ${line.slice(5)}`);
      this.onBroken(this.broken);
    }
  }
}
