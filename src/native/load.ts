/**
 * Finds and loads the native addons: the only place that opens .node files. Each addon may be
 * absent (not built, or built without its library); the error then says which and why.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SealfsError } from '../common/errors.js';

/** The folder that holds package.json, from wherever this file was compiled to. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) {
      throw new SealfsError('FAILED', `no package.json above ${fileURLToPath(import.meta.url)}`);
    }
    folder = parent;
  }
  return folder;
}

/** Where the addons lie: SEALFS_NATIVE_DIR, else build/Release of the package. */
export function nativeFolder(): string {
  return process.env['SEALFS_NATIVE_DIR'] ?? join(packageRoot(), 'build', 'Release');
}

const require = createRequire(import.meta.url);

/**
 * Loads `name`.node; each thread gets its own instance, once. `T` is the addon's typed face. Throws
 * SealfsError UNSUPPORTED when it is not there or does not load.
 */
export function loadAddon<T>(name: string): T {
  const path = join(nativeFolder(), `${name}.node`);
  if (!existsSync(path)) {
    throw new SealfsError(
      'UNSUPPORTED',
      `native addon ${name} is not built (no ${path}): run npm run build:native`,
    );
  }
  try {
    return require(path) as T;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SealfsError('UNSUPPORTED', `native addon ${name} does not load: ${why}`, {
      cause: error,
    });
  }
}
