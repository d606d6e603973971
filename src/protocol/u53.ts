/**
 * 64-bit fields of the wire as plain numbers: two little-endian u32 in memory, one number below
 * 2^53 in TypeScript, without BigInt or DataView. Offsets are byte offsets into the memory that
 * `words` views and are multiples of 8 on the wire (multiples of 4 suffice here).
 */
if (new Uint8Array(Uint32Array.of(1).buffer)[0] !== 1) {
  throw new Error('sealfs needs a little-endian machine: the wire is read in place');
}

const TWO_32 = 4294967296;
/** High words from here on make a value of 2^53 or more. */
const HIGH_LIMIT = 0x200000;

/** Unsigned; for values already checked, or made here. Above 2^53 the result is rounded. */
export function readU53(words: Uint32Array, byteOffset: number): number {
  const at = byteOffset >>> 2;
  return words[at]! + words[at + 1]! * TWO_32;
}

/** `value`: an integer in [0, 2^53). */
export function writeU53(words: Uint32Array, byteOffset: number, value: number): void {
  const at = byteOffset >>> 2;
  words[at] = value >>> 0;
  words[at + 1] = (value / TWO_32) >>> 0;
}

/** Whether the u64 at this place is below 2^53: asked of every field that a peer sent. */
export function isU53(words: Uint32Array, byteOffset: number): boolean {
  return words[(byteOffset >>> 2) + 1]! < HIGH_LIMIT;
}

/** Signed (times before 1970). */
export function readI53(words: Uint32Array, byteOffset: number): number {
  const at = byteOffset >>> 2;
  return words[at]! + (words[at + 1]! | 0) * TWO_32;
}

/** `value`: an integer in (-2^53, 2^53). */
export function writeI53(words: Uint32Array, byteOffset: number, value: number): void {
  const at = byteOffset >>> 2;
  words[at] = value >>> 0;
  words[at + 1] = Math.floor(value / TWO_32) >>> 0;
}

/** Whether the i64 at this place lies in (-2^53, 2^53). */
export function isI53(words: Uint32Array, byteOffset: number): boolean {
  const at = byteOffset >>> 2;
  const high = words[at + 1]! | 0;
  return high < HIGH_LIMIT && (high > -HIGH_LIMIT || (high === -HIGH_LIMIT && words[at] !== 0));
}

/** u16 at an even byte offset of memory viewed as u32 words. */
export function readU16(words: Uint32Array, byteOffset: number): number {
  return (words[byteOffset >>> 2]! >>> ((byteOffset & 2) << 3)) & 0xffff;
}

export function writeU16(words: Uint32Array, byteOffset: number, value: number): void {
  const at = byteOffset >>> 2;
  const shift = (byteOffset & 2) << 3;
  words[at] = (words[at]! & ~(0xffff << shift)) | ((value & 0xffff) << shift);
}

/** The number at this offset; 0 when it is too large for one. */
export function readU53OrZero(words: Uint32Array, byteOffset: number): number {
  return isU53(words, byteOffset) ? readU53(words, byteOffset) : 0;
}
