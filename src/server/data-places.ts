/**
 * Where the targets of a server keep their data: each target gets a part of each `--data` path. A
 * directory gets one file a target; a path of a file serves as the prefix of the targets' names; a
 * block device belongs to the only target.
 */
import { existsSync, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError } from '../common/errors.js';
import type { DeviceSpecMessage } from './worker-messages.js';

export interface DataPath {
  path: string;
  sizeBytes?: number;
}

/** Of what a file system has available, taken for new data files when no size is given. */
const DEFAULT_SHARE = 0.8;

/** The devices of target `index` of `targets`. */
export function devicesOfTarget(
  paths: readonly DataPath[],
  index: number,
  targets: number,
): DeviceSpecMessage[] {
  return paths.map(({ path, sizeBytes }) => {
    const place = placeOf(path, index, targets);
    if (sizeBytes !== undefined) {
      return { path: place, sizeBytes: Math.floor(sizeBytes / targets) };
    }
    if (existsSync(place)) return { path: place, sizeBytes: undefined };
    return { path: place, sizeBytes: defaultSize(paths, path, targets) };
  });
}

function placeOf(path: string, index: number, targets: number): string {
  if (existsSync(path)) {
    const stat = statSync(path);
    if (stat.isDirectory()) return join(path, `target-${index}.extents`);
    if (stat.isBlockDevice() && targets > 1) {
      throw new UsageError(
        `--data: the block device ${path} can serve one target only; ` +
          'use --targets 1, or one server for each device',
      );
    }
  }
  return targets === 1 ? path : `${path}.${index}`;
}

function folderOf(path: string): string {
  return existsSync(path) && statSync(path).isDirectory() ? path : dirname(path);
}

/** An equal part for every target and every path on the same file system. */
function defaultSize(paths: readonly DataPath[], path: string, targets: number): number {
  const folder = folderOf(path);
  const { dev } = statSync(folder);
  const sharing = paths.filter((other) => statSync(folderOf(other.path)).dev === dev).length;
  const disk = statfsSync(folder);
  return Math.floor((disk.bavail * disk.bsize * DEFAULT_SHARE) / (sharing * targets));
}
