/**
 * What interception can reach at most on this machine: the same operations asked of the client's core by a program that
 * has it in itself, as many at once as there are ranks. Nothing crosses from a program to a mount process, neither the
 * kernel's way nor another; what is left is the core, the network, the servers and their disks.
 */
import { join } from 'node:path';
import { openVolume } from '../src/client/files.js';
import type { OpenVolume } from '../src/client/files.js';
import { ManagerClient } from '../src/common/manager-client.js';
import type { MicroMode } from './micro-ranks.js';

const SMALL_BYTES = 4096;
const LARGE_BYTES = 2 ** 20;
/** Between two small transfers, as sealfs_rank has them: far apart. */
const SMALL_STRIDE = 7919;

/** Operations a second: each of `atOnce` workers does one after the other until the time, or their number, is up. */
async function rateOf(
  atOnce: number,
  seconds: number,
  most: number,
  operation: (worker: number, i: number) => Promise<unknown>,
): Promise<number> {
  const began = performance.now();
  const until = began + seconds * 1000;
  let done = 0;
  const work = async (worker: number): Promise<void> => {
    for (let i = 0; i < most && performance.now() < until; i++, done++) await operation(worker, i);
  };
  await Promise.all(Array.from({ length: atOnce }, (_, worker) => work(worker)));
  return (done / (performance.now() - began)) * 1000;
}

async function transfers(
  volume: OpenVolume,
  dir: string,
  atOnce: number,
  seconds: number,
  bytes: number,
  pieceBytes: number,
  writes: boolean,
): Promise<number> {
  const pieces = Math.max(1, Math.floor(bytes / pieceBytes));
  const buffer = new Uint8Array(pieceBytes).fill(7);
  const names = Array.from({ length: atOnce }, (_, worker) => join(dir, `data-${worker}`));
  const handles = await Promise.all(names.map((name) => volume.open(name, 'w+')));
  for (const handle of handles) {
    const whole = new Uint8Array(LARGE_BYTES).fill(7);
    for (let at = 0; at < bytes; at += LARGE_BYTES) await handle.write(whole, at);
  }
  const stride = pieceBytes === SMALL_BYTES ? SMALL_STRIDE : 1;
  const rate = await rateOf(atOnce, seconds, Infinity, (worker, i) => {
    const position = ((i * stride) % pieces) * pieceBytes;
    const handle = handles[worker]!;
    return writes ? handle.write(buffer, position) : handle.read(buffer, position);
  });
  for (const handle of handles) handle.close();
  for (const name of names) await volume.unlink(name);
  return rate;
}

/** Of this mode, as `runMicroRanks` has it: operations or bytes a second. Undefined: the core alone has no such thing. */
export async function coreRate(
  mode: MicroMode,
  atOnce: number,
  sizes: { seconds: number; removed: number; mebibytes: number },
): Promise<number | undefined> {
  const manager = process.env['SEALFS_MANAGER'];
  if (manager === undefined) throw new Error('SEALFS_MANAGER is not set: run under sealfs up');
  const { seconds, removed } = sizes;
  const bytes = sizes.mebibytes * LARGE_BYTES;
  const volume = await openVolume({
    managerUrl: manager,
    volume: (await new ManagerClient(manager).volumes())[0]!,
  });
  const dir = `/core-${mode}-${atOnce}`;
  const file = (worker: number, i: number): string => join(dir, `${worker}`, `f${i}`);
  try {
    await volume.mkdir(dir);
    for (let worker = 0; worker < atOnce; worker++) await volume.mkdir(join(dir, `${worker}`));
    const create = async (worker: number, i: number): Promise<void> => {
      (await volume.open(file(worker, i), 'wx')).close();
    };
    switch (mode) {
      case 'create-close':
        return await rateOf(atOnce, seconds, Infinity, create);
      case 'unlink':
        await rateOf(atOnce, Infinity, removed, create);
        return await rateOf(atOnce, Infinity, removed, (worker, i) =>
          volume.unlink(file(worker, i)),
        );
      case 'small-read':
      case 'small-write':
        return await transfers(
          volume,
          dir,
          atOnce,
          seconds,
          bytes,
          SMALL_BYTES,
          mode === 'small-write',
        );
      case 'seq-read':
      case 'seq-write': {
        const rate = await transfers(
          volume,
          dir,
          atOnce,
          seconds,
          bytes,
          LARGE_BYTES,
          mode === 'seq-write',
        );
        return rate * LARGE_BYTES;
      }
      default:
        return undefined;
    }
  } finally {
    await volume.rm(dir, { recursive: true });
    await volume.close();
  }
}
