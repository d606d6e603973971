/**
 * `sealfs up`: a whole cluster here. With a command: run it, take everything down, exit with its
 * status. Without: stay until SIGINT or SIGTERM.
 */
import { Option } from 'commander';
import type { Command } from 'commander';
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { SealfsError, UsageError } from '../common/errors.js';
import { addExample, addJsonOption, addTransportOption } from './common-options.js';
import type { TransportFlags } from './common-options.js';
import { ExitStatus } from './failure.js';
import { Signals, endOfCommand } from './foreground-command.js';
import { LocalCluster, defaultVolume } from './local-cluster.js';
import { checkMountPoint, resolveMountPoint } from './mount-table.js';
import { integer, localAddress, path, size } from './option-values.js';
import { printJson, printLine } from './output.js';
import { maxTargetsPerServer } from './server-command.js';
import { bindSetting } from './settings.js';
import { makeTemporaryDirectory, prepareState, writeState } from './up-state.js';

interface UpOptions extends TransportFlags {
  dir?: string;
  servers?: number;
  targets?: number;
  listen?: string;
  mount?: string;
  dataSize?: number;
  json?: true;
}

const minDataBytes = 64 * 1024 * 1024;

/** `separated`: whether `--` stands in the arguments. */
export function addUp(program: Command, separated: boolean): void {
  const command = program
    .command('up')
    .description('run a whole cluster on this machine: a manager and servers, mounted on request')
    .usage('[options] [-- CMD…]')
    .argument('[cmd...]', 'run with SEALFS_MANAGER and SEALFS_MOUNT set, then take everything down')
    .option('--mount <path>', 'mount the volume there (with CMD: a directory of its own)');
  const options = {
    dir: new Option('--dir <dir>', 'keep the cluster there; without, it is removed at the end'),
    servers: new Option('--servers <n>', 'servers (default: 1)'),
    targets: new Option('--targets <n>', 'targets of each server (default: 1)'),
    dataSize: new Option('--data-size <size>', "each server's data file (default: at most 4G)"),
    listen: new Option(
      '--listen <address>',
      "where its servers listen (default: 127.0.0.1, or an RDMA device's address)",
    ),
  };
  options.dir.argParser(path('--dir'));
  options.servers.argParser(integer('--servers', 1, 64));
  options.targets.argParser(integer('--targets', 1, maxTargetsPerServer));
  options.dataSize.argParser(size('--data-size', minDataBytes));
  options.listen.argParser(localAddress('--listen'));
  for (const option of Object.values(options)) command.addOption(option);
  bindSetting(command, options.dir, 'up.dir');
  bindSetting(command, options.servers, 'up.servers');
  bindSetting(command, options.targets, 'up.targets');
  bindSetting(command, options.dataSize, 'up.data_size');
  addTransportOption(command);
  addJsonOption(command);
  addExample(
    command,
    'sealfs up --servers 2 --mount /mnt/seal',
    'sealfs up --dir ./cluster -- sh -c \'git clone . "$SEALFS_MOUNT/copy"\'',
  );
  command.action(async (words: string[], given: UpOptions) => {
    if (words.length > 0 && !separated) {
      const name = words[0]!;
      throw new UsageError(`'${name}' is not expected here; a command comes after --: -- ${name}`);
    }
    const { config } = program.opts<{ config?: string }>();
    await runUp(given, words, config === undefined ? [] : ['--config', path('--config')(config)]);
  });
}

