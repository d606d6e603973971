#!/usr/bin/env node
// The program as npm installs it: runs the compiled command line.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = new URL('../dist/src/cli/main.js', import.meta.url);
if (existsSync(fileURLToPath(main))) {
  await import(main.href);
} else {
  process.stderr.write('sealfs: this checkout is not built; run npm run setup && npm run build\n');
  process.exitCode = 1;
}
