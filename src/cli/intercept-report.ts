/**
 * What intercepted programs say (native/intercept/report.cc): lines of JSON when they begin, execute another program,
 * and end. And what a person wants to know of it: counts and times of calls, and who said nothing, and why.
 */
import { z } from 'zod';

const byOutcome = z.record(z.string(), z.record(z.string(), z.number()));
const programReport = z.object({
  pid: z.number(),
  /** By call: `shim`, how many were answered through shared memory; others, by the number of the reason. */
  calls: byOutcome,
  /** Likewise, nanoseconds that they took the program. */
  ns: byOutcome.default({}),
});
export type ProgramReport = z.infer<typeof programReport>;

const reportLine = z.union([
  programReport,
  z.object({ pid: z.number(), began: z.string() }),
  z.object({ pid: z.number(), executes: z.string() }),
  z.object({ pid: z.number(), stays: z.number() }),
]);
type ReportLine = z.infer<typeof reportLine>;

export interface Report {
  /** Of programs that ended by exit(3), _exit(2), or by executing another. */
  programs: ProgramReport[];
  /** Programs that began and did not end so. */
  silent: { pid: number; program: string }[];
  /** What was executed: paths, or names to be looked for in PATH. Each once. */
  executed: string[];
}

/** native/common/intercept_layout.h (Fallback), native/intercept/attachment.h and report.h. */
const reasons: Record<string, string> = {
  4097: 'unknown handle',
  4098: 'not a file of the mount',
  4099: 'opened for O_DIRECT, or in another way that is the kernel’s',
  4100: 'the file is mapped, locked or read through the kernel, or open',
  4101: 'the path needs the kernel',
  4102: 'beyond the protocol’s limits',
  4103: 'too many open files',
  4104: 'the mount process could not',
  4200: 'all lanes in use, or the mount process has gone',
  4202: 'the file offset is shared with another process',
  4203: 'opened for appending, or file sizes are limited',
  4204: 'the kernel remembers the path',
  4205: 'the first small transfer after open',
  4206: 'descriptors come from the kernel',
  4207: 'a call that is always the kernel’s',
};

/** A line that was cut, by a process that was killed, does not count. */
function lineOf(text: string): ReportLine | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  return reportLine.parse(json);
}

/** All that the file of a run says. */
export function readReport(text: string): Report {
  const programs: ProgramReport[] = [];
  const running = new Map<number, string>();
  const executed: ({ pid: number; path: string } | undefined)[] = [];
  for (const each of text.split('\n')) {
    const line = lineOf(each);
    if (line === undefined) continue;
    if ('calls' in line) {
      programs.push(line);
      running.delete(line.pid);
    } else if ('began' in line) {
      running.set(line.pid, line.began);
    } else if ('executes' in line) {
      executed.push({ pid: line.pid, path: line.executes });
    } else {
      const last = executed.findLastIndex((one) => one?.pid === line.pid);
      if (last >= 0) executed[last] = undefined;
    }
  }
  const paths = executed.flatMap((one) => (one === undefined ? [] : [one.path]));
  const silent = [...running].map(([pid, program]) => ({ pid, program }));
  return { programs, silent, executed: [...new Set(paths)] };
}

type Sums = Map<string, Map<string, number>>;

function sumOf(tables: readonly Record<string, Record<string, number>>[]): Sums {
  const sums: Sums = new Map();
  for (const table of tables) {
    for (const [call, values] of Object.entries(table)) {
      const sum = sums.get(call) ?? new Map<string, number>();
      sums.set(call, sum);
      for (const [key, value] of Object.entries(values)) sum.set(key, (sum.get(key) ?? 0) + value);
    }
  }
  return sums;
}

/** Of what was answered through shared memory, and of all others. */
function bothWays(sum: ReadonlyMap<string, number> | undefined): { shim: number; kernel: number } {
  const shim = sum?.get('shim') ?? 0;
  const all = [...(sum?.values() ?? [])].reduce((total, value) => total + value, 0);
  return { shim, kernel: all - shim };
}

function meanUs(ns: number, count: number): string {
  return count === 0 ? '-' : (ns / count / 1000).toFixed(1);
}

export const reportHeads = [
  'call',
  'bypassed',
  'kernel',
  'bypassed, µs each',
  'kernel, µs each',
  'why the kernel',
];

/** As the heads say. */
export function reportRows(programs: readonly ProgramReport[]): string[][] {
  const times = sumOf(programs.map((program) => program.ns));
  return [...sumOf(programs.map((program) => program.calls))].map(([call, sum]) => {
    const counts = bothWays(sum);
    const ns = bothWays(times.get(call));
    sum.delete('shim');
    const why = [...sum].map(([reason, count]) => `${count} ${reasons[reason] ?? reason}`);
    return [
      call,
      String(counts.shim),
      String(counts.kernel),
      meanUs(ns.shim, counts.shim),
      meanUs(ns.kernel, counts.kernel),
      why.join(', '),
    ];
  });
}
