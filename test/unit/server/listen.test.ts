/** Where a target listens. Protects: one port for both transports where it can be, and what fails. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { listenOn } from '../../../src/server/listen.js';
import type { ListeningPart } from '../../../src/server/listen.js';

function part(kind: 'rdma' | 'tcp', answer: (port: number) => number | string): ListeningPart {
  return {
    kind,
    transport: {
      listen: (_host, port) => {
        const result = answer(port);
        if (typeof result === 'number') return Promise.resolve(result);
        return Promise.reject(Object.assign(new Error(result), { code: result }));
      },
    },
  };
}

const any = (port: number): number => (port === 0 ? 5000 : port);

describe('listening', () => {
  it('takes the same port on both, the preferred one first in the list', async () => {
    const both = [part('rdma', any), part('tcp', any)];
    assert.deepEqual(await listenOn(both, 'h', 7400), {
      endpoints: [
        { kind: 'rdma', port: 7400 },
        { kind: 'tcp', port: 7400 },
      ],
      failure: '',
    });
    const free = await listenOn(both, 'h', 0);
    assert.deepEqual(
      free.endpoints.map(({ port }) => port),
      [5000, 5000],
    );
  });

  it('takes any port where the two share one space of ports', async () => {
    const iwarp = part('rdma', (port) => (port === 0 ? 6000 : 'EADDRINUSE'));
    const { endpoints, failure } = await listenOn([iwarp, part('tcp', any)], 'h', 7400);
    assert.deepEqual(endpoints[0], { kind: 'rdma', port: 6000 });
    assert.equal(failure, '');
  });

  it('listens on tcp alone when rdma cannot, and says so', async () => {
    const rdma = part('rdma', () => 'ENODEV');
    const { endpoints, failure } = await listenOn([rdma, part('tcp', any)], 'h', 7400);
    assert.deepEqual(endpoints, [{ kind: 'tcp', port: 7400 }]);
    assert.equal(failure, 'rdma cannot listen on h: ENODEV');
  });

  it('fails when tcp cannot, or rdma that is alone', async () => {
    const busy = (): string => 'EADDRINUSE';
    const message = 'cannot listen on h:7400: the port is in use';
    await assert.rejects(listenOn([part('tcp', busy)], 'h', 7400), { code: 'BUSY', message });
    await assert.rejects(listenOn([part('rdma', busy)], 'h', 7400), { code: 'BUSY', message });
    const both = [part('rdma', any), part('tcp', busy)];
    await assert.rejects(listenOn(both, 'h', 7400), { code: 'BUSY', message });
  });
});
