/** A running manager: store, cluster, HTTP port. What `sealfs manager` and tests start. */
import type { AddressInfo } from 'node:net';
import { SealfsError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { ClusterOptions } from './cluster.js';
import { Cluster } from './cluster.js';
import { LmdbClusterStore } from './cluster-store.js';
import { buildManagerApp } from './http.js';

export interface ManagerOptions extends ClusterOptions {
  /** IPv6 without brackets. */
  host: string;
  /** 0: any free one. */
  port: number;
  storeDirectory: string;
  version: string;
  log: Logger;
}

export interface Manager {
  readonly host: string;
  readonly port: number;
  readonly cluster: Cluster;
  /** Ends open streams, finishes the change under way, closes the store. */
  close(): Promise<void>;
}

/**
 * Rejects with USAGE (the store's directory cannot be made), BUSY (store or port in use), CORRUPT,
 * UNSUPPORTED (store of a newer version) or FAILED.
 */
export async function startManager(options: ManagerOptions): Promise<Manager> {
  const store = await LmdbClusterStore.open(options.storeDirectory);
  let cluster: Cluster;
  try {
    cluster = await Cluster.open(store, options);
  } catch (error) {
    await store.close();
    throw error;
  }
  const app = buildManagerApp(cluster, options);
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    await app.close();
    await cluster.close();
    throw listenError(options, error as NodeJS.ErrnoException);
  }
  const { address, port } = app.server.address() as AddressInfo;
  return {
    host: address,
    port,
    cluster,
    async close() {
      await app.close();
      await cluster.close();
    },
  };
}

function listenError(options: ManagerOptions, error: NodeJS.ErrnoException): SealfsError {
  const where = `${options.host}:${options.port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new SealfsError('BUSY', `${where} is in use; choose another port`, { cause: error });
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new SealfsError('USAGE', `'${options.host}' is not an address of this machine`, {
        cause: error,
      });
    case 'EACCES':
      return new SealfsError('FAILED', `${where}: permission denied; choose a port above 1023`, {
        cause: error,
      });
    default:
      return new SealfsError('FAILED', `cannot listen on ${where}: ${error.message}`, {
        cause: error,
      });
  }
}
