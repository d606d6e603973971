/**
 * The baseline of the FUSE benchmarks: the same addon as the mount, answering everything from a
 * JavaScript Map, without a cluster. Serves until SIGTERM or SIGINT, or until it is unmounted.
 *
 *   node dist/bench/fuse-map.js MOUNTPOINT
 */
import { Command, InvalidArgumentError } from 'commander';
import { MapFileSystem } from './map-file-system.js';
import { NativeArena } from '../src/native/arena.js';
import { FuseSession, OpenFlag } from '../src/native/fuse.js';
import { Reactor } from '../src/native/reactor.js';
import { SealfsError } from '../src/common/errors.js';

interface Options {
  entryTimeout: number;
  attributesTimeout: number;
  keepData: boolean;
  pageCache: boolean;
  spin?: number;
  bulkSlots: number;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('a whole number is needed');
  return Number(text);
}

function serve(mountpoint: string, options: Options, reactor: Reactor): void {
  const arena = new NativeArena({ messageSlots: 512, bulkSlots: options.bulkSlots });
  const files = new MapFileSystem(arena, {
    entryTimeoutMs: options.entryTimeout,
    attributesTimeoutMs: options.attributesTimeout,
    keepData: options.keepData,
    openFlags: options.pageCache ? 0 : OpenFlag.DirectIo | OpenFlag.ParallelDirectWrites,
  });
  const session = new FuseSession(
    reactor,
    arena,
    { mountpoint, filesystemName: 'sealfs-map', reserveBulkSlots: 8 },
    files,
  );
  files.onEnd = () => {
    session.close();
    reactor.close();
  };
  session.mount();
  const stop = (): void => {
    session.unmount({ lazy: true }).then(
      () => reactor.close(),
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`);
        process.exitCode = 1;
        session.close();
        reactor.close();
      },
    );
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.stdout.write(`mounted ${session.mountpoint}\n`);
}

new Command('fuse-map')
  .argument('<mountpoint>', 'an empty directory')
  .option('--entry-timeout <ms>', 'how long the kernel may keep names', wholeNumber, 0)
  .option('--attributes-timeout <ms>', 'how long the kernel may keep attributes', wholeNumber, 0)
  .option('--keep-data', 'keep what is written (default: discard it, read zeros)', false)
  .option('--page-cache', 'through the page cache instead of direct I/O', false)
  .option('--spin <us>', 'poll so long before sleeping', wholeNumber)
  .option('--bulk-slots <n>', '1 MiB slots of the arena', wholeNumber, 64)
  .action((mountpoint: string, options: Options) => {
    const spin = options.spin;
    const reactor = new Reactor(spin === undefined ? {} : { spinUs: spin, spinWaitingUs: spin });
    try {
      serve(mountpoint, options, reactor);
    } catch (error) {
      reactor.close();
      if (!(error instanceof SealfsError)) throw error;
      process.stderr.write(`fuse-map: ${error.message}\n`);
      process.exitCode = error.code === 'USAGE' ? 2 : 1;
    }
  })
  .parse();
