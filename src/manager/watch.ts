/**
 * The watch stream: one long answer of NDJSON lines, `{"epoch":N,"map":{…}}` at once if the
 * caller's epoch is another, then at each new epoch, and `{"epoch":N}` while nothing happens. A reader that
 * does not keep up gets the newest map when its socket drains, not every one in between.
 */
import type { ServerResponse } from 'node:http';
import { SealfsError } from '../common/errors.js';
import type { ClusterMap } from '../common/manager-api.js';
import { watchKeepaliveMs } from '../common/manager-api.js';
import type { Cluster } from './cluster.js';

/** Streams open at once; each holds a socket. */
const maxWatchers = 65_536;

class Watcher {
  readonly response: ServerResponse;
  private sentEpoch: number;

  constructor(response: ServerResponse, epoch: number) {
    this.response = response;
    this.sentEpoch = epoch;
  }

  /** Also called on 'drain', so what was skipped is caught up with. */
  offer(map: ClusterMap): void {
    if (map.epoch === this.sentEpoch || this.response.writableNeedDrain) return;
    this.sentEpoch = map.epoch;
    this.response.write(`${JSON.stringify({ epoch: map.epoch, map })}\n`);
  }

  keepalive(epoch: number): void {
    if (this.response.writableNeedDrain) return;
    this.response.write(`${JSON.stringify({ epoch })}\n`);
  }
}

export class WatchHub {
  private readonly cluster: Cluster;
  private readonly watchers = new Set<Watcher>();
  private readonly timer: NodeJS.Timeout;
  private readonly unsubscribe: () => void;

  constructor(cluster: Cluster, keepaliveMs = watchKeepaliveMs) {
    this.cluster = cluster;
    this.unsubscribe = cluster.onMap((map) => {
      for (const watcher of this.watchers) watcher.offer(map);
    });
    this.timer = setInterval(() => {
      for (const watcher of this.watchers) watcher.keepalive(cluster.epoch);
    }, keepaliveMs).unref();
  }

  get size(): number {
    return this.watchers.size;
  }

  /** Throws UNAVAILABLE when there are too many; call before anything is written. */
  checkRoom(): void {
    if (this.watchers.size >= maxWatchers) {
      throw new SealfsError('UNAVAILABLE', `more than ${maxWatchers} watchers`);
    }
  }

  /** Takes `response` over until its reader leaves or the hub closes. */
  add(response: ServerResponse, epoch: number): void {
    response.writeHead(200, {
      'content-type': 'application/x-ndjson',
      'cache-control': 'no-store',
    });
    const watcher = new Watcher(response, epoch);
    this.watchers.add(watcher);
    response.on('drain', () => {
      watcher.offer(this.cluster.map());
    });
    response.on('close', () => {
      this.watchers.delete(watcher);
    });
    // A first line in any case: the caller knows at once that it is heard.
    if (epoch === this.cluster.epoch) watcher.keepalive(epoch);
    else watcher.offer(this.cluster.map());
  }

  close(): void {
    clearInterval(this.timer);
    this.unsubscribe();
    for (const watcher of this.watchers) watcher.response.end();
  }
}
