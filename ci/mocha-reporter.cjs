// Mocha's spec reporter, which also appends "passed failed pending" to the file named by
// SEALFS_COUNTS, so that a run of several suites can close with one line of counts.
'use strict';
const { appendFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const file = process.env.SEALFS_COUNTS;
    if (file === undefined) return;
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      appendFileSync(file, `${passes} ${failures} ${pending}\n`);
    });
  }
};
