/** mkdir -p. Node's own (20) loops for ever where a file system answers ENOENT, as /proc does. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Makes `directory` and what is missing above it. Throws the system's error (`code`). */
export function makeDirectories(directory: string): void {
  const missing: string[] = [];
  let path = directory;
  while (!isDirectory(path)) {
    missing.push(path);
    path = dirname(path);
  }
  for (const each of missing.reverse()) mkdirSync(each);
}

/** False if there is nothing; throws ENOTDIR if it is something else. */
function isDirectory(path: string): boolean {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) return false;
  if (status.isDirectory()) return true;
  throw Object.assign(new Error(`${path} is not a directory`), { code: 'ENOTDIR' });
}
