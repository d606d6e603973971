/**
 * Block 0 of every device: whose it is and how long. Layout: docs/formats/data.md. Little endian;
 * written once, and again when the device grows.
 */
import { SealfsError } from '../../common/errors.js';
import { crc32cOf } from '../../native/crc32c.js';
import { blockBytes } from '../../protocol/limits.generated.js';

const MAGIC = 'SEALFSDV';
const VERSION = 1;
const TEXT_BYTES = 64;
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
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(blockBytes, 12);
  bytes.writeUInt32LE(superblock.totalBlocks, 16);
  bytes.writeUInt16LE(superblock.number, 20);
  writeText(bytes, 64, superblock.deviceId);
  writeText(bytes, 128, superblock.targetId);
  writeText(bytes, 192, superblock.clusterId);
  bytes.writeUInt32LE(crc32cOf(bytes.subarray(0, CRC_AT)), CRC_AT);
  return bytes;
}

/** Undefined: the block is all zeros, the device is blank. Throws SealfsError for anything else. */
export function decodeSuperblock(block: Uint8Array, path: string): Superblock | undefined {
  const bytes = Buffer.from(block.buffer, block.byteOffset, blockBytes);
  if (bytes.every((byte) => byte === 0)) return undefined;
  if (bytes.toString('latin1', 0, 8) !== MAGIC) {
    throw new SealfsError('EXISTS', `${path} holds something that is not a sealfs device`);
  }
  if (crc32cOf(bytes.subarray(0, CRC_AT)) !== bytes.readUInt32LE(CRC_AT)) {
    throw new SealfsError('CORRUPT', `${path}: the superblock is damaged (its CRC differs)`);
  }
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION || bytes.readUInt32LE(12) !== blockBytes) {
    throw new SealfsError(
      'UNSUPPORTED',
      `${path} has format version ${version}; this program knows version ${VERSION}`,
    );
  }
  return {
    totalBlocks: bytes.readUInt32LE(16),
    number: bytes.readUInt16LE(20),
    deviceId: readText(bytes, 64),
    targetId: readText(bytes, 128),
    clusterId: readText(bytes, 192),
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
