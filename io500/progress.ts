/**
 * What is shown while a run goes on: one live line on a terminal, one plain line for each finished
 * phase elsewhere. All of it goes to stderr, so that stdout holds nothing but the result.
 */
import type { Phase } from './phases.js';
import type { PhaseResult } from './results.js';
import { figure } from './report.js';

export interface ProgressSink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export class Progress {
  private readonly sink: ProgressSink;
  private readonly total: number;
  private finished = 0;
  private startedMs = 0;
  private live = false;

  /** `total`: how many phases there will be. */
  constructor(sink: ProgressSink, total: number) {
    this.sink = sink;
    this.total = total;
  }

  start(label: string, phase: Phase): void {
    this.startedMs = performance.now();
    this.draw(`${this.prefix(label)} ${phase.name}`);
  }

  update(label: string, phase: Phase, operations: number): void {
    const seconds = (performance.now() - this.startedMs) / 1000;
    const rate = figure(operations / Math.max(seconds, 0.001));
    this.draw(
      `${this.prefix(label)} ${phase.name}: ${operations} operations, ${rate}/s, ` +
        `${seconds.toFixed(0)} s`,
    );
  }

  end(label: string, result: PhaseResult): void {
    const { phase } = result;
    this.finished++;
    this.clear();
    const score = figure(result.score).padStart(10);
    this.sink.write(
      `${this.prefix(label, this.finished)} ${phase.name.padEnd(20)} ${score} ${phase.unit} in ` +
        `${result.seconds.toFixed(2)} s\n`,
    );
  }

  note(text: string): void {
    this.clear();
    this.sink.write(`${text}\n`);
  }

  /** Takes the live line away; needed before anybody else writes. */
  clear(): void {
    if (this.live) this.sink.write('\r\x1b[K');
    this.live = false;
  }

  private draw(text: string): void {
    if (this.sink.isTTY !== true) return;
    this.live = true;
    this.sink.write(`\r\x1b[K${text}`);
  }

  private prefix(label: string, step = this.finished + 1): string {
    const place = `[${String(step).padStart(2)}/${this.total}]`;
    return label === '' ? place : `${place} ${label}`;
  }
}
