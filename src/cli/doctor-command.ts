/** `sealfs doctor`: whether this machine can run sealfs, and how to mend what it lacks. */
import type { Command } from 'commander';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { addExample, addJsonOption } from './common-options.js';
import {
  checkAddons,
  checkDax,
  checkDirectIo,
  checkFuse,
  checkHugePages,
  checkIoUring,
  checkKernel,
  checkLimits,
  checkNode,
  checkRdma,
} from './doctor-checks.js';
import { arenaBytes } from '../native/arena-memory.js';
import { clientArena } from '../transport/choices.js';
import { readRdmaState } from '../native/rdma-state.js';
import type { CheckResult } from './doctor-checks.js';
import { ExitStatus, exitFailure } from './failure.js';
import { printJson, printLine } from './output.js';

export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description(
      'check this machine: FUSE, limits, io_uring, DAX, huge pages, RDMA; exit 1 on a fail',
    )
    .argument('[directory]', 'where --data would lie, checked for O_DIRECT', tmpdir());
  addJsonOption(command);
  addExample(command, 'sealfs doctor /nvme0/sealfs --json');
  command.action(async (directory: string, options: { json?: true }) => {
    const checks = await runChecks(resolve(directory));
    const healthy = checks.every((check) => check.state !== 'fail');
    if (options.json === true) printJson({ ok: healthy, checks });
    else for (const check of checks) printCheck(check);
    if (!healthy) throw new ExitStatus(exitFailure);
  });
}

async function runChecks(directory: string): Promise<CheckResult[]> {
  return [
    checkNode(process.version),
    checkAddons(),
    checkFuse(),
    checkKernel(),
    ...checkLimits(),
    checkIoUring(await diskEngineMode()),
    checkDirectIo(directory),
    checkDax(),
    checkHugePages(),
    ...checkRdma(readRdmaState(arenaBytes(clientArena))),
  ];
}

/** What the disk engine chooses here, found by starting one over a small arena. */
async function diskEngineMode(): Promise<string> {
  try {
    const { NativeArena } = await import('../native/arena.js');
    const { ExtentEngine } = await import('../native/extent.js');
    const arena = new NativeArena({ messageSlots: 8, bulkSlots: 2 });
    const engine = new ExtentEngine(arena.handle);
    const { mode } = engine;
    engine.destroy();
    return mode;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const marks = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' } as const;

function printCheck(check: CheckResult): void {
  printLine(`${marks[check.state]}  ${check.name.padEnd(14)}  ${check.found}`);
  if (check.advice !== '') printLine(`${' '.repeat(22)}${check.advice}`);
}
