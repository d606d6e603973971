/** `sealfs scrub` in words. Protects: bad rates are refused in one line, the summary's figures. */
import assert from 'node:assert/strict';
import { buildProgram } from '../../../src/cli/program.js';
import { describeScrub } from '../../../src/cli/scrub-command.js';

describe('sealfs scrub', () => {
  it('refuses rates that are none', async () => {
    for (const rate of ['0', '1.5', 'fast']) {
      const args = ['scrub', 'start', '--rate', rate];
      await assert.rejects(buildProgram().parseAsync(args, { from: 'user' }), {
        code: 'USAGE',
        message: /^--rate: '.*' is not a whole number from 1/,
      });
    }
  });

  it('says what was checked', () => {
    const status = {
      run: 7,
      running: true,
      bytesPerSecond: 2 ** 26,
      state: 'running' as const,
      checkedBytes: 3 * 2 ** 20,
      checkedExtents: 5,
      damagedExtents: 1,
      skippedExtents: 0,
      targets: [],
    };
    assert.deepEqual(describeScrub(status), [
      'scrub     running, at most 64.0 MiB a second and target',
      'checked   3.00 MiB in 5 extents, 1 damaged',
    ]);
    assert.match(describeScrub({ ...status, skippedExtents: 2 })[2]!, /^skipped +2 extents/);
    assert.match(describeScrub({ ...status, run: 0 })[0]!, /no scrub has been started/);
  });
});
