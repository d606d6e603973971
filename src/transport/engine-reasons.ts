/** Why a native engine closed a connection, in words: a Reason of schema/engine.fbs, or an errno. */
import { errnoName } from '../common/errno.js';
import { Reason } from '../native/engine-layout.generated.js';

const texts: Record<number, string> = {
  [Reason.PeerClosed]: 'closed by the peer',
  [Reason.Truncated]: 'closed by the peer in the middle of a frame',
  [Reason.BadMagic]: 'bad frame: wrong magic number',
  [Reason.BadMessageBytes]: 'bad frame: message length out of bounds',
  [Reason.BadBulkBytes]: 'bad frame: bulk length out of bounds',
  [Reason.BadBulkTag]: 'bad frame: bulk tag out of bounds',
  [Reason.NoLanding]: 'bad frame: bulk that was not asked for, or too long',
  [Reason.Stalled]: 'the peer stopped in the middle of a bulk',
  [Reason.SendOverflow]: 'too many frames wait to be sent',
  [Reason.BadSubmission]: 'internal: a frame to send lies outside the arena',
  [Reason.ClosedHere]: 'closed',
  [Reason.BadPrefix]: 'bad frame: malformed transport prefix',
  [Reason.BadDescriptor]: 'bad frame: address, key or length outside what was announced',
  [Reason.CreditOverrun]: 'the peer sent more frames than it had credits for',
  [Reason.VersionMismatch]: 'the peer speaks another version of the transport',
  [Reason.PeerUnreachable]: 'the peer does not answer (retries exceeded)',
  [Reason.RemoteAccess]: 'the peer refused access to its memory',
  [Reason.RemoteOperation]: 'the peer could not execute an operation',
  [Reason.LocalProtection]: 'internal: an operation outside registered memory',
  [Reason.ReceiverNotReady]: 'the peer had no receive buffer ready',
  [Reason.FlushedByPeer]: 'the connection broke while operations were under way',
  [Reason.DeviceGone]: 'the rdma device is gone',
  [Reason.NoReceiveBuffers]: 'no receive buffers are left',
  [Reason.NoWindow]: "the device's memory windows are used up",
  [Reason.NoQueuePair]: 'the device has no queue pair left',
  [Reason.Rejected]: 'the peer rejected the connection',
  [Reason.LandingWithdrawn]: 'closed to withdraw memory from a request that was given up',
  [Reason.CompletionError]: 'an operation failed on the device',
  [Reason.MemoryLocked]:
    'registering the arena failed: the limit of locked memory is too low; raise it with ' +
    '`ulimit -l unlimited` (or LimitMEMLOCK=infinity in the service)',
  [Reason.PeerNoReceiveBuffers]: 'the peer has no receive buffer left for one more connection',
  [Reason.PeerNoQueuePair]: 'the peer has no queue pair left for one more connection',
  [Reason.NoRoute]:
    'no rdma device has a way to this address (`rdma link` shows devices and their net devices)',
  [Reason.DeviceSetup]: 'the rdma device refused what a connection needs (queues, registration)',
};

/** `code` of a Closed or ConnectFailed record. */
export function reasonText(code: number): string {
  return texts[code] ?? errnoName(code);
}
