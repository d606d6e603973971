/**
 * `sealfs bench …`: io500 brings its own options; the others are the suites of bench/, which is
 * loaded only when one is run.
 */
import { Option } from 'commander';
import type { Command } from 'commander';
import { existsSync } from 'node:fs';
import { registerIo500 } from '../../io500/cli.js';
import { UsageError } from '../common/errors.js';
import { offersInterception, preloadLibrary } from '../native/preload.js';
import { addExample, addJsonOption } from './common-options.js';
import { transportChoices } from '../transport/choices.js';
import type { TransportChoice } from '../transport/choices.js';
import { choice } from './option-values.js';
import { mountTemporarily } from './temporary-mount.js';
import { version } from './version.js';

/** Name of the suite in bench/suites.ts, and what it measures. */
const suites = [
  ['rpc', 'round trips and requests a second over loopback, beside a C ping-pong'],
  ['meta', 'creates and lookups at one target, beside LMDB in the same process'],
  ['data', '1 MiB and odd-sized records to the real disk, beside fio'],
  ['fuse', 'stat, create, read and write through a mount, beside a mount without a cluster'],
  ['posix', 'renames, operations across targets, rm -rf, clones, beside what they should cost'],
  ['intercept', 'programs that bypass the kernel, beside the same through FUSE'],
  ['sharing', 'what leases save on a mount, beside one without, and what a recall costs'],
  ['rdma', 'the rdma transport between two devices, beside perftest'],
  ['all', 'all of these but rdma, one after the other'],
] as const;

interface SuiteOptions {
  json?: true;
  tiny?: true;
  transport?: TransportChoice;
}

/** The preload library, for ranks on a directory where it is of use. */
export function preloadFor(directory: string): string {
  const library = preloadLibrary();
  if (!isInterceptable(directory)) {
    throw new UsageError(
      `--intercept: no mount process answers for ${directory}; docs/intercept.md says when one does`,
    );
  }
  return library;
}

/** A directory that is not there is found out by the benchmark, which says more of it. */
function isInterceptable(directory: string): boolean {
  return !existsSync(directory) || offersInterception(directory);
}

export function addBench(program: Command): void {
  const bench = program.command('bench').description('measure: IO500, and each layer by itself');
  addExample(
    bench,
    'sealfs bench io500 --dir /mnt/scratch --scale smoke',
    'sealfs bench rpc --json',
  );
  registerIo500(bench, {
    version: version(),
    preloadFor,
    mountVolume: (request) => mountTemporarily(request, program.opts<{ config?: string }>().config),
  });
  for (const [name, description] of suites) {
    const command = bench
      .command(name)
      .description(description)
      .option('--tiny', 'run for an instant, to see that it works; the figures mean nothing');
    addJsonOption(command);
    command.addOption(
      new Option('--transport <name>', 'tcp (default), rdma, or auto').argParser(
        choice('--transport', transportChoices),
      ),
    );
    addExample(command, `sealfs bench ${name} --json`);
    command.action(async (options: SuiteOptions) => {
      const { runSuite } = await import('../../bench/suites.js');
      const { printReport } = await import('../../bench/report.js');
      printReport(
        await runSuite(name, options.tiny === true, options.transport),
        options.json === true,
      );
    });
  }
}
