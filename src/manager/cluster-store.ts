/**
 * Where the manager keeps what must survive it: a few hundred small JSON records by key. The
 * interface is what an embedded LMDB and etcd can both do: read everything once, then commit sets
 * of writes, each whole or not at all.
 */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { open } from '../native/lmdb.js';
import type { RootDatabase } from '../native/lmdb.js';
import { makeDirectories } from '../common/directories.js';
import { SealfsError, UsageError } from '../common/errors.js';

export interface StoreWrite {
  key: string;
  /** Anything that JSON can hold; undefined removes the key. */
  value: unknown;
}

export interface ClusterStore {
  /** Every record, as of the last commit. */
  load(): Promise<Map<string, unknown>>;
  /** Resolves when all writes would survive a power loss; on rejection none of them is there. */
  commit(writes: StoreWrite[]): Promise<void>;
  close(): Promise<void>;
}

/** `lmdb:DIR` as --store takes it; UsageError for anything else. */
export function parseStore(text: string): string {
  const match = /^lmdb:(.+)$/.exec(text);
  if (match !== null) return match[1]!;
  if (text.startsWith('etcd://')) {
    throw new UsageError(
      `--store: '${text}': etcd is not supported by this version; use lmdb:DIR (one manager)`,
    );
  }
  throw new UsageError(`--store: '${text}' is not a store; expected lmdb:DIR`);
}

export class LmdbClusterStore implements ClusterStore {
  private readonly database: RootDatabase<string, string>;
  private readonly lock: Server;

  private constructor(database: RootDatabase<string, string>, lock: Server) {
    this.database = database;
    this.lock = lock;
  }

  /** Makes `directory` if it is missing. BUSY when another manager has it open. */
  static async open(directory: string): Promise<LmdbClusterStore> {
    makeDirectory(directory);
    const lock = await lockDirectory(directory);
    try {
      const database = open<string, string>({
        path: directory,
        encoding: 'string',
        // A commit returns when its pages and its meta page are synced.
        overlappingSync: false,
        maxReaders: 16,
      });
      return new LmdbClusterStore(database, lock);
    } catch (error) {
      lock.close();
      throw new SealfsError('CORRUPT', `the manager's store in ${directory} cannot be opened`, {
        cause: error,
      });
    }
  }

  async load(): Promise<Map<string, unknown>> {
    const records = new Map<string, unknown>();
    for (const { key, value } of this.database.getRange({})) {
      try {
        records.set(key, JSON.parse(value));
      } catch (error) {
        throw new SealfsError('CORRUPT', `the manager's store: record '${key}' is not readable`, {
          cause: error,
        });
      }
    }
    return records;
  }

  async commit(writes: StoreWrite[]): Promise<void> {
    this.database.transactionSync(() => {
      for (const { key, value } of writes) {
        if (value === undefined) this.database.removeSync(key);
        else this.database.putSync(key, JSON.stringify(value));
      }
    });
  }

  async close(): Promise<void> {
    await this.database.close();
    await new Promise<void>((resolve) => {
      this.lock.close(() => {
        resolve();
      });
    });
  }
}

function makeDirectory(directory: string): void {
  try {
    makeDirectories(directory);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new UsageError(`the store's directory ${directory} cannot be made: ${reason}`, {
      cause: error,
    });
  }
}

/**
 * Two managers over one directory would publish different epochs. LMDB itself lets any number of
 * processes in, and Node has no flock; a socket in Linux's abstract name space, named by the
 * directory's device and inode, goes with its process however that ends.
 */
function lockDirectory(directory: string): Promise<Server> {
  const { dev, ino } = statSync(directory);
  const name = createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32);
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      const busy = error.code === 'EADDRINUSE';
      reject(
        new SealfsError(
          busy ? 'BUSY' : 'FAILED',
          busy
            ? `another manager is using the store in ${directory}`
            : `the store in ${directory} cannot be locked: ${error.message}`,
          { cause: error },
        ),
      );
    });
    server.listen({ path: `\0sealfs-manager-${name}` }, () => {
      server.unref();
      resolve(server);
    });
  });
}
