/** `sealfs fsck`: checks a whole cluster, stopped or running, and repairs a stopped one. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { UsageError } from '../common/errors.js';
import type { CheckCounts, CheckResult, Finding } from '../fsck/findings.js';
import type { FsckCluster } from '../fsck/store-reader.js';
import {
  addExample,
  addJsonOption,
  addManagerOption,
  addTransportOption,
} from './common-options.js';
import type { TransportFlags } from './common-options.js';
import { ExitStatus, exitFailure } from './failure.js';
import { path } from './option-values.js';
import { Progress, printJson, printLine } from './output.js';

interface FsckOptions extends TransportFlags {
  manager: string;
  metaDir?: string[];
  data?: true;
  repair?: true;
  json?: true;
}

export function addFsck(program: Command): void {
  const command = program
    .command('fsck')
    .description(
      'check the whole cluster: a stopped one by its metadata directories, else the running one; ' +
        'exit 1 on findings',
    );
  const parseDir = path('--meta-dir');
  command.addOption(
    new Option(
      '--meta-dir <dir...>',
      'metadata directories of all servers, which are stopped; may be repeated',
    ).argParser((text, previous: string[] | undefined) => [...(previous ?? []), parseDir(text)]),
  );
  command.option('--data', 'read all data, too, and compare checksums (stopped clusters)');
  command.option('--repair', 'repair what has one right answer (stopped clusters)');
  addManagerOption(command);
  addTransportOption(command);
  addJsonOption(command);
  addExample(
    command,
    'sealfs fsck --manager http://10.0.0.1:7300',
    'sealfs fsck --meta-dir /pmem/sealfs-a --meta-dir /pmem/sealfs-b --data --repair',
  );
  command.action(async (options: FsckOptions) => {
    const { metaDir } = options;
    if (metaDir === undefined) await checkRunning(options);
    else if (command.getOptionValueSource('manager') === 'cli') {
      throw new UsageError(
        'give --meta-dir for a stopped cluster or --manager for a running one, not both',
      );
    } else await checkStopped(metaDir, options);
  });
}

async function checkRunning(options: FsckOptions): Promise<void> {
  if (options.repair === true) {
    throw new UsageError(
      '--repair needs a stopped cluster, because a repair may not race with changes; ' +
        'stop its servers, then: sealfs fsck --meta-dir DIR … --repair',
    );
  }
  if (options.data === true) {
    throw new UsageError(
      '--data needs a stopped cluster, because its devices are read directly; ' +
        'the checksums of a running one are verified by every read, and by sealfs scrub',
    );
  }
  const [{ OnlineCluster }, { checkCluster }] = await Promise.all([
    import('../fsck/online-stores.js'),
    import('../fsck/check.js'),
  ]);
  const { manager, transport, bind } = options;
  const online = await OnlineCluster.open({ managerUrl: manager, transport, bind });
  try {
    const result = await withProgress(online.cluster, checkCluster);
    conclude(online.cluster, result, undefined, options);
  } finally {
    await online.close();
  }
}

async function checkStopped(metaDirs: readonly string[], options: FsckOptions): Promise<void> {
  const [{ OfflineCluster }, { checkCluster }, { planRepair }] = await Promise.all([
    import('../fsck/offline-stores.js'),
    import('../fsck/check.js'),
    import('../fsck/repair.js'),
  ]);
  const offline = await OfflineCluster.open([...new Set(metaDirs)], options.data === true);
  try {
    const { cluster } = offline;
    if (options.repair !== true) {
      conclude(cluster, await withProgress(cluster, checkCluster), undefined, options);
      return;
    }
    const plan = await withProgress(cluster, planRepair);
    await offline.write(plan.changes);
    conclude(cluster, plan.first, plan.remaining, options);
  } finally {
    await offline.close();
  }
}

async function withProgress<T>(
  cluster: FsckCluster,
  work: (cluster: FsckCluster) => Promise<T>,
): Promise<T> {
  const progress = new Progress();
  const onProgress = (phase: string, target: number, pairs: number): void => {
    progress.update(() => {
      const of = `${target + 1} of ${cluster.targets.length}`;
      return `checking ${phase}: target ${of}, ${pairs} records`;
    });
  };
  try {
    return await work({ ...cluster, onProgress });
  } finally {
    progress.end();
  }
}

/** Prints what was found, and ends with status 1 when something is left to be found. */
function conclude(
  cluster: FsckCluster,
  { findings, counts }: CheckResult,
  remaining: readonly Finding[] | undefined,
  { json }: FsckOptions,
): void {
  const left = remaining ?? findings;
  const labelOf = ({ target }: Finding): string => cluster.targets[target]?.label ?? '';
  if (json === true) {
    const plain = (finding: Finding): Record<string, unknown> => {
      const { kind, inode, path: place, text, repair } = finding;
      return { kind, target: labelOf(finding), inode, path: place ?? null, text, repair };
    };
    printJson({
      clean: left.length === 0,
      findings: findings.map(plain),
      ...(remaining === undefined ? {} : { remaining: remaining.map(plain) }),
      targets: cluster.targets.length,
      counts,
    });
  } else {
    for (const finding of findings) printFinding(finding, labelOf(finding), remaining);
    printSummary(cluster, findings, remaining, counts);
  }
  if (left.length > 0) throw new ExitStatus(exitFailure);
}

function printFinding(
  finding: Finding,
  label: string,
  remaining: readonly Finding[] | undefined,
): void {
  const { kind, inode, text, repair } = finding;
  const place = finding.path ?? (inode === 0 ? '' : `inode ${inode}`);
  const where = [label, ...(finding.path === undefined || inode === 0 ? [] : [`inode ${inode}`])];
  const wouldBe = repair === '' ? 'no repair' : `--repair: ${repair}`;
  const was = repair === '' ? 'not repaired' : `repaired: ${repair}`;
  const mending = remaining === undefined ? wouldBe : was;
  printLine(`${kind}: ${place === '' ? '' : `${place}: `}${text} [${where.join(', ')}] ${mending}`);
}

function printSummary(
  cluster: FsckCluster,
  findings: readonly Finding[],
  remaining: readonly Finding[] | undefined,
  counts: CheckCounts,
): void {
  const what =
    `${cluster.targets.length} targets, ${counts.inodes} inodes (${counts.directories} ` +
    `directories), ${counts.entries} entries, ${counts.chunks} chunks, ` +
    `${counts.usedBlocks} blocks in use`;
  const read = counts.verifiedBytes === 0 ? '' : `, ${counts.verifiedBytes} bytes compared`;
  printLine(`checked ${what}${read}`);
  if (counts.unfinishedWrites > 0) {
    printLine(
      `${counts.unfinishedWrites} chunks lie behind the end of their files: ` +
        'writes that were cut short, no damage',
    );
  }
  if (counts.busyTargets > 0) {
    printLine(
      `${counts.busyTargets} targets were changed all the time: ` +
        'their counts of blocks and inodes could not be checked',
    );
  }
  if (findings.length === 0) {
    printLine('clean');
    return;
  }
  const repairable = findings.filter(({ repair }) => repair !== '').length;
  if (remaining !== undefined) {
    printLine(`${findings.length} findings, ${remaining.length} left`);
  } else {
    printLine(`${findings.length} findings, ${repairable} with one right repair`);
  }
}
