/** Generated from schema/ by `npm run generate`; do not edit. Limits and constants of the protocol. */

/** spoken in the handshake; a peer with another is refused */
export const protocolVersion = 1;
/** 'SFS1' little endian, first word of every frame */
export const frameMagic = 827540307;
/** size of a message slot and of the largest message */
export const messageSlotBytes = 16384;
/** payload of a bulk slot: one chunk */
export const bulkSlotBytes = 1048576;
/** free space before and after a bulk slot's payload, for headers and block padding */
export const bulkHeadroomBytes = 4096;
/** largest bulk of one request */
export const maxBulkBytes = 1048576;
/** unit of striping */
export const chunkBytes = 1048576;
/** unit of space on a data device and of checksums */
export const blockBytes = 4096;
/** a chunk whose data ends by here lives in the metadata store; data up to here travels in messages */
export const inlineDataBytes = 8192;
/** bulkTag of a frame without landing area */
export const noTag = 4294967295;
/** requests in flight of one session at one target */
export const rpcSlots = 64;
/** buckets of the name space */
export const bucketCount = 65536;
/** buckets that one file's chunks are spread over */
export const stripeBuckets = 128;
/** inode sequence numbers below are for volume roots */
export const firstSequence = 1048576;
/** NAME_MAX */
export const nameBytesMax = 255;
/** PATH_MAX - 1 */
export const symlinkBytesMax = 4095;
/** XATTR_NAME_MAX; ERANGE beyond */
export const xattrNameBytesMax = 255;
/** XATTR_SIZE_MAX; E2BIG beyond */
export const xattrValueBytesMax = 65536;
/** XATTR_LIST_MAX: names of one inode, each with a NUL; ENOSPC beyond */
export const xattrListBytesMax = 65536;
/** all extended attributes of one inode as they are stored; ENOSPC beyond */
export const xattrBytesMax = 262144;
/** an access control list as the kernel's FUSE module reads it; E2BIG beyond */
export const aclBytesMax = 4096;
/** extents in one chunk's map; compaction is forced before it is passed */
export const extentsPerChunkMax = 256;
/** EMLINK beyond */
export const linkCountMax = 65000;
/** operations of one batch: the results of so many fit a message */
export const batchItemsMax = 100;
/** largest file: 2^53 - 1; EFBIG beyond */
export const fileBytesMax = 9007199254740991;
