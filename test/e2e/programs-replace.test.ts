/**
 * Replacing a file as package managers and editors do: a temporary file is written, synced, renamed over
 * the old one. Whoever reads meanwhile, here or on another client, sees one version, whole, and
 * never an older one than was there when it began to look.
 */
import assert from 'node:assert/strict';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { ground, rounds } from './programs-ground.js';
import type { Ground } from './programs-ground.js';

const readersEach = 2;
/** errno(3); Node has no name for it. */
const ESTALE = 116;

/** Version `n` of the file: its number, again and again, for a length that follows from it. */
function content(n: number): Buffer {
  const lengths = [100, 3000, 9000, 60_000, 1_200_000];
  return Buffer.alloc(lengths[n % lengths.length]!, `version ${`${n}`.padStart(11)}\n`);
}

function versionOf(data: Buffer): number {
  const n = Number(data.subarray(8, 19).toString());
  assert.ok(data.equals(content(n)), `${data.length} bytes that begin with version ${n} are torn`);
  return n;
}

describe('rename over a file that is read', function () {
  this.timeout(60_000 + rounds * 30_000);
  let place: Ground;

  before(async () => {
    place = await ground();
  });

  async function replaceAndRead(name: string, temporary: (n: number) => string): Promise<void> {
    const path = join('replace', name);
    const versions = 60 * rounds;
    let published = -1;
    let done = false;
    let reads = 0;
    const publish = async (n: number): Promise<void> => {
      const from = join(place.mount, temporary(n));
      const file = await open(from, 'wx');
      await file.writeFile(content(n));
      await file.sync();
      await file.close();
      await rename(from, join(place.mount, path));
      published = n;
    };
    const read = async (mount: string): Promise<void> => {
      while (!done) {
        const least = published;
        const data = await readFile(join(mount, path)).catch((error: NodeJS.ErrnoException) => {
          // The kernel looks again when a file was replaced between its name and its inode, but
          // only once (docs/client.md, "Open and unlinked").
          if (error.errno === -ESTALE) return undefined;
          throw error;
        });
        if (data === undefined) continue;
        const found = versionOf(data);
        assert.ok(found >= least, `read version ${found} after version ${least} was there`);
        reads++;
      }
    };
    const write = async (): Promise<void> => {
      for (let n = 1; n <= versions; n++) await publish(n);
      done = true;
    };
    await publish(0);
    const readers = [place.mount, place.other].flatMap((mount) =>
      Array.from({ length: readersEach }, () => read(mount)),
    );
    await Promise.all([write(), ...readers]).finally(() => (done = true));
    assert.ok(reads > versions / 4, `only ${reads} reads`);
    assert.equal(versionOf(await readFile(join(place.other, path))), versions);
  }

  it('in its directory is seen whole by all', async () => {
    await mkdir(join(place.mount, 'replace'));
    await replaceAndRead('file', (n) => join('replace', `file.${n % 2}.new`));
  });

  it('from other directories too', async () => {
    for (let i = 0; i < 8; i++) await mkdir(join(place.mount, `replace/from-${i}`));
    await replaceAndRead('moved', (n) => join('replace', `from-${n % 8}`, 'new'));
  });
});
