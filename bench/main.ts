/**
 * Entry point of `npm run bench`: node dist/bench/main.js [rpc|meta|data|fuse|posix|sharing|intercept|all] [--tiny] [--json]
 *
 * --tiny runs every bench for an instant, so that the tests keep them from rotting; its figures
 * mean nothing. --inside is for the run inside a cluster.
 */
import { printReport } from './report.js';
import { runInside, runSuite, suiteNames } from './suites.js';

const flags = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const named = process.argv.slice(2).find((argument) => !argument.startsWith('--')) ?? 'all';
const suite = suiteNames.find((name) => name === named);
if (suite === undefined) {
  console.error(`bench: '${named}' is not a suite; expected one of ${suiteNames.join(', ')}`);
  process.exit(2);
}
const tiny = flags.includes('--tiny');
if (flags.includes('--inside')) {
  printReport(await runInside(suite, tiny), true);
} else {
  printReport(await runSuite(suite, tiny), flags.includes('--json'));
}
