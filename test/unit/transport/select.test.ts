/** What `--transport` comes to on a given machine. Protects: kinds, their order, memory, the one line. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { RdmaState } from '../../../src/native/rdma-state.js';
import { describePlan, localHome, planTransport } from '../../../src/transport/select.js';
import type { PlanRequest, TransportPlan } from '../../../src/transport/select.js';

const device = {
  ...{ name: 'rxe0', type: 'RoCE v2', state: 'ACTIVE', interfaces: ['net0'], gids: 2 },
  addresses: ['10.77.0.1'],
};
const good: RdmaState = { devices: [device], problems: [] };
const none: RdmaState = { devices: [], problems: [{ what: 'no device', mend: 'get one' }] };
const shape = { messageSlots: 512, bulkSlots: 64 };

function plan(state: RdmaState, request: Omit<PlanRequest, 'shape'>): TransportPlan {
  return planTransport({ ...request, shape }, () => state);
}

describe('transport selection', () => {
  it('auto takes rdma first, and says why when it does not', () => {
    const both = plan(good, { choice: 'auto', role: 'client' });
    assert.deepEqual(both.kinds, ['rdma', 'tcp']);
    assert.equal(describePlan(both), 'transport: rdma, tcp where that cannot be had');
    const tcp = plan(none, { choice: 'auto', role: 'client' });
    assert.deepEqual(tcp.kinds, ['tcp']);
    assert.equal(describePlan(tcp), 'transport: tcp (no device)');
  });

  it('tcp does not look at devices; rdma is alone, or an error in one line', () => {
    const never = (): RdmaState => {
      throw new Error('looked');
    };
    const tcp = planTransport({ choice: 'tcp', role: 'server', shape }, never);
    assert.deepEqual(tcp.kinds, ['tcp']);
    assert.equal(describePlan(tcp), 'transport: tcp');
    assert.deepEqual(plan(good, { choice: 'rdma', role: 'server' }).kinds, ['rdma']);
    const insist = (): unknown => plan(none, { choice: 'rdma', role: 'client' });
    assert.throws(insist, { code: 'USAGE', message: '--transport rdma: no device; get one' });
  });

  it('a server listens on an address of a device, or on all of them', () => {
    const at = (choice: 'auto' | 'rdma', host: string): TransportPlan =>
      plan(good, { choice, role: 'server', host });
    assert.deepEqual(at('auto', '127.0.0.1').kinds, ['tcp']);
    assert.match(at('auto', '127.0.0.1').note, /no RDMA device has the address 127\.0\.0\.1/);
    for (const host of ['10.77.0.1', '0.0.0.0', '::', 'node1']) {
      assert.deepEqual(at('auto', host).kinds, ['rdma', 'tcp'], host);
    }
    assert.throws(() => at('rdma', '127.0.0.1'), { message: /listen on 10\.77\.0\.1$/ });
  });

  it('gives arenas receive areas only for what is in use', () => {
    const areas = (state: RdmaState, request: Omit<PlanRequest, 'shape'>): number =>
      plan(state, request).shape.receiveAreas!;
    assert.equal(areas(none, { choice: 'auto', role: 'server' }), 1);
    assert.equal(areas(good, { choice: 'auto', role: 'server' }), 1 + 8);
    assert.equal(areas(good, { choice: 'auto', role: 'client' }), 1 + 4);
    assert.equal(areas(good, { choice: 'rdma', role: 'client' }), 4);
    assert.equal(areas(good, { choice: 'tcp', role: 'client' }), 1);
  });

  it('gives room for memory of programs to clients alone', () => {
    const shares = (state: RdmaState, request: Omit<PlanRequest, 'shape'>): number =>
      plan(state, request).shape.shares!;
    assert.equal(shares(good, { choice: 'tcp', role: 'client' }), 64);
    assert.equal(shares(none, { choice: 'auto', role: 'client' }), 64);
    assert.equal(shares(good, { choice: 'auto', role: 'client' }), 64);
    assert.equal(shares(none, { choice: 'auto', role: 'server' }), 0);
  });

  it('asks for all arenas of the process what may be locked', () => {
    let asked = 0;
    const look = (lockedBytes: number): RdmaState => {
      asked = lockedBytes;
      return good;
    };
    planTransport({ choice: 'auto', role: 'server', shape, arenas: 1 }, look);
    const one = asked;
    planTransport({ choice: 'auto', role: 'server', shape, arenas: 3 }, look);
    assert.equal(asked, 3 * one);
    assert.ok(one > 64 * 2 ** 20);
  });

  it('a cluster on one machine is at home on loopback, or on a device', () => {
    assert.equal(
      localHome('tcp', () => good),
      '127.0.0.1',
    );
    assert.equal(
      localHome('auto', () => good),
      '10.77.0.1',
    );
    assert.equal(
      localHome('auto', () => none),
      '127.0.0.1',
    );
    assert.throws(() => localHome('rdma', () => none), { code: 'USAGE' });
  });
});
