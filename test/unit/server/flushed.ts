/** Waits for a store's flush, for tests. */
import type { LmdbMetaStore } from '../../../src/server/meta-store.js';

export function flushed(store: LmdbMetaStore): Promise<void> {
  return new Promise((resolve, reject) => {
    store.flush((error) => {
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}
