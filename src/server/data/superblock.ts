/**
 * Block 0 of every device: whose it is and how long. Layout: docs/formats/data.md. Little endian;
 * written once, and again when the device grows.
 */
import { SealfsError } from '../../common/errors.js';
import { crc32cOf } from '../../native/crc32c.js';
import { SuperblockHead } from '../../protocol/data-format.generated.js';
import { blockBytes } from '../../protocol/limits.generated.js';

const MAGIC = 'SEALFSDV';
const VERSION = 1;
// Three texts behind the head, then zeros up to the CRC of everything before it.
const TEXT_BYTES = 64;
const DEVICE_ID_AT = 64;
const TARGET_ID_AT = 128;
const CLUSTER_ID_AT = 192;
const CRC_AT = blockBytes - 4;

export interface Superblock {
  /** UUID of the device, drawn when it was made. */
  deviceId: string;
  targetId: string;
  clusterId: string;
  /** Number of the device in its target. */
  number: number;
  totalBlocks: number;
}

export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const bytes = Buffer.alloc(blockBytes);
  bytes.write(MAGIC, SuperblockHead.magicLow, 'latin1');
  bytes.writeUInt32LE(VERSION, SuperblockHead.version);
  bytes.writeUInt32LE(blockBytes, SuperblockHead.blockBytes);
  bytes.writeUInt32LE(superblock.totalBlocks, SuperblockHead.totalBlocks);
  bytes.writeUInt16LE(superblock.number, SuperblockHead.number);
  writeText(bytes, DEVICE_ID_AT, superblock.deviceId);
  writeText(bytes, TARGET_ID_AT, superblock.targetId);
  writeText(bytes, CLUSTER_ID_AT, superblock.clusterId);
  bytes.writeUInt32LE(crc32cOf(bytes.subarray(0, CRC_AT)), CRC_AT);
  return bytes;
}

/** Undefined: the block is all zeros, the device is blank. Throws SealfsError for anything else. */
export function decodeSuperblock(block: Uint8Array, path: string): Superblock | undefined {
  if (block.length < blockBytes) {
    throw new SealfsError('CORRUPT', `${path} is shorter than one block`);
  }
  const bytes = Buffer.from(block.buffer, block.byteOffset, blockBytes);
  if (bytes.every((byte) => byte === 0)) return undefined;
  if (bytes.toString('latin1', 0, 8) !== MAGIC) {
    throw new SealfsError('EXISTS', `${path} holds something that is not a sealfs device`);
  }
  if (crc32cOf(bytes.subarray(0, CRC_AT)) !== bytes.readUInt32LE(CRC_AT)) {
    throw new SealfsError('CORRUPT', `${path}: the superblock is damaged (its CRC differs)`);
  }
  const version = bytes.readUInt32LE(SuperblockHead.version);
  if (version !== VERSION || bytes.readUInt32LE(SuperblockHead.blockBytes) !== blockBytes) {
    throw new SealfsError(
      'UNSUPPORTED',
      `${path} has format version ${version}; this program knows version ${VERSION}`,
    );
  }
  return {
    totalBlocks: bytes.readUInt32LE(SuperblockHead.totalBlocks),
    number: bytes.readUInt16LE(SuperblockHead.number),
    deviceId: readText(bytes, DEVICE_ID_AT),
    targetId: readText(bytes, TARGET_ID_AT),
    clusterId: readText(bytes, CLUSTER_ID_AT),
  };
}

function writeText(bytes: Buffer, at: number, text: string): void {
  if (Buffer.byteLength(text) > TEXT_BYTES) {
    throw new SealfsError('FAILED', `'${text}' is too long for a superblock`);
  }
  bytes.write(text, at, 'utf8');
}

function readText(bytes: Buffer, at: number): string {
  let end = at;
  while (end < at + TEXT_BYTES && bytes[end] !== 0) end++;
  return bytes.toString('utf8', at, end);
}
