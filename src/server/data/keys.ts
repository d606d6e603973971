/**
 * Keys of chunks and of the allocator (table: docs/internals.md, "Metadata keys"). Big endian, so
 * that byte order is number order. Each function fills a buffer of its own and returns it: valid
 * until its next call.
 */
const TWO_32 = 4294967296;
const CHUNK = 0x43; // 'C'
const ALLOCATOR = 0x41; // 'A'
const SHARED = 0x52; // 'R'

export const CHUNK_KEY_BYTES = 17;
/** No chunk number reaches it: files end below 2^53 bytes. */
export const CHUNK_LIMIT = 2 ** 53;
/** Above every region: 2^32 blocks make 2^19 regions. */
const REGION_LIMIT = 2 ** 19;

const chunkBuffer = new Uint8Array(CHUNK_KEY_BYTES);
const chunkEndBuffer = new Uint8Array(CHUNK_KEY_BYTES);
const regionBuffer = new Uint8Array(9);
const regionEndBuffer = new Uint8Array(9);
const sharedBuffer = new Uint8Array(9);
const sharedEndBuffer = new Uint8Array(9);

/** `value`: below 2^53. */
function fill56(key: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  const low = value >>> 0;
  key[at] = high >>> 16;
  key[at + 1] = high >>> 8;
  key[at + 2] = high;
  key[at + 3] = low >>> 24;
  key[at + 4] = low >>> 16;
  key[at + 5] = low >>> 8;
  key[at + 6] = low;
}

function fillChunk(key: Uint8Array, bucket: number, inode: number, chunk: number): Uint8Array {
  key[0] = bucket >>> 8;
  key[1] = bucket;
  key[2] = CHUNK;
  fill56(key, 3, inode);
  fill56(key, 10, chunk);
  return key;
}

export function chunkKey(bucket: number, inode: number, chunk: number): Uint8Array {
  return fillChunk(chunkBuffer, bucket, inode, chunk);
}

/** End of a scan: before this chunk; by default after the last possible one in this bucket. */
export function chunkEndKey(bucket: number, inode: number, chunk = CHUNK_LIMIT): Uint8Array {
  return fillChunk(chunkEndBuffer, bucket, inode, chunk);
}

export function chunkOfKey(key: Uint8Array): number {
  const high = (key[10]! << 16) | (key[11]! << 8) | key[12]!;
  const low = ((key[13]! << 24) | (key[14]! << 16) | (key[15]! << 8) | key[16]!) >>> 0;
  return high * TWO_32 + low;
}

export function inodeOfChunkKey(key: Uint8Array): number {
  const high = (key[3]! << 16) | (key[4]! << 8) | key[5]!;
  const low = ((key[6]! << 24) | (key[7]! << 16) | (key[8]! << 8) | key[9]!) >>> 0;
  return high * TWO_32 + low;
}

/** Of any key of a bucket, not only a chunk's. */
export function bucketOfChunkKey(key: Uint8Array): number {
  return (key[0]! << 8) | key[1]!;
}

/** `number`: a u32. */
function fillDevice(key: Uint8Array, kind: number, device: number, number: number): Uint8Array {
  key[0] = 0xff;
  key[1] = 0xff;
  key[2] = kind;
  key[3] = device >>> 8;
  key[4] = device;
  key[5] = number >>> 24;
  key[6] = number >>> 16;
  key[7] = number >>> 8;
  key[8] = number;
  return key;
}

export function regionKey(device: number, region: number): Uint8Array {
  return fillDevice(regionBuffer, ALLOCATOR, device, region);
}

/** End of a scan over a device's regions. */
export function regionEndKey(device: number): Uint8Array {
  return fillDevice(regionEndBuffer, ALLOCATOR, device, REGION_LIMIT);
}

/** Of the run of shared blocks that ends before block `end`. */
export function sharedKey(device: number, end: number): Uint8Array {
  return fillDevice(sharedBuffer, SHARED, device, end);
}

/** End of a scan over a device's runs: no run ends there, since no device has a block there. */
export function sharedEndKey(device: number): Uint8Array {
  return fillDevice(sharedEndBuffer, SHARED, device, 0xffffffff);
}

export function endOfSharedKey(key: Uint8Array): number {
  return regionOfKey(key);
}

export function regionOfKey(key: Uint8Array): number {
  return ((key[5]! << 24) | (key[6]! << 16) | (key[7]! << 8) | key[8]!) >>> 0;
}
