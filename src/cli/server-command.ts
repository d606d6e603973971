/** `sealfs server`: keeps data and metadata, until it is told to stop. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { UsageError } from '../common/errors.js';
import { LogHold, createLogger } from '../common/log.js';
import { addExample, addManagerOption, addTransportOption } from './common-options.js';
import type { TransportFlags } from './common-options.js';
import { tellParent, untilAskedToStop } from './lifetime.js';
import type { Address, DataPath } from './option-values.js';
import { address, choice, dataPath, integer, path, size } from './option-values.js';
import { bindSetting } from './settings.js';

export const maxTargetsPerServer = 64;
export const defaultServerPort = 7400;
const minReclaimRate = 1024 * 1024;
/** Fewer would split for nothing, more would hold a target up when they move. */
const minSplitEntries = 8;
const maxSplitEntries = 1_000_000;

interface ServerCommandOptions extends TransportFlags {
  manager: string;
  metaDir?: string;
  data?: DataPath[];
  targets: number;
  listen: Address;
  durability?: 'fsync' | 'commit';
  reclaimRate?: number;
  splitEntries?: number;
  log?: string;
}

export function addServer(program: Command): void {
  const command = program
    .command('server')
    .description('run a server: targets that keep file data and metadata');
  addManagerOption(command);
  addTransportOption(command);
  const options = {
    metaDir: new Option('--meta-dir <dir>', 'existing directory for metadata').argParser(
      path('--meta-dir'),
    ),
    data: new Option(
      '--data <path[:size]...>',
      'directory, file or block device for file data; may be repeated',
    ).argParser((text, previous: DataPath[] | undefined) => [
      ...(previous ?? []),
      dataPath('--data')(text),
    ]),
    targets: new Option('--targets <n>', 'targets, a worker thread each')
      .argParser(integer('--targets', 1, maxTargetsPerServer))
      .default(1),
    listen: new Option(
      '--listen <host:port>',
      'where the first target listens, the others on the ports that follow; port 0: any free ones',
    )
      .argParser(address('--listen'))
      .default({ host: '0.0.0.0', port: defaultServerPort }, `0.0.0.0:${defaultServerPort}`),
    durability: new Option(
      '--durability <when>',
      'fsync: power-safe after fsync; commit: every answer is (default on persistent memory)',
    ).argParser(choice('--durability', ['fsync', 'commit'])),
    reclaimRate: new Option(
      '--reclaim-rate <size>',
      'how much of removed files a target gives back a second while space is ample (default: 8G)',
    ).argParser(size('--reclaim-rate', minReclaimRate)),
    splitEntries: new Option(
      '--split-entries <n>',
      'entries beyond which a directory is split over targets, a half at a time (default: 8000)',
    ).argParser(integer('--split-entries', minSplitEntries, maxSplitEntries)),
  };
  for (const option of Object.values(options)) command.addOption(option);
  bindSetting(command, options.metaDir, 'server.meta_dir');
  bindSetting(command, options.data, 'server.data');
  bindSetting(command, options.targets, 'server.targets');
  bindSetting(command, options.listen, 'server.listen');
  bindSetting(command, options.durability, 'server.durability');
  bindSetting(command, options.reclaimRate, 'server.reclaim_rate');
  bindSetting(command, options.splitEntries, 'server.split_entries');
  command.option(
    '--log <file>',
    'append JSON lines there instead of standard error',
    path('--log'),
  );
  addExample(
    command,
    'sealfs server --manager http://10.0.0.1:7300 --meta-dir /pmem/sealfs \\',
    '  --data /nvme0/sealfs:1T --data /nvme1/sealfs:1T --targets 4 --listen 10.0.0.11:7400',
  );
  command.action(async (given: ServerCommandOptions) => {
    await runServer(given);
  });
}

async function runServer(options: ServerCommandOptions): Promise<void> {
  const { metaDir, data } = options;
  if (metaDir === undefined) {
    throw new UsageError('--meta-dir is missing; name a directory on fast storage for metadata');
  }
  if (data === undefined) {
    throw new UsageError(
      '--data is missing; name where file data goes, e.g. --data /nvme0/sealfs:1T',
    );
  }
  checkPaths(metaDir, data);
  const hold = new LogHold();
  const log = createLogger('server', { file: options.log, hold });
  const { startServer } = await import('../server/server.js');
  const stop = untilAskedToStop();
  const starting = startServer({
    managerUrl: options.manager,
    metaDir,
    data,
    targets: options.targets,
    host: options.listen.host,
    port: options.listen.port,
    transport: options.transport,
    bind: options.bind,
    ...(options.durability === undefined ? {} : { durability: options.durability }),
    ...(options.reclaimRate === undefined ? {} : { reclaimRate: options.reclaimRate }),
    ...(options.splitEntries === undefined ? {} : { splitEntries: options.splitEntries }),
    log,
  });
  const server = await Promise.race([starting, stop]);
  hold.release();
  if (typeof server === 'string') {
    log.info(`stopped before it was ready: ${server}`);
    return;
  }
  await tellParent({ ready: { targets: options.targets } });
  log.info(`stopping: ${await stop}`);
  await server.close();
}

function checkPaths(metaDir: string, data: readonly DataPath[]): void {
  if (!existsSync(metaDir)) {
    throw new UsageError(
      `--meta-dir: ${metaDir} does not exist; make it first: mkdir -p ${metaDir}`,
    );
  }
  if (!statSync(metaDir).isDirectory()) {
    throw new UsageError(`--meta-dir: ${metaDir} is not a directory`);
  }
  const seen = new Set<string>();
  for (const { path: place } of data) {
    if (seen.has(place)) throw new UsageError(`--data: ${place} is named twice`);
    seen.add(place);
    const parent = dirname(place);
    if (!existsSync(place) && !existsSync(parent)) {
      throw new UsageError(`--data: ${parent} does not exist; make it first: mkdir -p ${parent}`);
    }
  }
}
