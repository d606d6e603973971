/**
 * A mount in a process of its own that tells what it has been asked, and has asked (counted-mount.ts): node counting-mount.js MANAGER
 * MOUNTPOINT. Prints `ready`; then, for each line on standard input, MountCounts so far.
 */
import { startMount } from '../../src/client/mount.js';
import { ManagerClient } from '../../src/common/manager-client.js';

const [managerUrl, mountPoint] = process.argv.slice(2);
if (managerUrl === undefined || mountPoint === undefined) throw new Error('see the head comment');
const volume = (await new ManagerClient(managerUrl).volumes())[0]!;
const mount = await startMount({ managerUrl, volume, mountPoint, noatime: true });
process.on('SIGTERM', () => {
  void mount.unmount().then(() => {
    process.exit(0);
  });
});
process.stdin.on('data', () => {
  const { requests, operations } = mount.stats();
  process.stdout.write(`${JSON.stringify({ requests, operations })}\n`);
});
process.stdout.write('ready\n');
