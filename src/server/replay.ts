/**
 * Answers to mutations that were executed already and are asked for again: built from the record
 * of the first answer and from what is stored now, changing nothing.
 */
import {
  CreateRequest,
  ExtendRequest,
  InodeRequest,
  Opcode,
  OpenRequest,
  SizeReply,
} from '../protocol/wire.generated.js';
import { readU16, writeU53 } from '../protocol/u53.js';
import type { RpcRequest } from '../transport/rpc-server.js';
import { replyLayout, replyReserve } from './namespace-attributes.js';
import { CREATE_OPEN, replyEntry } from './namespace-create.js';
import { replyUnlink } from './namespace-remove.js';
import { replyChangeSpace } from './namespace-space.js';
import type { Call, Namespace } from './namespace.js';
import { replyPrepare } from './transactions/participant.js';

if (ExtendRequest.inode !== InodeRequest.inode) throw new Error('replay: layout');

/** The call's reply; 0 or an errno. `call.openInode`: to be registered again. */
export function replay(ns: Namespace, call: Call, request: RpcRequest): number {
  const { recordResult0: result0, recordResult1: result1 } = request;
  switch (request.opcode) {
    case Opcode.Create: {
      const flags = readU16(call.memory.words, call.body + CreateRequest.flags);
      if ((flags & CREATE_OPEN) !== 0) call.openInode = result0;
      return ns.replyStored(call, result0);
    }
    case Opcode.TmpFile:
      call.openInode = result0;
      return ns.replyStored(call, result0);
    case Opcode.Open:
      call.openInode = ns.inodeField(call, OpenRequest.inode);
      return ns.replyStored(call, call.openInode);
    case Opcode.SetAttr:
    case Opcode.Symlink:
    case Opcode.SetXattr:
    case Opcode.RemoveXattr:
    case Opcode.EnsureRoot:
    case Opcode.AdoptLayout:
      return ns.replyStored(call, result0);
    case Opcode.MakeDir:
    case Opcode.Link:
      replyEntry(call, result0, 0);
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
