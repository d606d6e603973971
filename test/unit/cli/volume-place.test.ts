/** VOLUME:PATH and local paths are told apart as scp does it. */
import assert from 'node:assert/strict';
import { parsePlace, requirePlace } from '../../../src/cli/volume-place.js';

describe('places in volumes', () => {
  it('have a volume before the first colon', () => {
    assert.deepEqual(parsePlace('v:/a/b'), { volume: 'v', path: '/a/b' });
    assert.deepEqual(parsePlace('v:a//./b/'), { volume: 'v', path: '/a/b' });
    assert.deepEqual(parsePlace('v:'), { volume: 'v', path: '/' });
    assert.deepEqual(parsePlace('v:/x:y'), { volume: 'v', path: '/x:y' });
  });

  it('are local without one', () => {
    for (const text of ['a', './a:b', '/a:b', 'a/b:c']) assert.equal(parsePlace(text), undefined);
    assert.throws(() => requirePlace('./a'), /expected VOLUME:PATH/);
    assert.throws(() => parsePlace('no volume:/a'), /not a volume name/);
  });
});
