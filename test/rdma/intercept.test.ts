/**
 * Intercepted programs on a mount over the transport under test: their payload goes to the servers from the memory
 * that they share with the mount process, and back. Protects: that memory is registered with the device while the
 * program runs, and no longer; what comes and goes is right, also when programs are killed in the middle.
 *
 * The mount is in this process, with direct I/O, which is not the default with the machine's kernel (before Linux
 * 6.6): nothing here may wait for the mount in a system call.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startMount } from '../../src/client/mount.js';
import type { Mount } from '../../src/client/mount.js';
import { answeredCalls, preloaded } from '../support/preload.js';
import { RdmaCluster, runProgram, until } from './cluster.js';
import { clientAddress, inMachine, scaled, transport } from './hosts.js';
import { volumeFiles } from './load-files.js';
import type { LoadFiles } from './load-files.js';
import { content } from './model-load.js';

const MEBIBYTE = 1 << 20;
const SHARE_KIB = 4096;

/** VmPin of a text of /proc/PID/status, KiB. */
function pinnedIn(status: string): number {
  return Number(/^VmPin:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN);
}

describe(`intercepted programs over ${transport}`, function () {
  this.timeout(scaled(60_000));
  let cluster: RdmaCluster;
  let mount: Mount;
  let other: LoadFiles;
  let report: string;
  let idleKib: number;

  before(async () => {
    cluster = await RdmaCluster.start();
    const mountPoint = join(cluster.dir, 'mnt');
    mkdirSync(mountPoint);
    mount = await startMount({
      managerUrl: cluster.url,
      volume: await cluster.client.volume('default'),
      mountPoint,
      transport,
      directIo: 'on',
      ...(inMachine ? { bind: clientAddress } : {}),
    });
    other = volumeFiles((await cluster.join()).files);
    report = join(cluster.dir, 'report');
    idleKib = pinnedKib();
  });

  after(async () => {
    await mount?.unmount();
    await cluster?.stop();
  });

  async function run(script: string): Promise<string> {
    const ended = await runProgram('bash', ['-c', `cd "$0"/mnt; ${script}`, cluster.dir], {
      env: { ...process.env, ...preloaded(report) },
      timeoutMs: scaled(50_000),
    });
    assert.equal(ended.status, 0, ended.stdout + ended.stderr);
    return ended.stdout;
  }

  /** Memory of the mount process that devices have pinned, KiB. */
  function pinnedKib(): number {
    return pinnedIn(readFileSync('/proc/self/status', 'utf8'));
  }

  it('write and read back what another client sees', async () => {
    const expected = content(1, 5 * MEBIBYTE + 4711);
    writeFileSync(join(cluster.dir, 'in'), expected);
    for (const size of ['1M', '47008', '4k']) {
      const file = `file-${size}`;
      await run(
        `dd if="$0"/in of=${file} bs=${size} status=none && dd if=${file} of="$0"/out bs=${size} status=none &&
         cmp "$0"/in "$0"/out`,
      );
      assert.ok((await other.read(`/${file}`)).equals(expected), size);
    }
    for (const call of ['write', 'read']) assert.ok(answeredCalls(report, call) > 100, call);
  });

  it('have their memory registered for as long as they run', async function () {
    if (transport !== 'rdma') this.skip();
    await until('the last program to be gone', () => pinnedKib() === idleKib);
    const text = `
file = open("one", "wb", buffering=0)
for i in range(3): file.write(b"some" * 10000)
print(open("/proc/${process.pid}/status").read())`;
    const during = pinnedIn(await run(`python3 -c '${text}'`));
    // The shell may have one, too.
    assert.ok([1, 2].includes((during - idleKib) / SHARE_KIB), `${idleKib}, then ${during} KiB`);
    await until('the memory to be unpinned', () => pinnedKib() === idleKib);
  });

  it('that are killed leave nothing registered, and others go on', async () => {
    const expected = content(2, 3 * MEBIBYTE);
    writeFileSync(join(cluster.dir, 'in'), expected);
    for (let i = 0; i < 5; i++) {
      await run(
        `(while :; do dd if="$0"/in of=victim bs=1M conv=notrunc status=none; done) & victim=$!
         dd if="$0"/in of=kept-${i} bs=1M status=none
         pkill -9 -P $victim; kill -9 $victim; wait $victim; dd if=kept-${i} bs=1M status=none | cmp - "$0"/in`,
      );
      assert.ok((await other.read(`/kept-${i}`)).equals(expected));
    }
    await until('the memory to be unpinned', () => pinnedKib() === idleKib);
    await cluster.assertUnharmed();
  });
});
