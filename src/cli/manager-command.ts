/** `sealfs manager`: the control plane, until it is told to stop. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { UsageError } from '../common/errors.js';
import { createLogger } from '../common/log.js';
import { defaultManagerPort } from '../common/manager-api.js';
import { addExample } from './common-options.js';
import { tellParent, untilAskedToStop } from './lifetime.js';
import type { Address } from './option-values.js';
import { address, formatAddress, path } from './option-values.js';
import { bindSetting } from './settings.js';
import { version } from './version.js';

interface ManagerCommandOptions {
  listen: Address;
  store?: string;
  log?: string;
}

export function addManager(program: Command): void {
  const command = program
    .command('manager')
    .description('run the manager: membership, cluster map, volumes, metrics')
    .option(
      '--log <file>',
      'append JSON lines there instead of plain lines to standard error',
      path('--log'),
    );
  const listen = new Option(
    '--listen <host:port>',
    'where its HTTP listens; port 0 is any free one',
  )
    .argParser(address('--listen'))
    .default({ host: '127.0.0.1', port: defaultManagerPort }, `127.0.0.1:${defaultManagerPort}`);
  const store = new Option('--store <store>', 'where it keeps its state: lmdb:DIR');
  command.addOption(listen).addOption(store);
  bindSetting(command, listen, 'manager.listen');
  bindSetting(command, store, 'manager.store');
  addExample(command, 'sealfs manager --listen 10.0.0.1:7300 --store lmdb:/var/lib/sealfs/manager');
  command.action(async (options: ManagerCommandOptions) => {
    await runManager(options);
  });
}

async function runManager(options: ManagerCommandOptions): Promise<void> {
  if (options.store === undefined) {
    throw new UsageError(
      '--store is missing; say where the state is kept, e.g. --store lmdb:/var/lib/sealfs/manager',
    );
  }
  const { parseStore } = await import('../manager/cluster-store.js');
  const { startManager } = await import('../manager/manager.js');
  const log = createLogger('manager', { file: options.log });
  const manager = await startManager({
    ...options.listen,
    storeDirectory: resolve(parseStore(options.store)),
    version: version(),
    log,
  });
  const stop = untilAskedToStop();
  const everywhere = manager.host === '0.0.0.0' || manager.host === '::';
  const host = everywhere ? hostname() : manager.host;
  const url = `http://${formatAddress({ host, port: manager.port })}`;
  log.info(
    { cluster: manager.cluster.clusterId, epoch: manager.cluster.epoch },
    `manager at ${url}`,
  );
  await tellParent({ ready: { url, port: manager.port } });
  log.info(`stopping: ${await stop}`);
  await manager.close();
}
