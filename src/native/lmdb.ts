/** The npm package lmdb with the binary that is built here: native/lmdb/mend.cmake says why. */
import './lmdb-binary.js';

export { open } from 'lmdb';
export type { RootDatabase } from 'lmdb';
