/**
 * Creates and closes files: node create-files.js DIRECTORY PREFIX COUNT. Waits for a line on standard input, so that
 * several begin together, and prints a line when it is ready and another when it is done.
 */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const [directory, prefix, count] = process.argv.slice(2);
if (directory === undefined || prefix === undefined) throw new Error('DIRECTORY PREFIX COUNT');
console.log('ready');
const lines = createInterface({ input: process.stdin });
await new Promise((resolve) => lines.once('line', resolve));
for (let i = 0; i < Number(count); i++) {
  closeSync(openSync(join(directory, `${prefix}-${i}`), 'wx'));
}
console.log('done');
lines.close();
