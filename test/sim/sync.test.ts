/** What fsync and synchronous writes mean when every target loses power right after the reply. */
import assert from 'node:assert/strict';
import type { OpenFlags } from '../../src/client/volume-files.js';
import { buildCluster } from './cluster.js';

const MIB = 1048576;

function pattern(lengthBytes: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, i) => (i * 7 + (i >> 9)) & 0xff);
}

/** Writes to a striped file, takes the power of all targets away, and reads. */
async function survives(flags: OpenFlags, offset: number, data: Uint8Array): Promise<boolean> {
  const cluster = buildCluster(9, { targets: 3, clients: 2 });
  return cluster.run(async ([writer, reader]) => {
    await writer!.files.ensureRoot();
    const made = await writer!.files.open('/f', 'w');
    await made.write(new Uint8Array(100), 6 * MIB);
    await made.sync();
    made.close();
    const root = await writer!.files.open('/f', 'r');
    await root.sync();
    const file = await writer!.files.open('/f', flags);
    await file.write(data, offset);
    for (const target of cluster.targets) target.losePower();
    for (const target of cluster.targets) target.start();
    const seen = await reader!.files.readFile('/f');
    const at = flags.startsWith('a') ? 6 * MIB + 100 : offset;
    return Buffer.from(seen.subarray(at, at + data.length)).equals(data);
  });
}

describe('synchronous writes', function () {
  this.timeout(60_000);

  it('survive the loss of power, small and striped, inside and appended', async () => {
    for (const [offset, length] of [
      [0, 100],
      [3 * MIB - 10, 20],
      [500_000, 3 * MIB],
      [8 * MIB, 100_000],
    ] as const) {
      assert.ok(await survives('rs+', offset, pattern(length)), `${length} bytes at ${offset}`);
    }
    assert.ok(await survives('as', 0, pattern(70_000)), 'appended');
  });

  it('others need not (else this test could not fail)', async () => {
    assert.equal(await survives('r+', 500_000, pattern(3 * MIB)), false);
  });
});
