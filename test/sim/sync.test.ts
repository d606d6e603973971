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

/** Changes of a directory's entries with a half on another target, then the power goes everywhere. */
async function directorySurvives(seed: number, syncs: boolean): Promise<boolean> {
  const cluster = buildCluster(seed, { targets: 3, clients: 2 });
  const survives = await cluster.run(async ([writer, reader]) => {
    const { files, core } = writer!;
    await files.ensureRoot();
    for (const path of ['/from', '/to', '/to/gone']) await files.mkdir(path);
    await files.writeFile('/from/file', 'x');
    const root = await files.stat('/');
    const to = await files.stat('/to');
    const sync = async (path: string, inode: number): Promise<void> => {
      const opened = await files.call('opendir', path, (request) => {
        core.openDirectory(request, inode);
      });
      await files.call('fsync', path, (request) => {
        core.fsync(request, opened.handle);
      });
    };
    for (const [path, inode] of [
      ['/', root.inode],
      ['/to', to.inode],
    ] as const) {
      await sync(path, inode);
    }
    await files.mkdir('/to/made');
    await files.rename('/from/file', '/to/file');
    await files.link('/to/file', '/to/link');
    await files.rmdir('/to/gone');
    if (syncs) await sync('/to', to.inode);
    for (const target of cluster.targets) target.losePower();
    for (const target of cluster.targets) target.start();
    const seen = await reader!.files.readdir('/to');
    if (seen.sort().join() !== 'file,link,made') return false;
    assert.ok((await reader!.files.stat('/to/made')).isDirectory());
    assert.equal((await reader!.files.stat('/to/link')).linkCount, 2);
    assert.deepEqual(await reader!.files.readdir('/from'), []);
    return true;
  });
  cluster.end();
  return survives;
}

describe('fsync of a directory', function () {
  this.timeout(60_000);

  it('makes both halves of what happened in it power-safe', async () => {
    let lost = 0;
    for (let seed = 1; seed <= 12; seed++) {
      assert.ok(await directorySurvives(seed, true), `seed ${seed}`);
      lost += (await directorySurvives(seed, false)) ? 0 : 1;
    }
    assert.ok(lost > 0, 'without it something is lost, else this test could not fail');
  });
});
