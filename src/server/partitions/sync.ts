/** fsync of a directory with partitions: each target that has some syncs what it has decided, and itself. */
import { bucketOfInode } from '../../placement/inode-number.js';
import { Opcode } from '../../protocol/wire.generated.js';
import type { CoordinatorHost } from '../transactions/coordinator.js';
import { NumberOperation } from '../transactions/messages.js';
import { readTable } from './table.js';

const RETRY_MS = 1000;

/** `done` when the other targets' partitions of the directory are power-safe; at once if there are none. */
export function syncPartitions(host: CoordinatorHost, directory: number, done: () => void): void {
  const partitions = new Map<number, number>();
  for (const { inode } of readTable(host.meta, directory)?.rows.slice(1) ?? []) {
    const holder = host.holderOf(bucketOfInode(inode));
    if (holder !== undefined && holder >= 0) partitions.set(holder, inode);
  }
  let left = partitions.size;
  if (left === 0) done();
  for (const [holder, inode] of partitions) {
    ask(host, holder, inode, () => {
      if (--left === 0) done();
    });
  }
}

function ask(host: CoordinatorHost, holder: number, partition: number, done: () => void): void {
  const again = (): void => {
    host.scheduler.setTimer(RETRY_MS, () => {
      ask(host, holder, partition, done);
    });
  };
  const peer = host.peerOf(holder);
  if (peer === undefined) {
    again();
    return;
  }
  const operation = new NumberOperation(host.arena, Opcode.Fsync, partition);
  operation.answered = (status) => {
    if (status === 0) done();
    else again();
  };
  peer.call(operation);
}
