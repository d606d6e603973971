/** Paths for people: from a finding's inode or entry up to the root, by the entries that were met. */
import { Dentry } from '../server/dentries.js';
import { dentryKey } from '../server/keys.js';
import type { CheckState } from './check-state.js';
import type { Finding } from './findings.js';
import { printableName } from './findings.js';

/** Findings that get a path: each costs as many reads as it is deep. */
const PATHS_MAX = 1000;
const DEPTH_MAX = 2048;

export async function fillPaths(state: CheckState, findings: readonly Finding[]): Promise<void> {
  for (const finding of findings.slice(0, PATHS_MAX)) {
    const path = await pathOf(state, finding);
    if (path !== undefined) finding.path = path;
  }
}

async function pathOf(state: CheckState, finding: Finding): Promise<string | undefined> {
  if (finding.directory !== undefined && finding.name !== undefined && finding.name !== '') {
    const folder = await pathOfInode(state, finding.directory);
    return folder === undefined ? undefined : join(folder, finding.name);
  }
  return finding.inode === 0 ? undefined : pathOfInode(state, finding.inode);
}

async function pathOfInode(state: CheckState, inode: number): Promise<string | undefined> {
  const { book } = state;
  const names: string[] = [];
  let row = book.find(inode);
  for (let depth = 0; row >= 0 && depth < DEPTH_MAX; depth++) {
    if (state.partitions.isPartition(row)) {
      row = book.find(book.parents[row]!);
      continue;
    }
    if (book.isRoot(row)) {
      const volume = state.cluster.volumeName?.(book.inodes[row]!);
      const root = volume === undefined ? '/' : `${volume}:/`;
      return names.reduceRight(join, root);
    }
    if (book.names[row] === 0) return undefined;
    const directory = book.entryDirectories[row]!;
    const name = await nameOf(state, directory, book.entryCookies[row]!);
    if (name === undefined) return undefined;
    names.push(name);
    row = book.find(directory);
  }
  return undefined;
}

async function nameOf(
  state: CheckState,
  directory: number,
  cookie: number,
): Promise<string | undefined> {
  const { reader } = state.cluster.targets[state.holderOfInode(directory)]!;
  const value = await reader.get(dentryKey(directory, cookie));
  return value === undefined ? undefined : printableName(value.subarray(Dentry.name));
}

function join(folder: string, name: string): string {
  return folder.endsWith('/') ? folder + name : `${folder}/${name}`;
}
