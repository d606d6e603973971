/** Runs native/probe (system calls that Node does not offer: mmap, O_APPEND loops, lseek holes). */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';

/** Resolves to the probe's standard output; rejects with its error line. */
export function probe(...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(packageRoot(), 'build/Release/sealfs_probe'), args);
    let out = '';
    let err = '';
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    child.stderr.on('data', (data: Buffer) => (err += data.toString()));
    child.once('error', reject);
    child.once('exit', (status, signal) => {
      if (status === 0) resolve(out);
      else reject(new Error(`probe ${args[0]}: ${err.trim() || (signal ?? `status ${status}`)}`));
    });
  });
}
