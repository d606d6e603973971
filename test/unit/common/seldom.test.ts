/** Protects: what is said too often is counted, not logged; nothing is kept back after a pause. */
import assert from 'node:assert/strict';
import { SeldomLog } from '../../../src/common/seldom.js';

describe('a log of what may come often', () => {
  it('says one line in a while, and how many it kept back', () => {
    let now = 5;
    const lines: string[] = [];
    const log = new SeldomLog({ nowMs: () => now }, (line) => lines.push(line), 100);
    for (const at of [5, 6, 104]) {
      now = at;
      log.say(`at ${at}`);
    }
    assert.deepEqual(lines.splice(0), ['at 5']);
    now = 105;
    log.say('at 105');
    now = 300;
    log.say('at 300');
    assert.deepEqual(lines, ['at 105 (2 more of the kind before)', 'at 300']);
  });
});
