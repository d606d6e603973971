/**
 * Protects the rdma transport where there are RDMA devices (docs/rdma-machine.md): all that the suite
 * of transports asks, RPC over it, and that connecting to where nothing is fails with a reason.
 */
import assert from 'node:assert/strict';
import { Pair, pattern, timeScale } from '../unit/transport/endpoint.js';
import { describeRpc } from '../unit/transport/suite-rpc.js';
import { describeTransport } from '../unit/transport/suite.js';
import { makeFixture } from './transport-fixture.js';

describeTransport('rdma', makeFixture, {
  peerModule: new URL('./transport-fixture.js', import.meta.url).href,
  keepsLastWord: true,
});

describeRpc('rdma', makeFixture);

describe('rdma transport', function () {
  this.timeout(30_000 * timeScale);

  it('says why a connect failed, and gives back what was queued', async () => {
    const pair = await Pair.start(makeFixture());
    for (const host of ['10.77.0.77', '192.0.2.1', 'no-such-host.invalid']) {
      const connection = pair.client.transport.connect(host, 9);
      pair.client.send(connection, 64, pattern(1000, 1));
      await pair.until('failure', () => pair.client.isClosed(connection), 10_000);
      assert.match(pair.client.closed.at(-1)![1], new RegExp(`connect to ${host} port 9: .+`));
      await pair.until('slots', () => pair.client.allSlotsFree());
    }
    pair.stop();
  });
});
