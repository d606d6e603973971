import assert from 'node:assert/strict';
import { namesMatching } from '../../../io500/benchmark.js';
import { peerOf, phases, sourceOf } from '../../../io500/phases.js';
import { geometricMean, rateOf, scoreOf } from '../../../io500/score.js';

describe('io500 scores', () => {
  it('takes geometric means', () => {
    assert.equal(geometricMean([7]), 7);
    assert(Math.abs(geometricMean([2, 8]) - 4) < 1e-12);
    assert(Math.abs(geometricMean([1, 10, 100, 1000]) - 10 ** 1.5) < 1e-9);
  });

  it('is 0 when one phase scores nothing', () => {
    assert.equal(geometricMean([5, 0, 5]), 0);
    assert.equal(geometricMean([]), 0);
    assert.equal(scoreOf([1, 1, 1, 0], [1]).total, 0);
  });

  // The published DAOS result with one server: 89/75/91/76 GiB/s is a mean of 82.4 GiB/s.
  it('agrees with a published result', () => {
    assert(Math.abs(geometricMean([89, 75, 91, 76]) - 82.4) < 0.1);
    const score = scoreOf([4, 4, 4, 4], [9, 9, 9, 9, 9, 9, 9, 9]);
    assert(Math.abs(score.total - 6) < 1e-12);
  });

  it('counts GiB/s and thousands per second', () => {
    assert.equal(rateOf('GiB/s', 2 ** 31, 2), 1);
    assert.equal(rateOf('kIOPS', 3000, 1.5), 2);
    assert.equal(rateOf('kIOPS', 3000, 0), 0);
  });
});

describe('io500 phases', () => {
  it('are 13, of which 4 bandwidths and 8 metadata rates are scored', () => {
    assert.equal(phases.length, 13);
    assert.equal(phases.filter((phase) => phase.group === 'BW').length, 4);
    assert.equal(phases.filter((phase) => phase.group === 'MD').length, 8);
  });

  it('never read their own files when there is another rank, and cover all of them', () => {
    for (let np = 1; np <= 9; np++) {
      for (const shift of [1, 2, 3]) {
        const peers = Array.from({ length: np }, (_one, rank) => peerOf(rank, shift, np));
        assert.equal(new Set(peers).size, np);
        if (np > 1) peers.forEach((peer, rank) => assert.notEqual(peer, rank));
      }
    }
    assert.equal(peerOf(0, 2, 5), 2);
    assert.equal(peerOf(4, 3, 5), 2);
    assert.equal(peerOf(0, 2, 2), 1);
    assert.equal(peerOf(0, 3, 3), 1);
  });

  it('name the phase that wrote their files', () => {
    for (const phase of phases) {
      const source = sourceOf(phase);
      const at = phases.findIndex((one) => one.name === source);
      assert.equal(at >= 0, !phase.writes && phase.name !== 'find', phase.name);
      assert(at < phases.indexOf(phase));
    }
  });

  it('expect as many matching names as mdtest makes', () => {
    // Of 0…101: 101 alone (1, 10 and 100 hold no "01"); in rank 101's names every one.
    assert.equal(namesMatching(1, 102), 1);
    assert.equal(namesMatching(2, 1002), 20);
    assert.equal(namesMatching(102, 10), 10);
  });
});
