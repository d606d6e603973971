/**
 * What the manager knows of servers only while it runs: when each was last heard, and the capacity
 * that its targets reported. None of it is stored; a restarted manager calls every server
 * `suspect` until it is heard, and `down` when it stays silent.
 */
import type { DeviceReport, Health, ScrubReport } from '../common/manager-api.js';
import { downAfterMs, suspectAfterMs } from '../common/manager-api.js';

export interface TargetReport {
  totalBytes: number;
  freeBytes: number;
  inodes: number;
  devices: DeviceReport[];
  counters: Record<string, number>;
  scrub?: ScrubReport | undefined;
}

export const emptyReport: TargetReport = {
  totalBytes: 0,
  freeBytes: 0,
  inodes: 0,
  devices: [],
  counters: {},
};

export class HealthBook {
  private readonly nowMs: () => number;
  private readonly startedMs: number;
  private readonly heardMs = new Map<string, number>();
  private readonly reports = new Map<string, TargetReport>();

  /** `nowMs`: monotonic milliseconds. */
  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
    this.startedMs = nowMs();
  }

  heard(serverId: string): void {
    this.heardMs.set(serverId, this.nowMs());
  }

  /** Null if the server was not heard since this manager started. */
  silentMs(serverId: string): number | null {
    const heard = this.heardMs.get(serverId);
    return heard === undefined ? null : this.nowMs() - heard;
  }

  state(serverId: string): Health {
    const silent = this.silentMs(serverId);
    if (silent === null) {
      return this.nowMs() - this.startedMs < downAfterMs ? 'suspect' : 'down';
    }
    if (silent < suspectAfterMs) return 'up';
    return silent < downAfterMs ? 'suspect' : 'down';
  }

  setReport(targetId: string, report: TargetReport): void {
    this.reports.set(targetId, report);
  }

  report(targetId: string): TargetReport {
    return this.reports.get(targetId) ?? emptyReport;
  }
}
