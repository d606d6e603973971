/**
 * Answers to mutations that were executed already and are asked for again: built from the record
 * of the first answer and from what is stored now, changing nothing.
 */
import {
  Attributes,
  AttributesReply,
  CreateRequest,
  ExtendRequest,
  InodeRequest,
  Opcode,
  OpenRequest,
  SizeReply,
  SymlinkRequest,
} from '../protocol/wire.generated.js';
import { readU16, writeI53, writeU53 } from '../protocol/u53.js';
import type { RpcRequest } from '../transport/rpc-server.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './inode-record.js';
import { replyLayout, replyReserve } from './namespace-attributes.js';
import { CREATE_OPEN, replyEntry } from './namespace-create.js';
import { replyUnlink } from './namespace-remove.js';
import { replyChangeSpace } from './namespace-space.js';
import type { Call, Namespace } from './namespace.js';
import { replyPrepare } from './transactions/participant.js';

const UMASK_BITS = 0o777;

if (ExtendRequest.inode !== InodeRequest.inode) throw new Error('replay: layout');

/** The call's reply; 0 or an errno. `call.openInode`: to be registered again. */
export function replay(ns: Namespace, call: Call, request: RpcRequest): number {
  const { recordResult0: result0, recordResult1: result1 } = request;
  switch (request.opcode) {
    case Opcode.Create: {
      const flags = readU16(call.memory.words, call.body + CreateRequest.flags);
      if ((flags & CREATE_OPEN) !== 0) call.openInode = result0;
      const status = replyMade(ns, call, result0, CreateRequest, createdMode(call));
      // Who truncates what was there must know that it was.
      if (status === 0) call.out.words[(call.reply + AttributesReply.flags) >>> 2] = result1;
      return status;
    }
    case Opcode.TmpFile:
      call.openInode = result0;
      return ns.replyStored(call, result0);
    case Opcode.Open:
      call.openInode = ns.inodeField(call, OpenRequest.inode);
      return ns.replyStored(call, call.openInode);
    case Opcode.Symlink:
      return replyMade(ns, call, result0, SymlinkRequest, S_IFLNK | 0o777);
    case Opcode.SetAttr:
    case Opcode.SetXattr:
    case Opcode.RemoveXattr:
    case Opcode.EnsureRoot:
    case Opcode.AdoptLayout:
      return ns.replyStored(call, result0);
    case Opcode.MakeDir:
      replyEntry(call, result0, S_IFDIR);
      return 0;
    case Opcode.Link:
      replyEntry(call, result0, result1);
      return 0;
    case Opcode.Prepare:
      replyPrepare(call, result0, result1);
      return 0;
    case Opcode.Unlink:
      replyUnlink(call, result0, result1);
      return 0;
    case Opcode.Write:
    case Opcode.Reserve:
      replyReserve(call, result0, result1);
      return 0;
    case Opcode.Extend:
      writeU53(call.out.words, call.reply + SizeReply.sizeBytes, result1);
      call.replyBytes = SizeReply.SIZE;
      return 0;
    case Opcode.MarkStriped:
      replyLayout(call, result0);
      return 0;
    case Opcode.ChangeSpace:
    case Opcode.CloneRange:
      replyChangeSpace(call, result0, result1);
      return 0;
    default:
      return 0;
  }
}

function createdMode(call: Call): number {
  const { words } = call.memory;
  const mode = words[(call.body + CreateRequest.mode) >>> 2]!;
  const umask = words[(call.body + CreateRequest.umask) >>> 2]!;
  return ((mode & S_IFMT) === 0 ? mode | S_IFREG : mode) & ~(umask & UMASK_BITS);
}

/**
 * What the request has made. Somebody else may have removed it since: it was made all the same, so it is
 * answered as what has no name any more.
 */
function replyMade(
  ns: Namespace,
  call: Call,
  inode: number,
  request: { uid: number; gid: number },
  mode: number,
): number {
  if (ns.replyStored(call, inode) === 0) return 0;
  const { words } = call.out;
  const { reply } = call;
  words.fill(0, reply >>> 2, (reply + AttributesReply.SIZE) >>> 2);
  const now = ns.host.now();
  writeU53(words, reply + Attributes.inode, inode);
  writeI53(words, reply + Attributes.atimeSeconds, now.seconds);
  writeI53(words, reply + Attributes.mtimeSeconds, now.seconds);
  writeI53(words, reply + Attributes.ctimeSeconds, now.seconds);
  words[(reply + Attributes.mode) >>> 2] = mode;
  words[(reply + Attributes.uid) >>> 2] = call.memory.words[(call.body + request.uid) >>> 2]!;
  words[(reply + Attributes.gid) >>> 2] = call.memory.words[(call.body + request.gid) >>> 2]!;
  call.replyBytes = AttributesReply.SIZE;
  return 0;
}
