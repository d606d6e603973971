/**
 * What a server keeps beside its targets' stores, in its metadata directory: server.json (who it
 * is), map.json (the last cluster map, so that it can start while the manager is away), and a lock
 * that lasts as long as the process.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { SealfsError, UsageError } from '../common/errors.js';
import { clusterMapSchema } from '../common/manager-api.js';
import type { ClusterMap } from '../placement/cluster-map.js';
import { syncFolder } from './checkpoint.js';

const identitySchema = z.object({
  format: z.literal(1),
  serverId: z.string().min(1),
  targets: z.array(z.object({ targetId: z.guid(), weight: z.number().positive().optional() })),
  clusterId: z.guid().optional(),
});
export type ServerIdentity = z.infer<typeof identitySchema>;

/** Reads or makes server.json. Throws UsageError when the number of targets became smaller. */
export function loadServerIdentity(metaDir: string, targets: number): ServerIdentity {
  const path = join(metaDir, 'server.json');
  let identity: ServerIdentity = { format: 1, serverId: randomUUID(), targets: [] };
  if (existsSync(path)) {
    const parsed = identitySchema.safeParse(readJson(path));
    if (!parsed.success) {
      throw new SealfsError('CORRUPT', `${path} is not what a server wrote there`);
    }
    identity = parsed.data;
  }
  const known = identity.targets.length;
  if (known > targets) {
    throw new UsageError(
      `${metaDir} holds ${known} targets; start the server with --targets ${known}`,
    );
  }
  while (identity.targets.length < targets) identity.targets.push({ targetId: randomUUID() });
  if (known < targets) saveServerIdentity(metaDir, identity);
  return identity;
}

export function saveServerIdentity(metaDir: string, identity: ServerIdentity): void {
  writeWhole(join(metaDir, 'server.json'), JSON.stringify(identity, undefined, 2));
}

export function loadMap(metaDir: string): ClusterMap | undefined {
  const path = join(metaDir, 'map.json');
  if (!existsSync(path)) return undefined;
  const parsed = clusterMapSchema.safeParse(readJson(path));
  if (!parsed.success) throw new SealfsError('CORRUPT', `${path} is not a cluster map`);
  return parsed.data;
}

export function saveMap(metaDir: string, map: ClusterMap): void {
  writeWhole(join(metaDir, 'map.json'), JSON.stringify(map));
}

/**
 * Takes the directory for this process until the returned server is closed, or the process ends
 * however it may: an abstract socket (unix(7)) leaves nothing behind. Rejects with BUSY.
 */
export async function lockDirectory(metaDir: string): Promise<Server> {
  mkdirSync(metaDir, { recursive: true });
  const { dev, ino } = statSync(metaDir);
  const name = createHash('sha256').update(`sealfs server ${dev} ${ino}`).digest('hex');
  const lock = createServer((socket) => {
    socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    lock.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      const message = taken ? 'another server uses it' : error.message;
      reject(
        new SealfsError(taken ? 'BUSY' : 'FAILED', `${metaDir}: ${message}`, { cause: error }),
      );
    });
    lock.listen(`\0sealfs-${name.slice(0, 32)}`, resolve);
  });
  lock.unref();
  return lock;
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new SealfsError('CORRUPT', `${path} cannot be read`, { cause: error });
  }
}

/** The file has the old text or the new one, whatever happens. */
function writeWhole(path: string, text: string): void {
  const temporary = `${path}.new`;
  const fd = openSync(temporary, 'w');
  try {
    writeSync(fd, text);
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncFolder(join(path, '..'));
}
