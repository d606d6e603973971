/**
 * `sealfs intercept`: a command with the preload library, so that what it reads and writes on mounts of this
 * machine goes to their mount processes through shared memory. Children of the command inherit it.
 */
import type { Command } from 'commander';
import { spawn } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { UsageError } from '../common/errors.js';
import { withPreload } from '../common/preload.js';
import { preloadLibrary } from '../native/preload.js';
import { addExample, addJsonOption } from './common-options.js';
import { ExitStatus } from './failure.js';
import { Signals, endOfCommand } from './foreground-command.js';
import { isStaticProgram, parseReport, reportRows } from './intercept-report.js';
import type { ProgramReport } from './intercept-report.js';
import { printJson, tableText } from './output.js';

interface InterceptOptions {
  report?: true;
  json?: true;
}

export function addIntercept(program: Command): void {
  const command = program
    .command('intercept')
    .description('run a command whose reads and writes on mounts of sealfs bypass the kernel')
    .usage('[options] -- CMD…')
    .argument('<cmd...>', 'the command and its arguments')
    .option('--report', 'say at the end which calls bypassed the kernel, and why others did not');
  addJsonOption(command);
  addExample(
    command,
    'sealfs intercept -- ./simulate --out /mnt/scratch/run1',
    'sealfs intercept --report -- cp -r input /mnt/scratch',
  );
  command.action(async (words: string[], options: InterceptOptions) => {
    const library = preloadLibrary();
    if (options.json === true && options.report !== true) {
      throw new UsageError('--json is for --report');
    }
    await run(words, library, options);
  });
}

async function run(words: string[], library: string, options: InterceptOptions): Promise<void> {
  const [program, ...args] = words;
  const directory = options.report === true ? mkdtempSync(join(tmpdir(), 'sealfs-report-')) : '';
  const file = join(directory, 'report');
  const signals = new Signals();
  try {
    const child = spawn(program!, args, {
      stdio: 'inherit',
      env: {
        ...process.env,
        LD_PRELOAD: withPreload(library),
        ...(directory === '' ? {} : { SEALFS_INTERCEPT_REPORT: file }),
      },
    });
    const ended = endOfCommand(child, program!);
    signals.forwardTo(child);
    const status = await ended;
    if (directory !== '') report(program!, file, options.json === true);
    if (status !== 0) throw new ExitStatus(status);
  } finally {
    signals.close();
    if (directory !== '') rmSync(directory, { recursive: true, force: true });
  }
}

function report(program: string, file: string, json: boolean): void {
  const programs = existsSync(file) ? parseReport(readFileSync(file, 'utf8')) : [];
  const path = pathOf(program);
  const unloaded = programs.length === 0 && path !== undefined && isStaticProgram(headOf(path));
  if (json) printJson({ programs, static: unloaded });
  else printReport(programs, unloaded);
}

const heads = ['call', 'bypassed', 'kernel', 'why'];

/** On standard error: the command's own output stays what it is. */
function printReport(programs: ProgramReport[], unloaded: boolean): void {
  const say = (line: string): void => void process.stderr.write(`sealfs: ${line}\n`);
  if (unloaded) say('the program is linked statically: nothing of it can be intercepted');
  else if (programs.length === 0)
    say(
      'nothing was intercepted: no file of a mount was read or written, or no program ended by itself',
    );
  else process.stderr.write(`${tableText(heads, reportRows(programs))}\n`);
}

/** As the shell finds it. */
function pathOf(program: string): string | undefined {
  if (program.includes('/')) return program;
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const HEAD_BYTES = 4096;

function headOf(path: string): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  const fd = openSync(path, 'r');
  try {
    return head.subarray(0, readSync(fd, head, 0, HEAD_BYTES, 0));
  } finally {
    closeSync(fd);
  }
}
