/**
 * Other file systems mounted on the volume (docs/leases.md, "The kernel"): they stay, whatever other clients do to the
 * names around them; and those are seen to change at once all the same.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { TestCluster, sleep } from '../support/cluster.js';

const ROUNDS = 30;
/** What the kernel was told of names before something was mounted there is waited for, once. */
const FIRST_MS = 9000;
/** From then on no change waits. */
const LATER_MS = 2000;

function device(path: string): number {
  return fs.statSync(path).dev;
}

describe('file systems that are mounted on a mount', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let one: string;
  let other: string;

  before(async function () {
    if (process.getuid?.() !== 0) this.skip();
    cluster = await TestCluster.start({ servers: 2, targets: 1 });
    one = cluster.mount('one');
    other = cluster.mount('other');
    fs.mkdirSync(join(one, 'd/below/deep'), { recursive: true });
  });

  after(async () => {
    await cluster?.stop();
  });

  /** The other client makes and removes a name; how long that took, in ms. */
  async function change(i: number): Promise<number> {
    const name = `d/name${i % 3}`;
    const began = Date.now();
    assert.equal(fs.existsSync(join(one, name)), false);
    await fs.promises.writeFile(join(other, name), '');
    assert.equal(fs.existsSync(join(one, name)), true, `${i}: made`);
    await fs.promises.unlink(join(other, name));
    assert.equal(fs.existsSync(join(one, name)), false, `${i}: removed`);
    return Date.now() - began;
  }

  for (const place of ['d/below', 'd/below/deep']) {
    it(`stay where they are: ${place}`, async () => {
      const path = join(one, place);
      // It is held as a whole, and the kernel believes it.
      await sleep(1500);
      fs.readdirSync(join(one, 'd'));
      execFileSync('mount', ['-t', 'tmpfs', 'below', path]);
      try {
        fs.writeFileSync(join(path, 'inside'), '');
        const mounted = device(path);
        assert.notEqual(mounted, device(one));
        let tookMs = await change(0);
        assert.ok(tookMs < FIRST_MS, `${tookMs} ms`);
        for (let i = 1; i < ROUNDS; i++) {
          tookMs = await change(i);
          assert.ok(tookMs < LATER_MS, `${tookMs} ms`);
          assert.equal(device(path), mounted, `${i}: it is mounted still`);
        }
        assert.deepEqual(fs.readdirSync(path), ['inside']);
      } finally {
        execFileSync('umount', [path]);
      }
      assert.equal(device(path), device(one));
      for (let i = 0; i < ROUNDS; i++) assert.ok((await change(i)) < LATER_MS);
    });
  }

  it('stay where only another mount namespace has them, with -o submounts', async () => {
    const third = cluster.mount('third', 'submounts');
    fs.mkdirSync(join(third, 's/below'), { recursive: true });
    const script = `set -e
      mount -t tmpfs below "$0/s/below"; touch "$0/s/below/inside"
      for i in $(seq ${ROUNDS}); do
        touch "$1/s/name"; test -e "$0/s/name"
        rm "$1/s/name"; if test -e "$0/s/name"; then exit 3; fi
      done
      ls "$0/s/below"`;
    const args = ['--mount', 'sh', '-c', script, third, other];
    assert.equal(execFileSync('unshare', args, { encoding: 'utf8' }), 'inside\n');
    cluster.unmount(third);
  });
});
