/**
 * A mount in a process of its own that tells its counters: node sharing-mount.js MOUNTPOINT leases|timeout. Prints
 * `ready`; then, for each line on standard input, one line of JSON. Runs under `sealfs up`.
 */
import { ManagerClient } from '../src/common/manager-client.js';
import { startMount } from '../src/client/mount.js';

const [mountPoint, coherence] = process.argv.slice(2);
const managerUrl = process.env['SEALFS_MANAGER'];
if (mountPoint === undefined || managerUrl === undefined) throw new Error('see the head comment');
const volume = (await new ManagerClient(managerUrl).volumes())[0]!;
const mount = await startMount({
  managerUrl,
  volume,
  mountPoint,
  ...(coherence === 'timeout' ? { attrSeconds: 0, entrySeconds: 0 } : { coherence: 'leases' }),
});
process.on('SIGTERM', () => {
  void mount.unmount().then(() => {
    process.exit(0);
  });
});
process.stdin.on('data', () => {
  const { requests, releases, requestsOf, framesSent, operations } = mount.stats();
  const counts = { requests, releases, requestsOf, framesSent, operations };
  process.stdout.write(`${JSON.stringify(counts)}\n`);
});
process.stdout.write('ready\n');
