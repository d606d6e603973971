/** `sealfs cluster status`: what the manager knows of servers, targets and volumes. */
import type { Command } from 'commander';
import type { ClusterStatus } from '../common/manager-api.js';
import { formatBytes } from '../common/sizes.js';
import { addExample, addJsonOption, addManagerOption, clientOf } from './common-options.js';
import { printJson, printLine, printTable } from './output.js';

export function addCluster(program: Command): void {
  const cluster = program.command('cluster').description('look at the cluster');
  addExample(cluster, 'sealfs cluster status');
  const status = cluster
    .command('status')
    .description('manager, epoch, servers and targets with state and capacity, volumes');
  addManagerOption(addJsonOption(status));
  addExample(status, 'sealfs cluster status --manager http://10.0.0.1:7300 --json');
  status.action(async (options: { manager: string; json?: true }) => {
    const client = clientOf(options);
    const answer = await client.status();
    if (options.json === true) printJson({ managerUrl: client.url, ...answer });
    else printStatus(client.url, answer);
  });
}

function printStatus(url: string, status: ClusterStatus): void {
  const targets = status.servers.flatMap((server) =>
    server.targets.map((target) => ({ serverId: server.serverId, ...target })),
  );
  printLine(`manager   ${url} (sealfs ${status.version})`);
  printLine(`cluster   ${status.clusterId}, epoch ${status.epoch}`);
  printLine(
    `capacity  ${formatBytes(status.totalBytes)}, ${formatBytes(status.freeBytes)} free on members`,
  );
  printLine('');
  if (targets.length === 0) {
    printLine('no target is registered; start one: sealfs server --manager ' + url + ' …');
  } else {
    printTable(
      [
        ...['SERVER', 'TARGET', 'STATE', 'ROLE', 'SIZE', 'FREE', 'INODES'],
        ...['ENDPOINTS', 'CONNECTED', 'DEVICES'],
      ],
      targets.map((target) => [
        target.serverId,
        target.targetId,
        target.state,
        target.role,
        formatBytes(target.totalBytes),
        formatBytes(target.freeBytes),
        String(target.inodes),
        target.endpoints.join(' '),
        describeConnections(target.connections),
        describeDevices(target.devices),
      ]),
    );
  }
  if (status.volumes.length === 0) return;
  printLine('');
  printTable(
    ['VOLUME', 'ID', 'CREATED'],
    status.volumes.map((volume) => [volume.name, String(volume.id), volume.createdAt]),
  );
}

/** As `3 rdma, 1 tcp`: clients and other targets, by what carries them now. */
export function describeConnections(connections: { rdma: number; tcp: number }): string {
  const { rdma, tcp } = connections;
  const parts = [...(rdma > 0 ? [`${rdma} rdma`] : []), ...(tcp > 0 ? [`${tcp} tcp`] : [])];
  return parts.length === 0 ? 'none' : parts.join(', ');
}

function describeDevices(devices: { path: string; state: string }[]): string {
  const failed = devices.filter((device) => device.state === 'failed');
  if (failed.length === 0) return `${devices.length} ok`;
  return `${failed.length} of ${devices.length} failed: ${failed.map((d) => d.path).join(' ')}`;
}
