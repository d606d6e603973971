/**
 * `sealfs intercept`: a command with the preload library, so that what it reads and writes on mounts of this
 * machine goes to their mount processes through shared memory. Children of the command inherit it.
 */
import type { Command } from 'commander';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../common/errors.js';
import { withPreload } from '../common/preload.js';
import { preloadLibrary } from '../native/preload.js';
import { addExample, addJsonOption } from './common-options.js';
import { ExitStatus } from './failure.js';
import { Signals, endOfCommand } from './foreground-command.js';
import { readReport, reportHeads, reportRows } from './intercept-report.js';
import type { Report } from './intercept-report.js';
import { printJson, tableText } from './output.js';
import { reasonAgainstPreload } from './preloadable.js';

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
    .option(
      '--report',
      'say at the end which calls bypassed the kernel, why others did not, and times',
    );
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
  const against = options.report === true ? reasonAgainstPreload(program!) : '';
  if (against !== '') say(`${program!} cannot be intercepted: ${against}`);
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
    if (directory !== '') report(file, against, options.json === true);
    if (status !== 0) throw new ExitStatus(status);
  } finally {
    signals.close();
    if (directory !== '') rmSync(directory, { recursive: true, force: true });
  }
}

/** On standard error: the command's own output stays what it is. */
function say(line: string): void {
  process.stderr.write(`sealfs: ${line}\n`);
}

interface Unloaded {
  program: string;
  why: string;
}

/** `against`: why the program itself could not be intercepted, '' if it could. */
function report(file: string, against: string, json: boolean): void {
  const found = readReport(existsSync(file) ? readFileSync(file, 'utf8') : '');
  const unloaded = found.executed
    .map((program) => ({ program, why: reasonAgainstPreload(program) }))
    .filter(({ why }) => why !== '');
  const { programs, silent } = found;
  if (json) printJson({ programs, silent, unloaded, against: against === '' ? null : against });
  else printReport(found, unloaded, against);
}

const SHOWN_MAX = 10;

function printReport({ programs, silent }: Report, unloaded: Unloaded[], against: string): void {
  const rows = reportRows(programs);
  if (rows.length > 0) process.stderr.write(`${tableText(reportHeads, rows)}\n`);
  for (const { program, why } of unloaded) say(`${program} was not intercepted: ${why}`);
  if (silent.length > 0) {
    const shown = silent.slice(0, SHOWN_MAX).map(({ pid, program }) => `${program} (${pid})`);
    const more = silent.length > SHOWN_MAX ? `, and ${silent.length - SHOWN_MAX} more` : '';
    say(`killed, or still running, so nothing is known of: ${shown.join(', ')}${more}`);
  }
  if (rows.length === 0 && against === '' && silent.length === 0) {
    say(
      'nothing was intercepted: no file of a mount was read, written or asked for, or only by raw system calls',
    );
  }
}
