/**
 * Which way a peer connects to its target: the endpoints in order of preference, what became of them,
 * and when the preferred one is worth another try.
 *
 *   begin ──> preferred that is not held ── failed ──> next one ── failed ──> … none left: back off
 *                  │                                      │
 *                ready                                  ready: those that failed in this round are held
 *
 * An endpoint is *held* only when another one was reached in its place: a target that is away, or
 * restarts, fails on all of them and is no reason to give up the better one. The first hold is
 * `holdMs`; it doubles with each failure that follows, up to `HOLD_DOUBLINGS` times, and is short
 * again once the endpoint has carried a session for as long as its hold was.
 */
import type { TransportAddress } from './transport.js';

const HOLD_DOUBLINGS = 4;

/**
 * A target and where it is reached: one place, or places in order of preference. Without any it
 * counts as away, and `unreachable` says why.
 */
export type TargetAddress =
  | { targetId: string; host: string; port: number }
  | { targetId: string; endpoints: readonly TransportAddress[]; unreachable?: string };

export function endpointsOf(address: TargetAddress): readonly TransportAddress[] {
  if ('endpoints' in address) return address.endpoints;
  return [{ host: address.host, port: address.port }];
}

/** One of a target's endpoints, and its past. */
interface Way {
  readonly address: TransportAddress;
  /** Not tried before: scheduler's milliseconds. */
  heldUntilMs: number;
  /** Failures in a row that were held. */
  holds: number;
  /** Why it failed in this round; '' when it did not. */
  failure: string;
}

export class RpcRoute {
  readonly #holdMs: number;
  #ways: Way[] = [];
  #at = 0;
  /** Where the session was last; -1: nowhere yet. */
  #readyAt = -1;
  #readyMs = 0;
  #isReady = false;

  constructor(endpoints: readonly TransportAddress[], holdMs: number) {
    this.#holdMs = holdMs;
    this.set(endpoints);
  }

  /** Other endpoints; false when they are the same as before. The past is forgotten. */
  set(endpoints: readonly TransportAddress[]): boolean {
    const same =
      endpoints.length === this.#ways.length &&
      endpoints.every((address, i) => sameAddress(address, this.#ways[i]!.address));
    if (same) return false;
    this.#ways = endpoints.map((address) => ({ address, heldUntilMs: 0, holds: 0, failure: '' }));
    this.#at = 0;
    this.#readyAt = -1;
    this.#isReady = false;
    return true;
  }

  /** What is connected to, or was last; undefined: there are no endpoints. */
  get current(): TransportAddress | undefined {
    return this.#ways[this.#at]?.address;
  }

  /** Whether the session is on an endpoint that is not the best one. */
  get isFallback(): boolean {
    return this.#isReady && this.#at > 0;
  }

  /** The endpoint that would be better, for a trial; undefined unless `isFallback`. */
  get preferred(): TransportAddress | undefined {
    return this.isFallback ? this.#ways[0]!.address : undefined;
  }

  /** Milliseconds until the preferred endpoint may be tried again. */
  preferredInMs(nowMs: number): number {
    return Math.max(0, this.#ways[0]!.heldUntilMs - nowMs);
  }

  /** A new round: the best endpoint that is not held. The last one never is. */
  begin(nowMs: number): void {
    for (const way of this.#ways) way.failure = '';
    const free = this.#ways.findIndex((way) => way.heldUntilMs <= nowMs);
    this.#at = free < 0 ? Math.max(0, this.#ways.length - 1) : free;
    this.#isReady = false;
  }

  /** The current endpoint failed; true when there is another one, now current, to try at once. */
  failed(nowMs: number, reason: string): boolean {
    const way = this.#ways[this.#at];
    if (way === undefined) return false;
    if (this.#isReady && nowMs - this.#readyMs >= this.#holdOf(way)) way.holds = 0;
    this.#isReady = false;
    way.failure = reason;
    if (this.#at + 1 >= this.#ways.length) return false;
    this.#at++;
    return true;
  }

  /**
   * The session is on the current endpoint. Returns what is worth a line: why not on a better one,
   * or that it is back on it; '' when neither is news.
   */
  ready(nowMs: number): string {
    const before = this.#readyAt;
    this.#readyAt = this.#at;
    this.#readyMs = nowMs;
    this.#isReady = true;
    const reasons: string[] = [];
    for (let i = 0; i < this.#at; i++) {
      const way = this.#ways[i]!;
      if (way.failure === '') continue;
      this.#hold(way, nowMs);
      reasons.push(`${formatAddress(way.address)}: ${way.failure}`);
    }
    if (before === this.#at) return '';
    const using = this.current!.kind ?? 'it';
    if (reasons.length > 0) return `${reasons.join('; ')}; using ${using}`;
    return before > this.#at ? `using ${using} again` : '';
  }

  /** A trial of `preferred` failed: it is held for longer. */
  preferredFailed(nowMs: number): void {
    this.#hold(this.#ways[0]!, nowMs);
  }

  /** A trial of `preferred` succeeded: the next round begins with it. */
  preferredWorks(): void {
    this.#ways[0]!.heldUntilMs = 0;
  }

  #holdOf(way: Way): number {
    return this.#holdMs * 2 ** Math.max(0, way.holds - 1);
  }

  #hold(way: Way, nowMs: number): void {
    way.holds = Math.min(way.holds + 1, HOLD_DOUBLINGS + 1);
    way.heldUntilMs = nowMs + this.#holdOf(way);
  }
}

function sameAddress(a: TransportAddress, b: TransportAddress): boolean {
  return a.kind === b.kind && a.host === b.host && a.port === b.port;
}

/** As `rdma://10.0.0.1:7400`. */
export function formatAddress({ kind, host, port }: TransportAddress): string {
  const place = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return kind === undefined ? place : `${kind}://${place}`;
}
