/**
 * Which inputs the fuzz tests try, and for how long. A run begins with seed 1 and goes as far as its
 * time allows, so that a change is judged by inputs that others have passed; SEALFS_FUZZ_SEED=random
 * begins anywhere, to look for new ones, and SEALFS_FUZZ_SEED=n runs that one alone.
 */
const given = process.env['SEALFS_FUZZ_SEED'] ?? '1';

/** How long the tests of a file may take together; 2 by default. */
export const fuzzSeconds = Number(process.env['SEALFS_FUZZ_SECONDS'] ?? '2');

/** The first input. */
export const firstFuzzSeed =
  given === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(given);

/** Runs one seed after the other for `seconds`, at least one; what one throws names it. */
export function fuzzFor(seconds: number, run: (seed: number) => void): void {
  const alone = process.env['SEALFS_FUZZ_SEED'] !== undefined && given !== 'random';
  const end = Date.now() + seconds * 1000;
  let seed = firstFuzzSeed;
  do {
    try {
      run(seed);
    } catch (error) {
      const again = `seed ${seed} (SEALFS_FUZZ_SEED=${seed})`;
      throw new Error(`${again}: ${String(error)}`, { cause: error });
    }
    seed++;
  } while (!alone && Date.now() < end);
}
