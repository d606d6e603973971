/** Child processes of the benches: clusters through the command line, and their memory. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../src/native/load.js';

/** A compiled bench program beside this one. */
export function benchProgram(name: string): string {
  return join(dirname(fileURLToPath(import.meta.url)), `${name}.js`);
}

export function nativeProgram(name: string): string {
  return join(packageRoot(), 'build/Release', name);
}

/** A child whose first line of output says that it is ready; the line is returned. */
export async function startChild(
  program: string,
  args: string[],
): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const line = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (data: Buffer) => {
      text += data.toString();
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
    });
    child.once('exit', (status) => reject(new Error(`${program} ended with status ${status}`)));
    child.once('error', reject);
  });
  return { child, line };
}

export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** Runs `sealfs up OPTIONS -- node PROGRAM ARGS` and returns what the program printed. */
export function underCluster(upOptions: string[], program: string, args: string[]): string {
  const sealfs = join(packageRoot(), 'bin/sealfs.js');
  const command = [sealfs, 'up', ...upOptions, '--', process.execPath, program, ...args];
  return execFileSync(process.execPath, command, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 26,
  });
}

/** Processor time of a process since its start, user and system. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Fields 14 and 15 in clock ticks of 10 ms; the name in field 2 may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory but the arena's: anonymous memory and files that are no memfd; bytes. */
export function memoryWithoutArenaBytes(pid: number): number {
  let bytes = 0;
  let counted = true;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) {
      counted = !/memfd:|data\.mdb/.test(line);
    } else if (counted && line.startsWith('Rss:')) {
      bytes += Number(/(\d+) kB/.exec(line)![1]) * 1024;
    }
  }
  return bytes;
}

/** Process numbers whose command line matches. */
export function processesMatching(pattern: RegExp): number[] {
  const listing = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' });
  return listing
    .split('\n')
    .filter((row) => pattern.test(row))
    .map((row) => parseInt(row, 10));
}
