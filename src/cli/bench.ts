/**
 * `sealfs bench …`: the registry of benchmarks. io500 registers itself; the others are measuring
 * programs of bench/ that return rows, each a `BenchEntry` here. They are loaded only when run.
 */
import type { Command } from 'commander';
import { addExample, addJsonOption } from './common-options.js';
import { ExitStatus } from './failure.js';

export interface BenchEntry {
  name: string;
  description: string;
  example: string;
  /** Adds options of its own. */
  configure?(command: Command): void;
  /** Measures, prints its report (JSON if `json`), and says whether every row is met. */
  run(options: BenchRunOptions): Promise<boolean>;
}

export interface BenchRunOptions {
  json: boolean;
  /** The command's options, as commander parsed them. */
  values: Record<string, unknown>;
}

/** Filled by bench/: one entry for each of rpc, meta, data, fuse. */
export const benches: BenchEntry[] = [];

export function addBench(program: Command): void {
  if (benches.length === 0) return;
  const bench = program.command('bench').description('measure');
  for (const entry of benches) addEntry(bench, entry);
}

function addEntry(bench: Command, entry: BenchEntry): void {
  const command = bench.command(entry.name).description(entry.description);
  addJsonOption(command);
  entry.configure?.(command);
  addExample(command, entry.example);
  command.action(async (values: Record<string, unknown>) => {
    const met = await entry.run({ json: values['json'] === true, values });
    if (!met) throw new ExitStatus(1);
  });
}
