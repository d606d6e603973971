/**
 * Simulations that are the same each time for a seed, in batches: SEALFS_SIM_FIRST is the first of
 * `seeds` seeds; SEALFS_SIM_SEED runs just this one and prints its trace's hash.
 */
import assert from 'node:assert/strict';

const onlySeed = process.env['SEALFS_SIM_SEED'];
const firstSeed = Number(process.env['SEALFS_SIM_FIRST'] ?? '1');
const BATCH = 50;

/** `outcome`: what is said of the seeds. `play` resolves to the trace's hash. */
export function describeSeeds(
  title: string,
  outcome: string,
  seeds: number,
  play: (seed: number) => Promise<string>,
): void {
  describe(title, function () {
    this.timeout(3_600_000);

    if (onlySeed !== undefined) {
      it(`seed ${onlySeed}`, async () => {
        console.log(`trace ${await play(Number(onlySeed))}`);
      });
      return;
    }

    it('a seed gives the same run each time', async () => {
      assert.equal(await play(4711), await play(4711));
    });

    for (let from = firstSeed; from < firstSeed + seeds; from += BATCH) {
      const to = Math.min(from + BATCH, firstSeed + seeds) - 1;
      it(`seeds ${from} to ${to} ${outcome}`, async () => {
        for (let seed = from; seed <= to; seed++) await play(seed);
      });
    }
  });
}
