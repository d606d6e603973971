/** What each opcode is: the shortest body it can have, and the function that executes it. */
import {
  AdoptLayoutRequest,
  AwaitRequest,
  CancelLockRequest,
  ChangeSpaceRequest,
  AccessedRequest,
  BatchRequest,
  CloneRangeRequest,
  CreateRequest,
  CutRequest,
  EnsureRootRequest,
  ExtendRequest,
  InodeRequest,
  LinkRequest,
  LockProbeRequest,
  MakeDirRequest,
  MoveEntriesRequest,
  NameRequest,
  Opcode,
  OpenRequest,
  PartitionSumsRequest,
  PrepareRequest,
  ReadDirRequest,
  ReadRequest,
  RenameRequest,
  ReserveRequest,
  ResolveRequest,
  ReturnedRequest,
  SeekDataRequest,
  SetAttrRequest,
  SetLockRequest,
  SetXattrRequest,
  SymlinkRequest,
  TransactionStatusRequest,
  WriteRequest,
  XattrRequest,
} from '../protocol/wire.generated.js';
import type { Execute } from './batch.js';
import type { Call, Namespace } from './namespace.js';
import {
  dropPrivileges,
  extend,
  loadFile,
  markStriped,
  reserve,
  setAttr,
  setSize,
} from './namespace-attributes.js';
import { batchUnlink, batchWrite } from './namespace-batch.js';
import { create, ensureRoot, link, symlink } from './namespace-create.js';
import { ensureEmptyRoot, unlink } from './namespace-remove.js';
import { makeDir, removeDir } from './namespace-directories.js';
import { accessed } from './namespace-accessed.js';
import { tmpFile } from './namespace-tmpfile.js';
import { removeXattr, setXattr } from './namespace-xattrs.js';
import { rename } from './namespace-rename.js';
import { receiveEntries } from './partitions/steps.js';
import { prepare, resolve } from './transactions/participant.js';
import { adoptLayout, changeSpace, cloneRange } from './namespace-space.js';

interface Operation {
  bodyBytes: number;
  /** Of mutations that a transaction executes from their body alone. */
  execute?: Execute;
  /** Frees space: goes on when the disk is full. */
  frees?: boolean;
}