async function runUp(options: UpOptions, words: string[], globalArgs: string[]): Promise<void> {
  const mountPath = options.mount === undefined ? undefined : resolveMountPoint(options.mount);
  if (mountPath !== undefined) checkMountPoint(mountPath);
  const { localHome } = await import('../transport/select.js');
  const host = options.listen ?? localHome(options.transport);
  const temporary = options.dir === undefined;
  const directory = options.dir ?? makeTemporaryDirectory();
  const signals = new Signals();
  try {
    const state = prepareState(directory, {
      ...(options.servers === undefined ? {} : { servers: options.servers }),
      ...(options.targets === undefined ? {} : { targets: options.targets }),
      ...(options.dataSize === undefined ? {} : { dataBytes: options.dataSize }),
    });
    const say = (line: string): void => {
      const wanted = words.length === 0 && options.json !== true;
      if (wanted || process.stderr.isTTY) process.stderr.write(`sealfs: ${line}\n`);
    };
    const cluster = new LocalCluster({
      ...state,
      directory,
      transport: options,
      host,
      globalArgs,
      progress: say,
    });
    try {
      await raceWith(cluster, signals, cluster.start());
      writeState(directory, { ...state, managerPort: Number(new URL(cluster.managerUrl).port) });
      await serve(cluster, signals, { options, words, directory, mountPath });
    } finally {
      await cluster.stop();
    }
  } finally {
    if (temporary) rmSync(directory, { recursive: true, force: true });
    signals.close();
  }
}

interface Errand {
  options: UpOptions;
  words: string[];
  directory: string;
  mountPath: string | undefined;
}

async function serve(cluster: LocalCluster, signals: Signals, errand: Errand): Promise<void> {
  const { options, words, directory } = errand;
  let { mountPath } = errand;
  if (mountPath === undefined && words.length > 0) {
    mountPath = join(directory, 'mnt');
    mkdirSync(mountPath, { recursive: true });
  }
  if (mountPath !== undefined) await raceWith(cluster, signals, cluster.mount(mountPath));
  if (options.json === true && words.length === 0) {
    printJson({ managerUrl: cluster.managerUrl, volume: defaultVolume, directory, mountPath });
  }
  if (words.length > 0) {
    await runCommand(cluster, signals, words, mountPath!);
    return;
  }
  if (options.json !== true) printHowTo(cluster.managerUrl, errand);
  const death = await Promise.race([cluster.died, signals.first]);
  if (death instanceof SealfsError) throw death;
}

function printHowTo(url: string, { options, directory, mountPath }: Errand): void {
  printLine(`manager    ${url}`);
  printLine(`volume     ${defaultVolume}`);
  printLine(
    mountPath === undefined
      ? `mount it   sealfs mount ${defaultVolume} MOUNTPOINT --manager ${url}`
      : `mounted    ${mountPath}`,
  );
  printLine(`look       sealfs cluster status --manager ${url}`);
  printLine(`state      ${directory}${options.dir === undefined ? ' (removed at the end)' : ''}`);
  printLine('stop       Ctrl-C');
}

/** `work`, unless a process of the cluster dies or a signal asks to stop first. */
async function raceWith(
  cluster: LocalCluster,
  signals: Signals,
  work: Promise<void>,
): Promise<void> {
  const outcome = await Promise.race([work, cluster.died, signals.first]);
  if (outcome === undefined) return;
  // What becomes of `work` while everything is taken down matters to nobody.
  work.catch(() => undefined);
  if (outcome instanceof SealfsError) throw outcome;
  throw new ExitStatus(128 + constants.signals[outcome]);
}

async function runCommand(
  cluster: LocalCluster,
  signals: Signals,
  words: string[],
  mountPath: string,
): Promise<void> {
  const [program, ...args] = words;
  const child = spawn(program!, args, {
    stdio: 'inherit',
    env: { ...process.env, SEALFS_MANAGER: cluster.managerUrl, SEALFS_MOUNT: mountPath },
  });
  const ended = endOfCommand(child, program!);
  signals.forwardTo(child);
  const outcome = await Promise.race([ended, cluster.died]);
  if (outcome instanceof SealfsError) {
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), killAfterMs).unref();
    await ended;
    throw outcome;
  }
  if (outcome !== 0) throw new ExitStatus(outcome);
}

const killAfterMs = 5000;
