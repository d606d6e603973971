/** The benchmark by itself, without the rest of sealfs: `node dist/io500/main.js io500 --dir …`. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { SealfsError } from '../src/common/errors.js';
import { registerIo500 } from './cli.js';
import { findUp } from './rank-process.js';

const manifest = JSON.parse(readFileSync(findUp('package.json'), 'utf8')) as { version: string };
const program = new Command('sealfs-bench');
registerIo500(program, { version: `sealfs-${manifest.version}` });
try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof SealfsError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.code === 'USAGE' ? 2 : 1;
}
