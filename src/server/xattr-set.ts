/**
 * All extended attributes of one inode, as one value (byte table: docs/formats/metadata.md): records
 * of name and value, one behind the other, sorted by name. Sets are small and rare, so a change
 * makes a new one; nothing of them is on the path of files that have none.
 */
import { xattrBytesMax, xattrListBytesMax } from '../protocol/limits.generated.js';
import { errno } from '../common/errno.js';

/** Before each name: u16 its length, u16 zero, u32 the value's length. */
const HEADER_BYTES = 8;

export interface Xattr {
  name: Buffer;
  value: Uint8Array;
}

/** Names and values are views of `stored`; undefined: it is damaged. */
export function parseXattrs(stored: Uint8Array): Xattr[] | undefined {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  const found: Xattr[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + HEADER_BYTES > bytes.length) return undefined;
    const nameAt = at + HEADER_BYTES;
    const valueAt = nameAt + bytes.readUInt16LE(at);
    const end = valueAt + bytes.readUInt32LE(at + 4);
    if (valueAt === nameAt || end > bytes.length) return undefined;
    found.push({ name: bytes.subarray(nameAt, valueAt), value: bytes.subarray(valueAt, end) });
    at = end;
  }
  return found;
}

/** A value to store; minus ENOSPC when it is more than one inode may have. */
export function packXattrs(xattrs: Xattr[]): Buffer | number {
  let bytes = 0;
  let listBytes = 0;
  for (const { name, value } of xattrs) {
    bytes += HEADER_BYTES + name.length + value.length;
    listBytes += name.length + 1;
  }
  if (bytes > xattrBytesMax || listBytes > xattrListBytesMax) return -errno.ENOSPC;
  const packed = Buffer.alloc(bytes);
  let at = 0;
  for (const { name, value } of xattrs) {
    packed.writeUInt16LE(name.length, at);
    packed.writeUInt32LE(value.length, at + 4);
    packed.set(name, at + HEADER_BYTES);
    packed.set(value, at + HEADER_BYTES + name.length);
    at += HEADER_BYTES + name.length + value.length;
  }
  return packed;
}

/** Index of the name, or minus one minus where it would stand. */
export function findXattr(xattrs: Xattr[], name: Uint8Array): number {
  let low = 0;
  let high = xattrs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = xattrs[middle]!.name.compare(name);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return -1 - low;
}
