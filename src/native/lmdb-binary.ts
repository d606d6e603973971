/** Tells the package lmdb where its binary is, before it is loaded. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SealfsError } from '../common/errors.js';
import { nativeFolder } from './load.js';

const folder = join(nativeFolder(), 'lmdb');
const binary = join(folder, 'build', 'Release', 'lmdb.node');
// Without it the package would quietly take its own.
if (!existsSync(binary)) {
  throw new SealfsError(
    'UNSUPPORTED',
    `lmdb is not built (no ${binary}): run npm run build:native`,
  );
}
process.env['LMDB_PREBUILD'] = folder;
