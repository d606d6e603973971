/**
 * What intercepted programs say at their end (native/intercept/report.cc), one line of JSON each, and what a person
 * wants to know of it.
 */
import { z } from 'zod';

const programReport = z.object({
  pid: z.number(),
  /** By call: `shim`, how many were answered through shared memory; others, by the number of the reason. */
  calls: z.record(z.string(), z.record(z.string(), z.number())),
});
export type ProgramReport = z.infer<typeof programReport>;

/** native/common/intercept_layout.h (Fallback), native/intercept/attachment.h and report.h. */
const reasons: Record<string, string> = {
  4097: 'unknown handle',
  4098: 'not a file of the mount',
  4099: 'opened for O_DIRECT, or in another way that is the kernel’s',
  4100: 'the file is mapped, locked or read through the kernel',
  4101: 'the path needs the kernel',
  4102: 'beyond the protocol’s limits',
  4103: 'too many open files',
  4104: 'the mount process could not',
  4200: 'all lanes in use, or the mount process has gone',
  4202: 'the file offset is shared with another process',
  4203: 'opened for appending, or file sizes are limited',
};

/** Lines that are cut, by a process that was killed, do not count. */
export function parseReport(text: string): ProgramReport[] {
  const programs: ProgramReport[] = [];
  for (const line of text.split('\n')) {
    if (!line.endsWith('}}')) continue;
    programs.push(programReport.parse(JSON.parse(line)));
  }
  return programs;
}

/** Call, answered through shared memory, by the kernel, why. */
export function reportRows(programs: readonly ProgramReport[]): string[][] {
  const sums = new Map<string, Map<string, number>>();
  for (const { calls } of programs) {
    for (const [call, counts] of Object.entries(calls)) {
      const sum = sums.get(call) ?? new Map<string, number>();
      sums.set(call, sum);
      for (const [key, count] of Object.entries(counts)) sum.set(key, (sum.get(key) ?? 0) + count);
    }
  }
  return [...sums].map(([call, sum]) => {
    const shim = sum.get('shim') ?? 0;
    sum.delete('shim');
    const kernel = [...sum.values()].reduce((total, count) => total + count, 0);
    const why = [...sum].map(([reason, count]) => `${count} ${reasons[reason] ?? reason}`);
    return [call, String(shim), String(kernel), why.join(', ')];
  });
}

/** elf(5) */
const ELF64 = 2;
const PROGRAM_HEADERS_OFFSET = 32;
const PROGRAM_HEADER_BYTES = 54;
const PROGRAM_HEADER_COUNT = 56;
const PT_INTERP = 3;

/** From a file's first bytes: an ELF program that asks for no loader, so that nothing can be preloaded. */
export function isStaticProgram(head: Buffer): boolean {
  if (head.length < 64 || head.toString('latin1', 0, 4) !== '\x7fELF' || head[4] !== ELF64) {
    return false;
  }
  const first = Number(head.readBigUInt64LE(PROGRAM_HEADERS_OFFSET));
  const size = head.readUInt16LE(PROGRAM_HEADER_BYTES);
  const count = head.readUInt16LE(PROGRAM_HEADER_COUNT);
  for (let i = 0; i < count; i++) {
    const at = first + i * size;
    if (at + 4 > head.length) return false;
    if (head.readUInt32LE(at) === PT_INTERP) return false;
  }
  return true;
}
