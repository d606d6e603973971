/** /metrics: the cluster in Prometheus' text format, computed when it is asked for. */
import { Counter, Gauge, Registry } from 'prom-client';
import type { Cluster } from './cluster.js';
import type { WatchHub } from './watch.js';

const states = ['up', 'suspect', 'down'] as const;

export interface ManagerMetrics {
  registry: Registry;
  heartbeats: Counter;
}

export function createMetrics(cluster: Cluster, hub: WatchHub): ManagerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const simple = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  };
  simple('sealfs_cluster_epoch', 'Epoch of the cluster map', () => cluster.epoch);
  simple('sealfs_volumes', 'Volumes', () => cluster.volumes().length);
  simple('sealfs_watchers', 'Open watch streams', () => hub.size);
  simple('process_resident_memory_bytes', 'Resident memory of the manager', () =>
    process.memoryUsage.rss(),
  );
  simple('process_uptime_seconds', 'Seconds since the manager started', () => process.uptime());
  new Gauge({
    name: 'sealfs_servers',
    help: 'Servers by state',
    labelNames: ['state'],
    registers,
    collect() {
      const servers = cluster.servers();
      for (const state of states) {
        this.set({ state }, servers.filter((server) => server.state === state).length);
      }
    },
  });
  addTargetGauges(cluster, registry);
  const heartbeats = new Counter({
    name: 'sealfs_heartbeats_total',
    help: 'Heartbeats accepted',
    registers,
  });
  return { registry, heartbeats };
}

function addTargetGauges(cluster: Cluster, registry: Registry): void {
  const labels = (serverId: string, target: { targetId: string; role: string }) => ({
    server: serverId,
    target: target.targetId,
    role: target.role,
  });
  type Target = ReturnType<Cluster['servers']>[number]['targets'][number];
  const perTarget = (name: string, help: string, value: (target: Target) => number): void => {
    new Gauge({
      name,
      help,
      labelNames: ['server', 'target', 'role'],
      registers: [registry],
      collect() {
        this.reset();
        for (const { serverId, targets } of cluster.servers()) {
          for (const target of targets) this.set(labels(serverId, target), value(target));
        }
      },
    });
  };
  perTarget('sealfs_target_up', '1 if its server is up', (target) => +(target.state === 'up'));
  perTarget('sealfs_target_bytes', 'Capacity', (target) => target.totalBytes);
  perTarget('sealfs_target_free_bytes', 'Free capacity', (target) => target.freeBytes);
  perTarget('sealfs_target_inodes', 'Inodes in use', (target) => target.inodes);
  perTarget(
    'sealfs_target_failed_devices',
    'Data devices taken out of use',
    (target) => target.devices.filter((device) => device.state === 'failed').length,
  );
  new Gauge({
    name: 'sealfs_target_counter',
    help: 'Other figures that targets report, by name',
    labelNames: ['server', 'target', 'role', 'counter'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { serverId, targets } of cluster.servers()) {
        for (const target of targets) {
          const { counters } = cluster.health.report(target.targetId);
          for (const [counter, value] of Object.entries(counters)) {
            this.set({ ...labels(serverId, target), counter }, value);
          }
        }
      }
    },
  });
}
