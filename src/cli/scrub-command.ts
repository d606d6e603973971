/** `sealfs scrub start|status|stop`: verifies the checksums of all that is stored, in the background. */
import { Option } from 'commander';
import type { Command } from 'commander';
import type { ScrubStatus } from '../common/manager-api.js';
import { scrubRateDefault } from '../common/manager-api.js';
import { formatBytes } from '../common/sizes.js';
import { addExample, addJsonOption, addManagerOption, clientOf } from './common-options.js';
import { integer } from './option-values.js';
import { printJson, printLine, printTable } from './output.js';

const MEBIBYTE = 1024 * 1024;
const rateMaxMebibytes = 1_000_000;

interface ScrubOptions {
  manager: string;
  json?: true;
  rate?: number;
}

type Ask = (options: ScrubOptions) => Promise<ScrubStatus>;

export function addScrub(program: Command): void {
  const scrub = program
    .command('scrub')
    .description('verify the checksums of all that is stored, in the background');
  addExample(scrub, 'sealfs scrub start --rate 200', 'sealfs scrub status');
  const start = addAction(
    scrub,
    'start',
    'begin a pass over everything, or give the one under way another rate',
    ({ rate, ...options }) =>
      clientOf(options).startScrub(rate === undefined ? undefined : rate * MEBIBYTE),
  );
  start.addOption(
    new Option(
      '--rate <MiB/s>',
      `what each target reads at most a second (default: ${scrubRateDefault / MEBIBYTE})`,
    ).argParser(integer('--rate', 1, rateMaxMebibytes)),
  );
  addExample(start, 'sealfs scrub start --manager http://10.0.0.1:7300 --rate 200');
  const status = addAction(scrub, 'status', 'how far it is, and what damage it found', (options) =>
    clientOf(options).scrub(),
  );
  addExample(status, 'sealfs scrub status --json');
  const stop = addAction(scrub, 'stop', 'end the pass where it is', (options) =>
    clientOf(options).stopScrub(),
  );
  addExample(stop, 'sealfs scrub stop');
}

function addAction(scrub: Command, name: string, description: string, ask: Ask): Command {
  const command = scrub.command(name).description(description);
  addManagerOption(addJsonOption(command));
  command.action(async (options: ScrubOptions) => {
    const status = await ask(options);
    if (options.json === true) printJson(status);
    else printStatus(status);
  });
  return command;
}

function printStatus(status: ScrubStatus): void {
  for (const line of describeScrub(status)) printLine(line);
  const reports = status.targets.flatMap(({ targetId, scrub }) =>
    scrub === undefined || scrub.run === 0 ? [] : [{ targetId, scrub }],
  );
  if (reports.length === 0) return;
  printLine('');
  printTable(
    ['TARGET', 'STATE', 'DONE', 'CHECKED', 'EXTENTS', 'DAMAGED', 'STARTED', 'FINISHED'],
    reports.map(({ targetId, scrub }) => [
      targetId,
      scrub.run === status.run ? scrub.state : 'not begun',
      `${Math.floor(scrub.progress * 100)} %`,
      formatBytes(scrub.checkedBytes),
      String(scrub.checkedExtents),
      String(scrub.damagedExtents),
      scrub.startedAt,
      scrub.finishedAt,
    ]),
  );
  const damage = reports.flatMap(({ targetId, scrub }) =>
    scrub.damage.map((one) => ({ targetId, ...one })),
  );
  if (damage.length === 0) return;
  printLine('');
  printTable(
    ['INODE', 'CHUNK', 'OFFSET', 'LENGTH', 'TARGET', 'DEVICE', 'BLOCK', 'WHAT'],
    damage.map((one) => [
      String(one.inode),
      String(one.chunk),
      String(one.offset),
      String(one.lengthBytes),
      one.targetId,
      one.device < 0 ? '-' : String(one.device),
      one.device < 0 ? '-' : String(one.block),
      one.reason,
    ]),
  );
}

/** The pass as a whole, in words. */
export function describeScrub(status: ScrubStatus): string[] {
  if (status.run === 0) return ['no scrub has been started; start one: sealfs scrub start'];
  const rate = `${formatBytes(status.bytesPerSecond)} a second and target`;
  const { checkedBytes, checkedExtents, damagedExtents, skippedExtents } = status;
  const lines = [
    `scrub     ${status.state}, at most ${rate}`,
    `checked   ${formatBytes(checkedBytes)} in ${checkedExtents} extents, ${damagedExtents} damaged`,
  ];
  if (skippedExtents > 0) {
    lines.push(`skipped   ${skippedExtents} extents on devices that are out of use`);
  }
  return lines;
}
