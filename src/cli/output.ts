/** What commands print: JSON, tables, and the progress of long work. */
import Table from 'cli-table3';

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

export function printLine(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  printLine(tableText(head, rows));
}

/** Borderless columns, headed; every row has a cell for each head. */
export function tableText(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = Object.fromEntries(
    ['top', 'bottom', 'left', 'right']
      .flatMap((side) => [side, `${side}-mid`, `${side}-left`, `${side}-right`])
      .concat(['mid', 'mid-mid'])
      .map((name) => [name, '']),
  );
  const table = new Table({
    head: [...head],
    chars: { ...none, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  table.push(...rows.map((row) => [...row]));
  const lines = table.toString().split('\n');
  return lines.map((line) => line.trimEnd()).join('\n');
}

const lineIntervalMs = 5000;
const redrawIntervalMs = 100;

/**
 * Progress of long work on standard error: one line that redraws itself on a terminal, elsewhere a
 * plain line every 5 s.
 */
export class Progress {
  private readonly terminal = process.stderr.isTTY;
  private lastMs = performance.now();
  private drawn = false;

  update(text: () => string): void {
    const now = performance.now();
    if (now - this.lastMs < (this.terminal ? redrawIntervalMs : lineIntervalMs)) return;
    this.lastMs = now;
    this.drawn = true;
    process.stderr.write(this.terminal ? `\r\x1b[K${text()}` : `${text()}\n`);
  }

  /** Clears the line; what comes next is printed as usual. */
  end(): void {
    if (this.terminal && this.drawn) process.stderr.write('\r\x1b[K');
  }
}
