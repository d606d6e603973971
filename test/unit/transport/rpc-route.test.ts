/**
 * Protects the order in which a target's endpoints are tried: the better one is given up only when
 * another answers in its place, for a time that grows, and every change is one line.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { RpcRoute, formatAddress } from '../../../src/transport/rpc-route.js';

const rdma = { kind: 'rdma', host: 'a', port: 1 } as const;
const tcp = { kind: 'tcp', host: 'a', port: 1 } as const;
const HOLD_MS = 30_000;

describe('rpc route', () => {
  let route: RpcRoute;

  beforeEach(() => {
    route = new RpcRoute([rdma, tcp], HOLD_MS);
  });

  it('begins with the first endpoint and says nothing when it answers', () => {
    route.begin(0);
    assert.equal(route.current, rdma);
    assert.equal(route.ready(1), '');
    assert.equal(route.isFallback, false);
  });

  it('falls back with one line and holds the first endpoint for 30 s', () => {
    route.begin(0);
    assert.ok(route.failed(5, 'ECONNREFUSED'));
    assert.equal(route.current, tcp);
    assert.equal(route.ready(6), 'rdma://a:1: ECONNREFUSED; using tcp');
    assert.ok(route.isFallback);
    assert.equal(route.preferredInMs(6), HOLD_MS);
    // The fallback is lost and comes back: nothing new.
    assert.equal(route.failed(100, 'lost'), false);
    route.begin(110);
    assert.equal(route.current, tcp);
    assert.equal(route.ready(111), '');
    route.begin(HOLD_MS + 6);
    assert.equal(route.current, rdma);
    assert.equal(route.ready(HOLD_MS + 7), 'using rdma again');
  });

  it('gives up nothing for a target that is away on all endpoints', () => {
    route.begin(0);
    route.ready(0);
    for (let round = 1; round < 50; round++) {
      assert.ok(route.failed(round, 'ECONNREFUSED'));
      assert.equal(route.failed(round, 'ECONNREFUSED'), false);
      route.begin(round);
      assert.equal(route.current, rdma);
    }
    assert.equal(route.ready(50), '');
  });

  it('holds an endpoint that keeps failing for longer, and one that worked for long shortly', () => {
    let now = 0;
    const holds: number[] = [];
    for (let i = 0; i < 7; i++) {
      route.begin(now);
      assert.equal(route.current, rdma);
      route.ready(now);
      now += 1000;
      route.failed(now, 'retries exceeded');
      route.ready(now);
      holds.push(route.preferredInMs(now) / HOLD_MS);
      now += route.preferredInMs(now);
    }
    assert.deepEqual(holds, [1, 2, 4, 8, 16, 16, 16]);
    route.begin(now);
    route.ready(now);
    now += 16 * HOLD_MS;
    route.failed(now, 'retries exceeded');
    route.ready(now);
    assert.equal(route.preferredInMs(now), HOLD_MS);
  });

  it('takes the last endpoint when all are held, and none when there is none', () => {
    route = new RpcRoute([rdma], HOLD_MS);
    route.begin(0);
    assert.equal(route.failed(0, 'no'), false);
    route.begin(1);
    assert.equal(route.current, rdma);
    assert.ok(route.set([]));
    route.begin(2);
    assert.equal(route.current, undefined);
    assert.equal(route.failed(2, 'no'), false);
    assert.equal(route.set([]), false);
  });

  it('writes addresses as endpoints are written', () => {
    assert.equal(formatAddress(tcp), 'tcp://a:1');
    assert.equal(formatAddress({ host: '::1', port: 2 }), '[::1]:2');
  });
});
