// Mocha's spec reporter, which also appends "passed failed pending" to the file named by
// SEALFS_COUNTS, and what failed to the one beside it, so that a run of several suites can close
// with one line of counts and all of its failures.
'use strict';
const { appendFileSync } = require('node:fs');
const { reporters } = require('mocha');

// What one failure may take of the list. All of it is in the step's own output.
const FAILURE_LENGTH = 700;

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const file = process.env.SEALFS_COUNTS;
    if (file === undefined) return;
    runner.on('fail', (test, error) => {
      const text = String(error?.stack ?? error).slice(0, FAILURE_LENGTH);
      appendFileSync(`${file}.failures`, `* ${test.fullTitle()}\n${text}\n\n`);
    });
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      appendFileSync(file, `${passes} ${failures} ${pending}\n`);
    });
  }
};
