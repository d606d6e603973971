/**
 * Keeps a core's cluster map up to date: follows the manager's watch stream and hands every newer
 * map over. A manager that is away changes nothing: the core goes on with the map that it has.
 */
import type { ClusterMap } from '../common/manager-api.js';
import type { ManagerClient } from '../common/manager-client.js';

export class MapWatcher {
  readonly #abort = new AbortController();
  readonly #watching: Promise<void>;

  /** `log` hears when the manager is lost and found. */
  constructor(
    manager: ManagerClient,
    afterEpoch: number,
    onMap: (map: ClusterMap) => void,
    log: (message: string) => void,
  ) {
    this.#watching = manager.watch(afterEpoch, onMap, {
      signal: this.#abort.signal,
      onConnection: (connected, reason) => {
        const state = connected ? 'found again' : 'away';
        log(`manager at ${manager.url} ${state}: ${reason}`);
      },
    });
  }

  /** Resolves when nothing of the watch is left. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#watching;
  }
}
