/**
 * The rdma transport as a fixture of the transport suite, on two devices of the Soft-RoCE machine:
 * servers listen on SEALFS_RDMA_SERVER, clients leave from SEALFS_RDMA_CLIENT.
 */
import { RdmaTransport } from '../../src/transport/rdma.js';
import { timeScale } from '../unit/transport/endpoint.js';
import { ReactorFixture } from '../unit/transport/reactor-fixture.js';

export const serverAddress = process.env['SEALFS_RDMA_SERVER'] ?? '10.77.0.2';
export const clientAddress = process.env['SEALFS_RDMA_CLIENT'] ?? '10.77.0.1';

/** Receive buffers for a dozen connections. */
const RECEIVE_AREAS = 4;

export function makeFixture(): ReactorFixture {
  return new ReactorFixture(serverAddress, RECEIVE_AREAS, (arena, reactor, role) => {
    const connectTimeoutMs = 2000 * timeScale;
    if (role === 'server') return new RdmaTransport(arena, reactor, { connectTimeoutMs });
    return new RdmaTransport(arena, reactor, { connectTimeoutMs, source: clientAddress });
  });
}
