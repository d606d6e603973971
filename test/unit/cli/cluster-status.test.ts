/** What `cluster status` says of connections. Protects: the transport in use is told, in words. */
import assert from 'node:assert/strict';
import { describeConnections } from '../../../src/cli/cluster-command.js';

describe('cluster status', () => {
  it('counts connections by transport', () => {
    assert.equal(describeConnections({ rdma: 3, tcp: 1 }), '3 rdma, 1 tcp');
    assert.equal(describeConnections({ rdma: 0, tcp: 2 }), '2 tcp');
    assert.equal(describeConnections({ rdma: 0, tcp: 0 }), 'none');
  });
});
