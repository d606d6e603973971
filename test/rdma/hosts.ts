/**
 * The two hosts of the Soft-RoCE machine (ci/rdma/guest-net.sh) as tests see them: their addresses,
 * their cables on the switch, their RDMA devices. Without the machine the same tests run over tcp
 * on loopback, which is for writing them:
 *
 *   SEALFS_RDMA_TRANSPORT=tcp SEALFS_RDMA_HOSTS=127.0.0.1,127.0.0.1 npx mocha dist/test/rdma/...
 */
import { readdirSync, existsSync } from 'node:fs';
import { run } from './shell.js';

export type TransportName = 'rdma' | 'tcp' | 'auto';

export const transport = (process.env['SEALFS_RDMA_TRANSPORT'] ?? 'rdma') as TransportName;
const [client, server] = (process.env['SEALFS_RDMA_HOSTS'] ?? '10.77.0.1,10.77.0.2').split(',');
export const clientAddress = client!;
export const serverAddress = server!;

/** Emulation makes everything slower; waits are this many times longer. */
export const timeScale = Number(process.env['SEALFS_TEST_TIME_SCALE'] ?? '1');

/** Milliseconds of a limit that is meant for an idle machine of ordinary speed. */
export function scaled(ms: number): number {
  return ms * timeScale;
}

/** Whether the hosts have cables and devices of their own that a test may pull. */
export const inMachine = existsSync('/sys/class/net/port0') && clientAddress !== serverAddress;

export type Host = 0 | 1; // 0: the client's, 1: the servers'

/** Pulls or plugs the cable between a host and the switch: the device sees its carrier go. */
export async function setCable(host: Host, plugged: boolean): Promise<void> {
  await run('ip', 'link', 'set', `port${host}`, plugged ? 'up' : 'down');
}

/** Drops this share (percent, both ways) of what passes the host's cable; 0: none. */
export async function setLoss(host: Host, percent: number): Promise<void> {
  for (const device of [`net${host}`, `port${host}`]) {
    if (percent === 0) await run('tc', 'qdisc', 'del', 'dev', device, 'root');
    else await run('tc', 'qdisc', 'replace', 'dev', device, 'root', 'netem', 'loss', `${percent}%`);
  }
}

export function rdmaDevices(): string[] {
  const folder = '/sys/class/infiniband';
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

export async function removeDevice(host: Host): Promise<void> {
  await run('rdma', 'link', 'delete', `rxe${host}`);
}

export async function addDevice(host: Host): Promise<void> {
  await run('rdma', 'link', 'add', `rxe${host}`, 'type', 'rxe', 'netdev', `net${host}`);
}
