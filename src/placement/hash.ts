/**
 * Integer hashes of placement. They are part of the format: every client and target computes the
 * same buckets from them, so they never change (test/unit/placement pins values). 32-bit
 * multiply-xorshift mixing; no BigInt, no allocation.
 */
const TWO_32 = 4294967296;

/** A bijection of 32-bit words with full avalanche (two rounds of multiply and xorshift). */
export function mix32(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Hash of two words. */
export function mixPair(a: number, b: number): number {
  return mix32(mix32((a + 0x9e3779b9) | 0) ^ Math.imul(b, 0x85ebca6b) ^ (b >>> 13));
}

/** Hash of an inode number (below 2^53) and a small number. */
export function mixInode(inode: number, salt: number): number {
  return mixPair(mixPair(inode >>> 0, (inode / TWO_32) >>> 0), salt);
}

/** 32-bit hash of a text's UTF-16 units, for identities. */
export function hashText(text: string, seed: number): number {
  let h = mix32(seed ^ text.length);
  for (let i = 0; i < text.length; i++) h = mixPair(h, text.charCodeAt(i));
  return h;
}

/**
 * 44-bit hash of a name's bytes (`bytes[offset .. offset + lengthBytes)`): the dentry key. Two
 * lanes of multiply-rotate over the bytes, crossed and mixed at the end.
 */
export function nameHash44(bytes: Uint8Array, offset: number, lengthBytes: number): number {
  let a = 0x243f6a88 ^ lengthBytes;
  let b = 0x85a308d3;
  const end = offset + lengthBytes;
  for (let i = offset; i < end; i++) {
    const byte = bytes[i]!;
    a = Math.imul(a ^ byte, 0x01000193);
    a = (a << 13) | (a >>> 19);
    b = Math.imul(b + byte, 0xcc9e2d51);
    b = (b << 15) | (b >>> 17);
  }
  const low = mix32(a ^ Math.imul(b, 0x9e3779b1));
  const high = mix32(b ^ low);
  return (high & 0xfff) * TWO_32 + low;
}