const operations: Partial<Record<number, Operation>> = {
  [Opcode.Lookup]: { bodyBytes: NameRequest.SIZE },
  [Opcode.GetAttr]: { bodyBytes: InodeRequest.SIZE },
  [Opcode.SetAttr]: { bodyBytes: SetAttrRequest.SIZE, execute: setAttr },
  [Opcode.Create]: { bodyBytes: CreateRequest.SIZE, execute: create },
  [Opcode.TmpFile]: { bodyBytes: CreateRequest.SIZE, execute: tmpFile },
  [Opcode.Symlink]: { bodyBytes: SymlinkRequest.SIZE, execute: symlink },
  [Opcode.ReadLink]: { bodyBytes: InodeRequest.SIZE },
  [Opcode.MakeDir]: { bodyBytes: MakeDirRequest.SIZE, execute: makeDir },
  [Opcode.RemoveDir]: { bodyBytes: NameRequest.SIZE, execute: removeDir, frees: true },
  [Opcode.Unlink]: { bodyBytes: NameRequest.SIZE, execute: unlink, frees: true },
  [Opcode.Link]: { bodyBytes: LinkRequest.SIZE, execute: link },
  [Opcode.Rename]: { bodyBytes: RenameRequest.SIZE, execute: rename },
  [Opcode.Open]: { bodyBytes: OpenRequest.SIZE },
  [Opcode.Release]: { bodyBytes: InodeRequest.SIZE },
  [Opcode.ReadDir]: { bodyBytes: ReadDirRequest.SIZE },
  [Opcode.StatFs]: { bodyBytes: 0 },
  [Opcode.Read]: { bodyBytes: ReadRequest.SIZE },
  [Opcode.Write]: { bodyBytes: WriteRequest.SIZE },
  [Opcode.Extend]: { bodyBytes: ExtendRequest.SIZE, execute: extend },
  [Opcode.MarkStriped]: { bodyBytes: InodeRequest.SIZE, execute: markStriped },
  [Opcode.Cut]: { bodyBytes: CutRequest.SIZE },
  [Opcode.Fsync]: { bodyBytes: 0 },
  [Opcode.EnsureRoot]: { bodyBytes: EnsureRootRequest.SIZE, execute: ensureRoot },
  [Opcode.Reserve]: { bodyBytes: ReserveRequest.SIZE, execute: reserve },
  [Opcode.TargetStats]: { bodyBytes: 0 },
  [Opcode.ChangeSpace]: { bodyBytes: ChangeSpaceRequest.SIZE, execute: changeSpace },
  [Opcode.AdoptLayout]: { bodyBytes: AdoptLayoutRequest.SIZE, execute: adoptLayout },
  [Opcode.CloneRange]: { bodyBytes: CloneRangeRequest.SIZE, execute: cloneRange },
  [Opcode.SeekData]: { bodyBytes: SeekDataRequest.SIZE },
  [Opcode.Prepare]: { bodyBytes: PrepareRequest.SIZE, execute: prepare },
  [Opcode.Resolve]: { bodyBytes: ResolveRequest.SIZE, execute: resolve, frees: true },
  [Opcode.MoveEntries]: { bodyBytes: MoveEntriesRequest.SIZE, execute: receiveEntries },
  [Opcode.PartitionSums]: { bodyBytes: PartitionSumsRequest.SIZE },
  [Opcode.GetPartitions]: { bodyBytes: InodeRequest.SIZE },
  [Opcode.TransactionStatus]: { bodyBytes: TransactionStatusRequest.SIZE },
  [Opcode.GetParent]: { bodyBytes: InodeRequest.SIZE },
  [Opcode.SetXattr]: { bodyBytes: SetXattrRequest.SIZE, execute: setXattr },
  [Opcode.GetXattr]: { bodyBytes: XattrRequest.SIZE },
  [Opcode.ListXattr]: { bodyBytes: XattrRequest.SIZE },
  [Opcode.RemoveXattr]: { bodyBytes: XattrRequest.SIZE, execute: removeXattr, frees: true },
  [Opcode.Accessed]: { bodyBytes: AccessedRequest.SIZE, execute: accessed },
  [Opcode.Await]: { bodyBytes: AwaitRequest.SIZE },
  [Opcode.EndSession]: { bodyBytes: 0 },
  [Opcode.Returned]: { bodyBytes: ReturnedRequest.SIZE },
  [Opcode.BatchLookup]: { bodyBytes: BatchRequest.SIZE },
  [Opcode.BatchGetAttr]: { bodyBytes: BatchRequest.SIZE },
  [Opcode.BatchRead]: { bodyBytes: BatchRequest.SIZE },
  [Opcode.BatchWrite]: { bodyBytes: BatchRequest.SIZE, execute: batchWrite },
  [Opcode.BatchUnlink]: { bodyBytes: BatchRequest.SIZE, execute: batchUnlink, frees: true },
  [Opcode.SetLock]: { bodyBytes: SetLockRequest.SIZE },
  [Opcode.GetLock]: { bodyBytes: SetLockRequest.SIZE },
  [Opcode.CancelLock]: { bodyBytes: CancelLockRequest.SIZE },
  [Opcode.LockProbe]: { bodyBytes: LockProbeRequest.SIZE },
  [Opcode.EnsureEmptyRoot]: {
    bodyBytes: InodeRequest.SIZE,
    execute: ensureEmptyRoot,
    frees: true,
  },
};

const OPCODES = 256;
const byOpcode: (Operation | undefined)[] = Array.from({ length: OPCODES }, (_, opcode) => {
  return operations[opcode];
});

/** 0 for opcodes that do not exist. */
export function minimumBody(opcode: number): number {
  return byOpcode[opcode]?.bodyBytes ?? 0;
}

export function mutationOf(opcode: number): Execute | undefined {
  return byOpcode[opcode]?.execute;
}

export function isFreeing(opcode: number): boolean {
  return byOpcode[opcode]?.frees ?? false;
}

const OPEN_DROP_SET_ID = 4;

/** Open with O_TRUNC. */
export function openTruncating(ns: Namespace, call: Call): number {
  const at = loadFile(ns, ns.inodeField(call, OpenRequest.inode));
  if (at < 0) return -at;
  const status = setSize(ns, call, at, 0);
  if (status !== 0) return status;
  const flags = call.memory.words[(call.body + OpenRequest.flags) >>> 2]!;
  dropPrivileges(ns, at, (flags & OPEN_DROP_SET_ID) !== 0);
  ns.replyAttributes(call, at, 0);
  call.openInode = ns.inodes.inode(at);
  call.result0 = call.openInode;
  return 0;
}
