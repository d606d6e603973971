/** What bin/sealfs.js imports and what sealfs starts its own child processes with. */
import { runProgram } from './program.js';

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of our output has what it wanted (`sealfs … | head`).
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

// Output is written synchronously on Linux, so nothing is lost; an open handle must not keep a
// finished command alive.
process.exit(await runProgram(process.argv.slice(2)));
