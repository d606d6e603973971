/** Generated from schema/ by `npm run generate`; do not edit. Byte offsets of fixed structs; SIZE is a struct's length. */

export const ChunkKind = {
  /** the data follows the header */
  Inline: 1,
  /** extents, CRC words and inline bytes follow */
  Extents: 2,
} as const;

export const ChunkHeader = {
  SIZE: 8,
  /** ubyte */
  kind: 0,
  /** ubyte: zero */
  flags: 1,
  /** ushort: zero with Inline */
  extentCount: 2,
  /** uint: byte after the last written one, in the chunk */
  end: 4,
} as const;

export const ChunkExtent = {
  SIZE: 16,
  /** uint: in the chunk */
  offset: 0,
  /** uint: bytes, not 0 */
  length: 4,
  /** ushort: number in the target; 0xffff: the bytes lie in this value */
  device: 8,
  /** ushort: bytes of the first block before the extent's own */
  skip: 10,
  /** uint: first block of the device; device 0xffff: byte position among the inline bytes */
  block: 12,
} as const;

/** behind the key of a run of blocks that several chunks use equally often */
export const SharedRun = {
  SIZE: 8,
  /** uint: first block of the run */
  start: 0,
  /** uint: chunks that use it, less one; not 0 */
  extra: 4,
} as const;

export const SuperblockHead = {
  SIZE: 24,
  /** uint: 'SEAL' */
  magicLow: 0,
  /** uint: 'FSDV' */
  magicHigh: 4,
  /** uint: 1 */
  version: 8,
  /** uint: 4096 */
  blockBytes: 12,
  /** uint: of the device, this one included */
  totalBlocks: 16,
  /** ushort: of the device in its target */
  number: 20,
  /** ushort */
  reserved: 22,
} as const;
