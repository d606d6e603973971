/**
 * Gathers the leases that a directory in partitions is held by (leases/split-attributes.ts): its table, then the
 * record of each partition, all at the same time. Nobody waits for it.
 */
import { LEASE_INODE } from '../protocol/leases.js';
import { AttributesReply, InodeRequest, Opcode } from '../protocol/wire.generated.js';
import { RpcOperation } from '../transport/rpc-client.js';
import { encodeInode } from './bodies.js';
import type { ClientContext } from './context.js';
import { TableFetch } from './partition-tables.js';

class RecordOperation extends RpcOperation {
  readonly #context: ClientContext;
  readonly #inode: number;
  readonly #ended: (isLeased: boolean) => void;

  constructor(context: ClientContext, inode: number, ended: (isLeased: boolean) => void) {
    super();
    this.#context = context;
    this.#inode = inode;
    this.#ended = ended;
    this.opcode = Opcode.GetAttr;
    this.bodyBytes = InodeRequest.SIZE;
  }

  override encode(body: number): number {
    return encodeInode(this.#context.arena, body, this.#inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const isWhole = status === 0 && bodyBytes >= AttributesReply.SIZE;
    const flags = isWhole ? this.#context.arena.words[(body + AttributesReply.flags) >>> 2]! : 0;
    this.#ended((flags & LEASE_INODE) !== 0);
  }
}

export function gatherPartitions(context: ClientContext, directory: number): void {
  const { splits } = context.leases;
  const losses = splits.losses(directory);
  const fetch = new TableFetch(context, (status) => {
    const inodes = status === 0 ? context.partitions.othersOf(directory) : [];
    if (inodes.length === 0 || losses < 0) {
      splits.failed(directory);
      return;
    }
    splits.partitions(directory, inodes);
    let left = inodes.length;
    let isHeld = true;
    for (const inode of inodes) {
      const operation = new RecordOperation(context, inode, (isLeased) => {
        isHeld = isHeld && isLeased;
        if (--left > 0) return;
        if (isHeld) splits.gathered(directory, losses);
        else splits.failed(directory);
      });
      context.peerOfInode(inode).call(operation);
    }
  });
  fetch.start(directory);
}
