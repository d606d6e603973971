/** The `sealfs` program: its commands, and the one way in which all of them fail. */
import { Command } from 'commander';
import { UsageError } from '../common/errors.js';
import { addBench } from './bench.js';
import { addCluster } from './cluster-command.js';
import { addCp } from './cp-command.js';
import { addDoctor } from './doctor-command.js';
import { describeForParent, reportFailure } from './failure.js';
import { addFind } from './find-command.js';
import { addFsck } from './fsck-command.js';
import { takeChildRole, tellParent } from './lifetime.js';
import { addIntercept } from './intercept-command.js';
import { addManager } from './manager-command.js';
import { addMount, addUmount } from './mount-command.js';
import { addRm } from './rm-command.js';
import { addScrub } from './scrub-command.js';
import { addServer } from './server-command.js';
import { applySettings } from './settings.js';
import { addUp } from './up-command.js';
import { version } from './version.js';
import { addVolume } from './volume-command.js';

export function buildProgram(args: readonly string[] = []): Command {
  const program = new Command('sealfs')
    .description('A distributed file system for HPC: no metadata server, RDMA first.')
    .version(version(), '-V, --version', 'print the version')
    .option('--config <file>', 'TOML file (default: ./sealfs.toml, /etc/sealfs/sealfs.toml)')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .exitOverride()
    // What goes wrong is thrown and reported once, by runProgram.
    .configureOutput({ outputError: () => undefined })
    .addHelpText('after', '\nExample:\n  sealfs up -- sh -c \'cp -r . "$SEALFS_MOUNT"\'');
  addUp(program, args.includes('--'));
  addIntercept(program);
  for (const add of [addManager, addServer, addMount, addUmount, addVolume, addCluster]) {
    add(program);
  }
  for (const add of [addCp, addRm, addFind]) add(program);
  addScrub(program);
  addDoctor(program);
  addFsck(program);
  addBench(program);
  program.hook('preAction', (_program, action) => {
    giveOwnConfig(program, action);
    applySettings(action, program.opts<{ config?: string }>().config);
  });
  completeErrors(program);
  return program;
}

/**
 * commander takes --config for the program's wherever it stands. Of a command that has one itself (bench io500, whose
 * file is the benchmark's own) it is the command's.
 */
function giveOwnConfig(program: Command, action: Command): void {
  const { config } = program.opts<{ config?: string }>();
  const own = action.options.some((option) => option.long === '--config');
  if (action === program || !own || config === undefined) return;
  action.setOptionValueWithSource('config', config, 'cli');
  program.setOptionValue('config', undefined);
}

/**
 * commander prints the whole help when a command is missing, and its errors do not name the
 * command: a person is told what was wrong and where to look.
 */
function completeErrors(command: Command): void {
  const path = pathOf(command);
  command.exitOverride((error) => {
    if (error.exitCode === 0) throw error;
    const text = error.message.replace(/^error: /, '');
    throw new UsageError(`${text}; see: ${path} --help`, { cause: error });
  });
  for (const child of command.commands) completeErrors(child);
  if (command.commands.length === 0) return;
  const names = command.commands.map((child) => child.name()).join(', ');
  command.allowExcessArguments(true).action(() => {
    const given = command.args[0];
    const problem = given === undefined ? 'a command is missing' : `'${given}' is not a command`;
    throw new UsageError(`${problem}; ${path} has: ${names}`);
  });
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

/** Runs `sealfs ARGUMENTS`; returns its exit status. */
export async function runProgram(args: readonly string[]): Promise<number> {
  takeChildRole();
  try {
    await buildProgram(args).parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    const { code, message } = describeForParent(error);
    await tellParent({ failed: { code, message } });
    return reportFailure(error);
  }
}
