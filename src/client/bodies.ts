/** Request bodies that operations share, written at an arena offset; each returns its length. */
import type { ArenaMemory } from '../native/arena-memory.js';
import { writeI53, writeU16, writeU53 } from '../protocol/u53.js';
import {
  CreateRequest,
  ExtendRequest,
  InodeRequest,
  NameRequest,
  OpenRequest,
  SetAttrRequest,
} from '../protocol/wire.generated.js';
import type { AttributeChange } from './attributes.js';
import type { NameCopy } from './request.js';

/** OpenRequest.flags */
export const OPEN_TRUNCATE = 1;
export const OPEN_AGAIN = 2;
export const OPEN_DROP_SET_ID = 4;
/** CreateRequest.flags */
export const CREATE_EXCLUSIVE = 1;
export const CREATE_REGISTER = 2;

export function encodeInode(arena: ArenaMemory, body: number, inode: number): number {
  writeU53(arena.words, body + InodeRequest.inode, inode);
  return InodeRequest.SIZE;
}

export function encodeName(
  arena: ArenaMemory,
  body: number,
  parent: number,
  name: NameCopy,
): number {
  const words = arena.words;
  writeU53(words, body + NameRequest.parent, parent);
  words[(body + NameRequest.nameBytes) >>> 2] = name.lengthBytes;
  words[(body + NameRequest.reserved1) >>> 2] = 0;
  name.writeTo(arena.bytes, body + NameRequest.SIZE);
  return NameRequest.SIZE + name.lengthBytes;
}

export function encodeOpen(arena: ArenaMemory, body: number, inode: number, flags: number): number {
  writeU53(arena.words, body + OpenRequest.inode, inode);
  arena.words[(body + OpenRequest.flags) >>> 2] = flags;
  arena.words[(body + OpenRequest.reserved) >>> 2] = 0;
  return OpenRequest.SIZE;
}

export function encodeExtend(
  arena: ArenaMemory,
  body: number,
  inode: number,
  sizeBytes: number,
  dropSetId: boolean,
): number {
  writeU53(arena.words, body + ExtendRequest.inode, inode);
  writeU53(arena.words, body + ExtendRequest.sizeBytes, sizeBytes);
  arena.words[(body + ExtendRequest.flags) >>> 2] = dropSetId ? 1 : 0;
  arena.words[(body + ExtendRequest.reserved) >>> 2] = 0;
  return ExtendRequest.SIZE;
}

export function encodeSetAttr(
  arena: ArenaMemory,
  body: number,
  inode: number,
  change: AttributeChange,
): number {
  const words = arena.words;
  writeU53(words, body + SetAttrRequest.inode, inode);
  writeU53(words, body + SetAttrRequest.sizeBytes, change.sizeBytes);
  writeI53(words, body + SetAttrRequest.atimeSeconds, change.atimeSeconds);
  writeI53(words, body + SetAttrRequest.mtimeSeconds, change.mtimeSeconds);
  words[(body + SetAttrRequest.atimeNanoseconds) >>> 2] = change.atimeNanoseconds;
  words[(body + SetAttrRequest.mtimeNanoseconds) >>> 2] = change.mtimeNanoseconds;
  words[(body + SetAttrRequest.valid) >>> 2] = change.valid;
  words[(body + SetAttrRequest.mode) >>> 2] = change.mode;
  words[(body + SetAttrRequest.uid) >>> 2] = change.uid;
  words[(body + SetAttrRequest.gid) >>> 2] = change.gid;
  return SetAttrRequest.SIZE;
}

/** The parts of a CreateRequest that are not its name. */
export interface CreateFields {
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  flags: number;
  umask: number;
}

export function encodeCreate(
  arena: ArenaMemory,
  body: number,
  parent: number,
  fields: CreateFields,
  name: NameCopy,
): number {
  const words = arena.words;
  writeU53(words, body + CreateRequest.parent, parent);
  words[(body + CreateRequest.mode) >>> 2] = fields.mode;
  words[(body + CreateRequest.uid) >>> 2] = fields.uid;
  words[(body + CreateRequest.gid) >>> 2] = fields.gid;
  words[(body + CreateRequest.rdev) >>> 2] = fields.rdev;
  writeU16(words, body + CreateRequest.nameBytes, name.lengthBytes);
  writeU16(words, body + CreateRequest.flags, fields.flags);
  words[(body + CreateRequest.umask) >>> 2] = fields.umask;
  name.writeTo(arena.bytes, body + CreateRequest.SIZE);
  return CreateRequest.SIZE + name.lengthBytes;
}
