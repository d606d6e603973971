// Generated from schema/ by `npm run generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs::wire {

constexpr uint64_t kProtocolVersion = 1u;
constexpr uint64_t kFrameMagic = 827540307u;
constexpr uint64_t kMessageSlotBytes = 16384u;
constexpr uint64_t kBulkSlotBytes = 1048576u;
constexpr uint64_t kBulkHeadroomBytes = 4096u;
constexpr uint64_t kMaxBulkBytes = 1048576u;
constexpr uint64_t kChunkBytes = 1048576u;
constexpr uint64_t kBlockBytes = 4096u;
constexpr uint64_t kInlineDataBytes = 8192u;
constexpr uint64_t kNoTag = 4294967295u;
constexpr uint64_t kRpcSlots = 64u;
constexpr uint64_t kBucketCount = 65536u;
constexpr uint64_t kStripeBuckets = 128u;
constexpr uint64_t kFirstSequence = 1048576u;
constexpr uint64_t kNameBytesMax = 255u;
constexpr uint64_t kSymlinkBytesMax = 4095u;
constexpr uint64_t kXattrNameBytesMax = 255u;
constexpr uint64_t kXattrValueBytesMax = 65536u;
constexpr uint64_t kXattrListBytesMax = 65536u;
constexpr uint64_t kXattrBytesMax = 262144u;
constexpr uint64_t kAclBytesMax = 4096u;
constexpr uint64_t kExtentsPerChunkMax = 256u;
constexpr uint64_t kLinkCountMax = 65000u;
constexpr uint64_t kBatchItemsMax = 100u;
constexpr uint64_t kFileBytesMax = 9007199254740991u;

enum class Opcode : uint8_t {
  kHello = 0,
  kEcho = 1,
  kLookup = 2,
  kGetAttr = 3,
  kSetAttr = 4,
  kCreate = 5,
  kSymlink = 6,
  kReadLink = 7,
  kMakeDir = 8,
  kRemoveDir = 11,
  kUnlink = 12,
  kLink = 13,
  kRename = 14,
  kOpen = 15,
  kRelease = 16,
  kReadDir = 17,
  kStatFs = 18,
  kRead = 19,
  kWrite = 20,
  kExtend = 21,
  kMarkStriped = 22,
  kCut = 23,
  kFsync = 24,
  kEnsureRoot = 25,
  kReserve = 26,
  kTargetStats = 27,
  kEnsureEmptyRoot = 28,
  kSetXattr = 29,
  kGetXattr = 30,
  kListXattr = 31,
  kRemoveXattr = 32,
  kAccessed = 33,
  kInventory = 34,
  kChangeSpace = 36,
  kSeekData = 37,
  kAdoptLayout = 38,
  kCloneRange = 39,
  kPrepare = 40,
  kResolve = 41,
  kTransactionStatus = 42,
  kGetParent = 43,
  kTmpFile = 45,
  kAwait = 46,
  kReturned = 47,
  kEndSession = 49,
  kBatchLookup = 60,
  kBatchGetAttr = 61,
  kBatchRead = 62,
  kBatchWrite = 63,
  kBatchUnlink = 64,
  kSetLock = 53,
  kGetLock = 54,
  kCancelLock = 55,
  kLockProbe = 56,
  kGetPartitions = 70,
  kMoveEntries = 71,
  kPartitionSums = 72,
};

struct FrameHeader {
  uint32_t magic;
  uint32_t message_bytes;
  uint32_t bulk_bytes;
  uint32_t bulk_tag;
  uint32_t count;
  uint32_t flags;
  uint32_t reserved0;
  uint32_t reserved1;
};
static_assert(sizeof(FrameHeader) == 32);
static_assert(offsetof(FrameHeader, magic) == 0);
static_assert(offsetof(FrameHeader, message_bytes) == 4);
static_assert(offsetof(FrameHeader, bulk_bytes) == 8);
static_assert(offsetof(FrameHeader, bulk_tag) == 12);
static_assert(offsetof(FrameHeader, count) == 16);
static_assert(offsetof(FrameHeader, flags) == 20);
static_assert(offsetof(FrameHeader, reserved0) == 24);
static_assert(offsetof(FrameHeader, reserved1) == 28);

struct RequestHeader {
  uint16_t bytes;
  uint8_t opcode;
  uint8_t flags;
  uint16_t slot;
  uint16_t reserved;
  uint32_t sequence;
  uint32_t map_epoch;
};
static_assert(sizeof(RequestHeader) == 16);
static_assert(offsetof(RequestHeader, bytes) == 0);
static_assert(offsetof(RequestHeader, opcode) == 2);
static_assert(offsetof(RequestHeader, flags) == 3);
static_assert(offsetof(RequestHeader, slot) == 4);
static_assert(offsetof(RequestHeader, reserved) == 6);
static_assert(offsetof(RequestHeader, sequence) == 8);
static_assert(offsetof(RequestHeader, map_epoch) == 12);

struct ReplyHeader {
  uint16_t bytes;
  uint8_t opcode;
  uint8_t flags;
  uint16_t slot;
  uint16_t status;
  uint32_t sequence;
  uint32_t map_epoch;
};
static_assert(sizeof(ReplyHeader) == 16);
static_assert(offsetof(ReplyHeader, bytes) == 0);
static_assert(offsetof(ReplyHeader, opcode) == 2);
static_assert(offsetof(ReplyHeader, flags) == 3);
static_assert(offsetof(ReplyHeader, slot) == 4);
static_assert(offsetof(ReplyHeader, status) == 6);
static_assert(offsetof(ReplyHeader, sequence) == 8);
static_assert(offsetof(ReplyHeader, map_epoch) == 12);

struct ReplyRecord {
  uint32_t sequence;
  uint16_t status;
  uint8_t opcode;
  uint8_t reserved;
  uint64_t result0;
  uint64_t result1;
};
static_assert(sizeof(ReplyRecord) == 24);
static_assert(offsetof(ReplyRecord, sequence) == 0);
static_assert(offsetof(ReplyRecord, status) == 4);
static_assert(offsetof(ReplyRecord, opcode) == 6);
static_assert(offsetof(ReplyRecord, reserved) == 7);
static_assert(offsetof(ReplyRecord, result0) == 8);
static_assert(offsetof(ReplyRecord, result1) == 16);

struct Attributes {
  uint64_t inode;
  uint64_t size_bytes;
  uint64_t blocks;
  int64_t atime_seconds;
  int64_t mtime_seconds;
  int64_t ctime_seconds;
  uint32_t atime_nanoseconds;
  uint32_t mtime_nanoseconds;
  uint32_t ctime_nanoseconds;
  uint32_t mode;
  uint32_t link_count;
  uint32_t uid;
  uint32_t gid;
  uint32_t rdev;
  uint32_t flags;
  uint32_t reserved;
  uint64_t layout;
};
static_assert(sizeof(Attributes) == 96);
static_assert(offsetof(Attributes, inode) == 0);
static_assert(offsetof(Attributes, size_bytes) == 8);
static_assert(offsetof(Attributes, blocks) == 16);
static_assert(offsetof(Attributes, atime_seconds) == 24);
static_assert(offsetof(Attributes, mtime_seconds) == 32);
static_assert(offsetof(Attributes, ctime_seconds) == 40);
static_assert(offsetof(Attributes, atime_nanoseconds) == 48);
static_assert(offsetof(Attributes, mtime_nanoseconds) == 52);
static_assert(offsetof(Attributes, ctime_nanoseconds) == 56);
static_assert(offsetof(Attributes, mode) == 60);
static_assert(offsetof(Attributes, link_count) == 64);
static_assert(offsetof(Attributes, uid) == 68);
static_assert(offsetof(Attributes, gid) == 72);
static_assert(offsetof(Attributes, rdev) == 76);
static_assert(offsetof(Attributes, flags) == 80);
static_assert(offsetof(Attributes, reserved) == 84);
static_assert(offsetof(Attributes, layout) == 88);

struct InodeRequest {
  uint64_t inode;
};
static_assert(sizeof(InodeRequest) == 8);
static_assert(offsetof(InodeRequest, inode) == 0);

struct AttributesReply {
  Attributes attributes;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(AttributesReply) == 104);
static_assert(offsetof(AttributesReply, attributes) == 0);
static_assert(offsetof(AttributesReply, flags) == 96);
static_assert(offsetof(AttributesReply, reserved) == 100);

struct LayoutReply {
  uint64_t layout;
};
static_assert(sizeof(LayoutReply) == 8);
static_assert(offsetof(LayoutReply, layout) == 0);

struct NameRequest {
  uint64_t parent;
  uint16_t name_bytes;
  uint16_t reserved0;
  uint32_t reserved1;
};
static_assert(sizeof(NameRequest) == 16);
static_assert(offsetof(NameRequest, parent) == 0);
static_assert(offsetof(NameRequest, name_bytes) == 8);
static_assert(offsetof(NameRequest, reserved0) == 10);
static_assert(offsetof(NameRequest, reserved1) == 12);

struct LookupReply {
  uint64_t inode;
  uint32_t mode;
  uint32_t flags;
  Attributes attributes;
};
static_assert(sizeof(LookupReply) == 112);
static_assert(offsetof(LookupReply, inode) == 0);
static_assert(offsetof(LookupReply, mode) == 8);
static_assert(offsetof(LookupReply, flags) == 12);
static_assert(offsetof(LookupReply, attributes) == 16);

struct AbsentReply {
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(AbsentReply) == 8);
static_assert(offsetof(AbsentReply, flags) == 0);
static_assert(offsetof(AbsentReply, reserved) == 4);

struct SetAttrRequest {
  uint64_t inode;
  uint64_t size_bytes;
  int64_t atime_seconds;
  int64_t mtime_seconds;
  uint32_t atime_nanoseconds;
  uint32_t mtime_nanoseconds;
  uint32_t valid;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
};
static_assert(sizeof(SetAttrRequest) == 56);
static_assert(offsetof(SetAttrRequest, inode) == 0);
static_assert(offsetof(SetAttrRequest, size_bytes) == 8);
static_assert(offsetof(SetAttrRequest, atime_seconds) == 16);
static_assert(offsetof(SetAttrRequest, mtime_seconds) == 24);
static_assert(offsetof(SetAttrRequest, atime_nanoseconds) == 32);
static_assert(offsetof(SetAttrRequest, mtime_nanoseconds) == 36);
static_assert(offsetof(SetAttrRequest, valid) == 40);
static_assert(offsetof(SetAttrRequest, mode) == 44);
static_assert(offsetof(SetAttrRequest, uid) == 48);
static_assert(offsetof(SetAttrRequest, gid) == 52);

struct CreateRequest {
  uint64_t parent;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint32_t rdev;
  uint16_t name_bytes;
  uint16_t flags;
  uint32_t umask;
};
static_assert(sizeof(CreateRequest) == 32);
static_assert(offsetof(CreateRequest, parent) == 0);
static_assert(offsetof(CreateRequest, mode) == 8);
static_assert(offsetof(CreateRequest, uid) == 12);
static_assert(offsetof(CreateRequest, gid) == 16);
static_assert(offsetof(CreateRequest, rdev) == 20);
static_assert(offsetof(CreateRequest, name_bytes) == 24);
static_assert(offsetof(CreateRequest, flags) == 26);
static_assert(offsetof(CreateRequest, umask) == 28);

struct SymlinkRequest {
  uint64_t parent;
  uint32_t uid;
  uint32_t gid;
  uint16_t name_bytes;
  uint16_t target_bytes;
  uint32_t reserved;
};
static_assert(sizeof(SymlinkRequest) == 24);
static_assert(offsetof(SymlinkRequest, parent) == 0);
static_assert(offsetof(SymlinkRequest, uid) == 8);
static_assert(offsetof(SymlinkRequest, gid) == 12);
static_assert(offsetof(SymlinkRequest, name_bytes) == 16);
static_assert(offsetof(SymlinkRequest, target_bytes) == 18);
static_assert(offsetof(SymlinkRequest, reserved) == 20);

struct MakeDirRequest {
  uint64_t parent;
  uint32_t bucket;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint32_t umask;
  uint16_t name_bytes;
  uint16_t reserved;
};
static_assert(sizeof(MakeDirRequest) == 32);
static_assert(offsetof(MakeDirRequest, parent) == 0);
static_assert(offsetof(MakeDirRequest, bucket) == 8);
static_assert(offsetof(MakeDirRequest, mode) == 12);
static_assert(offsetof(MakeDirRequest, uid) == 16);
static_assert(offsetof(MakeDirRequest, gid) == 20);
static_assert(offsetof(MakeDirRequest, umask) == 24);
static_assert(offsetof(MakeDirRequest, name_bytes) == 28);
static_assert(offsetof(MakeDirRequest, reserved) == 30);

struct UnlinkReply {
  uint64_t inode;
  int64_t change_seconds;
  uint32_t change_nanoseconds;
  uint32_t link_count;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(UnlinkReply) == 32);
static_assert(offsetof(UnlinkReply, inode) == 0);
static_assert(offsetof(UnlinkReply, change_seconds) == 8);
static_assert(offsetof(UnlinkReply, change_nanoseconds) == 16);
static_assert(offsetof(UnlinkReply, link_count) == 20);
static_assert(offsetof(UnlinkReply, flags) == 24);
static_assert(offsetof(UnlinkReply, reserved) == 28);

struct LinkRequest {
  uint64_t inode;
  uint64_t parent;
  uint16_t name_bytes;
  uint16_t reserved0;
  uint32_t reserved1;
};
static_assert(sizeof(LinkRequest) == 24);
static_assert(offsetof(LinkRequest, inode) == 0);
static_assert(offsetof(LinkRequest, parent) == 8);
static_assert(offsetof(LinkRequest, name_bytes) == 16);
static_assert(offsetof(LinkRequest, reserved0) == 18);
static_assert(offsetof(LinkRequest, reserved1) == 20);

struct RenameRequest {
  uint64_t old_parent;
  uint64_t new_parent;
  uint64_t root;
  uint16_t old_name_bytes;
  uint16_t new_name_bytes;
  uint32_t flags;
  uint64_t old_directory;
};
static_assert(sizeof(RenameRequest) == 40);
static_assert(offsetof(RenameRequest, old_parent) == 0);
static_assert(offsetof(RenameRequest, new_parent) == 8);
static_assert(offsetof(RenameRequest, root) == 16);
static_assert(offsetof(RenameRequest, old_name_bytes) == 24);
static_assert(offsetof(RenameRequest, new_name_bytes) == 26);
static_assert(offsetof(RenameRequest, flags) == 28);
static_assert(offsetof(RenameRequest, old_directory) == 32);

struct PrepareRequest {
  uint64_t transaction;
  uint64_t inode;
  uint64_t other;
  int64_t seconds;
  uint32_t nanoseconds;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint32_t bucket;
  uint16_t step;
  uint16_t coordinator_bytes;
  uint16_t name_bytes;
  uint16_t access_acl_bytes;
  uint16_t default_acl_bytes;
  uint16_t reserved;
  uint64_t first;
  uint64_t end;
};
static_assert(sizeof(PrepareRequest) == 80);
static_assert(offsetof(PrepareRequest, transaction) == 0);
static_assert(offsetof(PrepareRequest, inode) == 8);
static_assert(offsetof(PrepareRequest, other) == 16);
static_assert(offsetof(PrepareRequest, seconds) == 24);
static_assert(offsetof(PrepareRequest, nanoseconds) == 32);
static_assert(offsetof(PrepareRequest, mode) == 36);
static_assert(offsetof(PrepareRequest, uid) == 40);
static_assert(offsetof(PrepareRequest, gid) == 44);
static_assert(offsetof(PrepareRequest, bucket) == 48);
static_assert(offsetof(PrepareRequest, step) == 52);
static_assert(offsetof(PrepareRequest, coordinator_bytes) == 54);
static_assert(offsetof(PrepareRequest, name_bytes) == 56);
static_assert(offsetof(PrepareRequest, access_acl_bytes) == 58);
static_assert(offsetof(PrepareRequest, default_acl_bytes) == 60);
static_assert(offsetof(PrepareRequest, reserved) == 62);
static_assert(offsetof(PrepareRequest, first) == 64);
static_assert(offsetof(PrepareRequest, end) == 72);

struct PrepareReply {
  uint64_t inode;
  uint32_t mode;
  uint32_t count;
};
static_assert(sizeof(PrepareReply) == 16);
static_assert(offsetof(PrepareReply, inode) == 0);
static_assert(offsetof(PrepareReply, mode) == 8);
static_assert(offsetof(PrepareReply, count) == 12);

struct ResolveRequest {
  uint64_t transaction;
  uint32_t commit;
  uint16_t coordinator_bytes;
  uint16_t reserved;
};
static_assert(sizeof(ResolveRequest) == 16);
static_assert(offsetof(ResolveRequest, transaction) == 0);
static_assert(offsetof(ResolveRequest, commit) == 8);
static_assert(offsetof(ResolveRequest, coordinator_bytes) == 12);
static_assert(offsetof(ResolveRequest, reserved) == 14);

struct TransactionStatusRequest {
  uint64_t transaction;
};
static_assert(sizeof(TransactionStatusRequest) == 8);
static_assert(offsetof(TransactionStatusRequest, transaction) == 0);

struct TransactionStatusReply {
  uint32_t state;
  uint32_t reserved;
};
static_assert(sizeof(TransactionStatusReply) == 8);
static_assert(offsetof(TransactionStatusReply, state) == 0);
static_assert(offsetof(TransactionStatusReply, reserved) == 4);

struct ParentReply {
  uint64_t parent;
};
static_assert(sizeof(ParentReply) == 8);
static_assert(offsetof(ParentReply, parent) == 0);

struct PartitionsReply {
  uint32_t count;
  uint32_t reserved;
};
static_assert(sizeof(PartitionsReply) == 8);
static_assert(offsetof(PartitionsReply, count) == 0);
static_assert(offsetof(PartitionsReply, reserved) == 4);

struct PartitionRange {
  uint64_t first;
  uint64_t inode;
};
static_assert(sizeof(PartitionRange) == 16);
static_assert(offsetof(PartitionRange, first) == 0);
static_assert(offsetof(PartitionRange, inode) == 8);

struct MoveEntriesRequest {
  uint64_t inode;
  uint64_t transaction;
  uint32_t count;
  uint32_t reserved;
};
static_assert(sizeof(MoveEntriesRequest) == 24);
static_assert(offsetof(MoveEntriesRequest, inode) == 0);
static_assert(offsetof(MoveEntriesRequest, transaction) == 8);
static_assert(offsetof(MoveEntriesRequest, count) == 16);
static_assert(offsetof(MoveEntriesRequest, reserved) == 20);

struct PartitionSumsRequest {
  uint32_t count;
  uint32_t reserved;
};
static_assert(sizeof(PartitionSumsRequest) == 8);
static_assert(offsetof(PartitionSumsRequest, count) == 0);
static_assert(offsetof(PartitionSumsRequest, reserved) == 4);

struct PartitionSumsReply {
  uint64_t subdirectories;
  uint64_t changes;
  int64_t mtime_seconds;
  int64_t ctime_seconds;
  uint32_t mtime_nanoseconds;
  uint32_t ctime_nanoseconds;
};
static_assert(sizeof(PartitionSumsReply) == 40);
static_assert(offsetof(PartitionSumsReply, subdirectories) == 0);
static_assert(offsetof(PartitionSumsReply, changes) == 8);
static_assert(offsetof(PartitionSumsReply, mtime_seconds) == 16);
static_assert(offsetof(PartitionSumsReply, ctime_seconds) == 24);
static_assert(offsetof(PartitionSumsReply, mtime_nanoseconds) == 32);
static_assert(offsetof(PartitionSumsReply, ctime_nanoseconds) == 36);

struct OpenRequest {
  uint64_t inode;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(OpenRequest) == 16);
static_assert(offsetof(OpenRequest, inode) == 0);
static_assert(offsetof(OpenRequest, flags) == 8);
static_assert(offsetof(OpenRequest, reserved) == 12);

struct ReadDirRequest {
  uint64_t inode;
  uint64_t cookie;
  uint32_t max_bytes;
  uint32_t flags;
};
static_assert(sizeof(ReadDirRequest) == 24);
static_assert(offsetof(ReadDirRequest, inode) == 0);
static_assert(offsetof(ReadDirRequest, cookie) == 8);
static_assert(offsetof(ReadDirRequest, max_bytes) == 16);
static_assert(offsetof(ReadDirRequest, flags) == 20);

struct ReadDirReply {
  uint32_t inline_bytes;
  uint32_t entry_count;
  uint32_t end_of_directory;
  uint32_t flags;
  uint64_t range_end;
};
static_assert(sizeof(ReadDirReply) == 24);
static_assert(offsetof(ReadDirReply, inline_bytes) == 0);
static_assert(offsetof(ReadDirReply, entry_count) == 4);
static_assert(offsetof(ReadDirReply, end_of_directory) == 8);
static_assert(offsetof(ReadDirReply, flags) == 12);
static_assert(offsetof(ReadDirReply, range_end) == 16);

struct DirEntry {
  uint64_t inode;
  uint64_t cookie;
  uint16_t name_bytes;
  uint16_t has_attributes;
  uint32_t mode;
};
static_assert(sizeof(DirEntry) == 24);
static_assert(offsetof(DirEntry, inode) == 0);
static_assert(offsetof(DirEntry, cookie) == 8);
static_assert(offsetof(DirEntry, name_bytes) == 16);
static_assert(offsetof(DirEntry, has_attributes) == 18);
static_assert(offsetof(DirEntry, mode) == 20);

struct AwaitRequest {
  uint64_t acknowledged;
  uint32_t flags;
  uint32_t incarnation;
};
static_assert(sizeof(AwaitRequest) == 16);
static_assert(offsetof(AwaitRequest, acknowledged) == 0);
static_assert(offsetof(AwaitRequest, flags) == 8);
static_assert(offsetof(AwaitRequest, incarnation) == 12);

struct NoticesReply {
  uint32_t count;
  uint32_t flags;
};
static_assert(sizeof(NoticesReply) == 8);
static_assert(offsetof(NoticesReply, count) == 0);
static_assert(offsetof(NoticesReply, flags) == 4);

struct Notice {
  uint64_t number;
  uint64_t inode;
  uint64_t hash;
  uint16_t kind;
  uint16_t status;
  uint32_t reserved;
};
static_assert(sizeof(Notice) == 32);
static_assert(offsetof(Notice, number) == 0);
static_assert(offsetof(Notice, inode) == 8);
static_assert(offsetof(Notice, hash) == 16);
static_assert(offsetof(Notice, kind) == 24);
static_assert(offsetof(Notice, status) == 26);
static_assert(offsetof(Notice, reserved) == 28);

struct ReturnedRequest {
  uint32_t count;
  uint32_t reserved;
};
static_assert(sizeof(ReturnedRequest) == 8);
static_assert(offsetof(ReturnedRequest, count) == 0);
static_assert(offsetof(ReturnedRequest, reserved) == 4);

struct SetLockRequest {
  uint64_t inode;
  uint64_t owner;
  uint64_t start;
  uint64_t last;
  uint32_t waiter;
  uint32_t pid;
  uint16_t kind;
  uint16_t flags;
  uint32_t reserved;
};
static_assert(sizeof(SetLockRequest) == 48);
static_assert(offsetof(SetLockRequest, inode) == 0);
static_assert(offsetof(SetLockRequest, owner) == 8);
static_assert(offsetof(SetLockRequest, start) == 16);
static_assert(offsetof(SetLockRequest, last) == 24);
static_assert(offsetof(SetLockRequest, waiter) == 32);
static_assert(offsetof(SetLockRequest, pid) == 36);
static_assert(offsetof(SetLockRequest, kind) == 40);
static_assert(offsetof(SetLockRequest, flags) == 42);
static_assert(offsetof(SetLockRequest, reserved) == 44);

struct LockReply {
  uint64_t start;
  uint64_t last;
  uint32_t kind;
  uint32_t pid;
};
static_assert(sizeof(LockReply) == 24);
static_assert(offsetof(LockReply, start) == 0);
static_assert(offsetof(LockReply, last) == 8);
static_assert(offsetof(LockReply, kind) == 16);
static_assert(offsetof(LockReply, pid) == 20);

struct CancelLockRequest {
  uint32_t waiter;
  uint32_t reserved;
};
static_assert(sizeof(CancelLockRequest) == 8);
static_assert(offsetof(CancelLockRequest, waiter) == 0);
static_assert(offsetof(CancelLockRequest, reserved) == 4);

struct LockProbeRequest {
  uint64_t token;
  uint32_t waiter;
  uint32_t hops;
};
static_assert(sizeof(LockProbeRequest) == 16);
static_assert(offsetof(LockProbeRequest, token) == 0);
static_assert(offsetof(LockProbeRequest, waiter) == 8);
static_assert(offsetof(LockProbeRequest, hops) == 12);

struct StatFsReply {
  uint64_t total_bytes;
  uint64_t free_bytes;
  uint64_t inodes;
  uint64_t free_inodes;
};
static_assert(sizeof(StatFsReply) == 32);
static_assert(offsetof(StatFsReply, total_bytes) == 0);
static_assert(offsetof(StatFsReply, free_bytes) == 8);
static_assert(offsetof(StatFsReply, inodes) == 16);
static_assert(offsetof(StatFsReply, free_inodes) == 24);

struct ReadRequest {
  uint64_t inode;
  uint64_t layout;
  uint64_t chunk;
  uint32_t offset;
  uint32_t length_bytes;
};
static_assert(sizeof(ReadRequest) == 32);
static_assert(offsetof(ReadRequest, inode) == 0);
static_assert(offsetof(ReadRequest, layout) == 8);
static_assert(offsetof(ReadRequest, chunk) == 16);
static_assert(offsetof(ReadRequest, offset) == 24);
static_assert(offsetof(ReadRequest, length_bytes) == 28);

struct ReadReply {
  uint64_t size_bytes;
  uint32_t length_bytes;
  uint32_t inline_bytes;
  uint32_t checksum;
  uint32_t reserved;
};
static_assert(sizeof(ReadReply) == 24);
static_assert(offsetof(ReadReply, size_bytes) == 0);
static_assert(offsetof(ReadReply, length_bytes) == 8);
static_assert(offsetof(ReadReply, inline_bytes) == 12);
static_assert(offsetof(ReadReply, checksum) == 16);
static_assert(offsetof(ReadReply, reserved) == 20);

struct WriteRequest {
  uint64_t inode;
  uint64_t layout;
  uint64_t chunk;
  uint32_t offset;
  uint32_t length_bytes;
  uint32_t flags;
  uint32_t inline_bytes;
  uint32_t checksum_count;
  uint32_t reserved;
};
static_assert(sizeof(WriteRequest) == 48);
static_assert(offsetof(WriteRequest, inode) == 0);
static_assert(offsetof(WriteRequest, layout) == 8);
static_assert(offsetof(WriteRequest, chunk) == 16);
static_assert(offsetof(WriteRequest, offset) == 24);
static_assert(offsetof(WriteRequest, length_bytes) == 28);
static_assert(offsetof(WriteRequest, flags) == 32);
static_assert(offsetof(WriteRequest, inline_bytes) == 36);
static_assert(offsetof(WriteRequest, checksum_count) == 40);
static_assert(offsetof(WriteRequest, reserved) == 44);

struct WriteReply {
  uint64_t offset;
  uint64_t size_bytes;
};
static_assert(sizeof(WriteReply) == 16);
static_assert(offsetof(WriteReply, offset) == 0);
static_assert(offsetof(WriteReply, size_bytes) == 8);

struct ExtendRequest {
  uint64_t inode;
  uint64_t size_bytes;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(ExtendRequest) == 24);
static_assert(offsetof(ExtendRequest, inode) == 0);
static_assert(offsetof(ExtendRequest, size_bytes) == 8);
static_assert(offsetof(ExtendRequest, flags) == 16);
static_assert(offsetof(ExtendRequest, reserved) == 20);

struct SizeReply {
  uint64_t size_bytes;
};
static_assert(sizeof(SizeReply) == 8);
static_assert(offsetof(SizeReply, size_bytes) == 0);

struct CutRequest {
  uint64_t inode;
  uint64_t layout;
  uint64_t from_byte;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(CutRequest) == 32);
static_assert(offsetof(CutRequest, inode) == 0);
static_assert(offsetof(CutRequest, layout) == 8);
static_assert(offsetof(CutRequest, from_byte) == 16);
static_assert(offsetof(CutRequest, flags) == 24);
static_assert(offsetof(CutRequest, reserved) == 28);

struct ChangeSpaceRequest {
  uint64_t inode;
  uint64_t layout;
  uint64_t from_byte;
  uint64_t to_byte;
  uint64_t size_bytes;
  uint32_t how;
  uint32_t reserved;
};
static_assert(sizeof(ChangeSpaceRequest) == 48);
static_assert(offsetof(ChangeSpaceRequest, inode) == 0);
static_assert(offsetof(ChangeSpaceRequest, layout) == 8);
static_assert(offsetof(ChangeSpaceRequest, from_byte) == 16);
static_assert(offsetof(ChangeSpaceRequest, to_byte) == 24);
static_assert(offsetof(ChangeSpaceRequest, size_bytes) == 32);
static_assert(offsetof(ChangeSpaceRequest, how) == 40);
static_assert(offsetof(ChangeSpaceRequest, reserved) == 44);

struct ChangeSpaceReply {
  uint64_t next_byte;
  uint64_t size_bytes;
};
static_assert(sizeof(ChangeSpaceReply) == 16);
static_assert(offsetof(ChangeSpaceReply, next_byte) == 0);
static_assert(offsetof(ChangeSpaceReply, size_bytes) == 8);

struct AdoptLayoutRequest {
  uint64_t inode;
  uint64_t layout;
};
static_assert(sizeof(AdoptLayoutRequest) == 16);
static_assert(offsetof(AdoptLayoutRequest, inode) == 0);
static_assert(offsetof(AdoptLayoutRequest, layout) == 8);

struct CloneRangeRequest {
  uint64_t inode;
  uint64_t layout;
  uint64_t source;
  uint64_t from_byte;
  uint64_t to_byte;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(CloneRangeRequest) == 48);
static_assert(offsetof(CloneRangeRequest, inode) == 0);
static_assert(offsetof(CloneRangeRequest, layout) == 8);
static_assert(offsetof(CloneRangeRequest, source) == 16);
static_assert(offsetof(CloneRangeRequest, from_byte) == 24);
static_assert(offsetof(CloneRangeRequest, to_byte) == 32);
static_assert(offsetof(CloneRangeRequest, flags) == 40);
static_assert(offsetof(CloneRangeRequest, reserved) == 44);

struct SeekDataRequest {
  uint64_t inode;
  uint64_t layout;
  uint64_t from_byte;
  uint64_t to_byte;
  uint32_t hole;
  uint32_t reserved;
};
static_assert(sizeof(SeekDataRequest) == 40);
static_assert(offsetof(SeekDataRequest, inode) == 0);
static_assert(offsetof(SeekDataRequest, layout) == 8);
static_assert(offsetof(SeekDataRequest, from_byte) == 16);
static_assert(offsetof(SeekDataRequest, to_byte) == 24);
static_assert(offsetof(SeekDataRequest, hole) == 32);
static_assert(offsetof(SeekDataRequest, reserved) == 36);

struct SeekDataReply {
  uint64_t byte;
  uint32_t found;
  uint32_t reserved;
};
static_assert(sizeof(SeekDataReply) == 16);
static_assert(offsetof(SeekDataReply, byte) == 0);
static_assert(offsetof(SeekDataReply, found) == 8);
static_assert(offsetof(SeekDataReply, reserved) == 12);

struct EnsureRootRequest {
  uint64_t inode;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint32_t reserved;
};
static_assert(sizeof(EnsureRootRequest) == 24);
static_assert(offsetof(EnsureRootRequest, inode) == 0);
static_assert(offsetof(EnsureRootRequest, mode) == 8);
static_assert(offsetof(EnsureRootRequest, uid) == 12);
static_assert(offsetof(EnsureRootRequest, gid) == 16);
static_assert(offsetof(EnsureRootRequest, reserved) == 20);

struct ReserveRequest {
  uint64_t inode;
  uint64_t length_bytes;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(ReserveRequest) == 24);
static_assert(offsetof(ReserveRequest, inode) == 0);
static_assert(offsetof(ReserveRequest, length_bytes) == 8);
static_assert(offsetof(ReserveRequest, flags) == 16);
static_assert(offsetof(ReserveRequest, reserved) == 20);

struct ReserveReply {
  uint64_t offset;
  uint64_t size_bytes;
};
static_assert(sizeof(ReserveReply) == 16);
static_assert(offsetof(ReserveReply, offset) == 0);
static_assert(offsetof(ReserveReply, size_bytes) == 8);

struct SetXattrRequest {
  uint64_t inode;
  uint16_t name_bytes;
  uint16_t flags;
  uint32_t value_bytes;
  uint32_t inline_bytes;
  uint32_t reserved;
};
static_assert(sizeof(SetXattrRequest) == 24);
static_assert(offsetof(SetXattrRequest, inode) == 0);
static_assert(offsetof(SetXattrRequest, name_bytes) == 8);
static_assert(offsetof(SetXattrRequest, flags) == 10);
static_assert(offsetof(SetXattrRequest, value_bytes) == 12);
static_assert(offsetof(SetXattrRequest, inline_bytes) == 16);
static_assert(offsetof(SetXattrRequest, reserved) == 20);

struct XattrRequest {
  uint64_t inode;
  uint16_t name_bytes;
  uint16_t flags;
  uint32_t max_bytes;
};
static_assert(sizeof(XattrRequest) == 16);
static_assert(offsetof(XattrRequest, inode) == 0);
static_assert(offsetof(XattrRequest, name_bytes) == 8);
static_assert(offsetof(XattrRequest, flags) == 10);
static_assert(offsetof(XattrRequest, max_bytes) == 12);

struct XattrReply {
  uint32_t value_bytes;
  uint32_t inline_bytes;
};
static_assert(sizeof(XattrReply) == 8);
static_assert(offsetof(XattrReply, value_bytes) == 0);
static_assert(offsetof(XattrReply, inline_bytes) == 4);

struct AccessedRequest {
  uint32_t count;
  uint32_t reserved;
};
static_assert(sizeof(AccessedRequest) == 8);
static_assert(offsetof(AccessedRequest, count) == 0);
static_assert(offsetof(AccessedRequest, reserved) == 4);

struct AccessTime {
  uint64_t inode;
  int64_t seconds;
  uint32_t nanoseconds;
  uint32_t reserved;
};
static_assert(sizeof(AccessTime) == 24);
static_assert(offsetof(AccessTime, inode) == 0);
static_assert(offsetof(AccessTime, seconds) == 8);
static_assert(offsetof(AccessTime, nanoseconds) == 16);
static_assert(offsetof(AccessTime, reserved) == 20);

struct InventoryRequest {
  uint16_t key_bytes;
  uint16_t reserved0;
  uint32_t max_pairs;
  uint32_t max_bytes;
  uint32_t reserved1;
};
static_assert(sizeof(InventoryRequest) == 16);
static_assert(offsetof(InventoryRequest, key_bytes) == 0);
static_assert(offsetof(InventoryRequest, reserved0) == 2);
static_assert(offsetof(InventoryRequest, max_pairs) == 4);
static_assert(offsetof(InventoryRequest, max_bytes) == 8);
static_assert(offsetof(InventoryRequest, reserved1) == 12);

struct InventoryReply {
  uint64_t commits;
  uint32_t inline_bytes;
  uint32_t pair_count;
  uint32_t end;
  uint32_t reserved;
};
static_assert(sizeof(InventoryReply) == 24);
static_assert(offsetof(InventoryReply, commits) == 0);
static_assert(offsetof(InventoryReply, inline_bytes) == 8);
static_assert(offsetof(InventoryReply, pair_count) == 12);
static_assert(offsetof(InventoryReply, end) == 16);
static_assert(offsetof(InventoryReply, reserved) == 20);

struct InventoryPair {
  uint16_t key_bytes;
  uint16_t omitted;
  uint32_t value_bytes;
};
static_assert(sizeof(InventoryPair) == 8);
static_assert(offsetof(InventoryPair, key_bytes) == 0);
static_assert(offsetof(InventoryPair, omitted) == 2);
static_assert(offsetof(InventoryPair, value_bytes) == 4);

struct BatchRequest {
  uint16_t count;
  uint16_t reserved;
  uint32_t data_bytes;
};
static_assert(sizeof(BatchRequest) == 8);
static_assert(offsetof(BatchRequest, count) == 0);
static_assert(offsetof(BatchRequest, reserved) == 2);
static_assert(offsetof(BatchRequest, data_bytes) == 4);

struct BatchItem {
  uint16_t body_bytes;
  uint16_t flags;
  uint32_t data_bytes;
  uint32_t checksum;
  uint32_t reserved;
};
static_assert(sizeof(BatchItem) == 16);
static_assert(offsetof(BatchItem, body_bytes) == 0);
static_assert(offsetof(BatchItem, flags) == 2);
static_assert(offsetof(BatchItem, data_bytes) == 4);
static_assert(offsetof(BatchItem, checksum) == 8);
static_assert(offsetof(BatchItem, reserved) == 12);

struct BatchReply {
  uint16_t count;
  uint16_t reserved;
  uint32_t inline_bytes;
};
static_assert(sizeof(BatchReply) == 8);
static_assert(offsetof(BatchReply, count) == 0);
static_assert(offsetof(BatchReply, reserved) == 2);
static_assert(offsetof(BatchReply, inline_bytes) == 4);

struct BatchResult {
  uint16_t status;
  uint16_t has_data;
  uint32_t data_bytes;
  uint32_t checksum;
  uint32_t leases;
};
static_assert(sizeof(BatchResult) == 16);
static_assert(offsetof(BatchResult, status) == 0);
static_assert(offsetof(BatchResult, has_data) == 2);
static_assert(offsetof(BatchResult, data_bytes) == 4);
static_assert(offsetof(BatchResult, checksum) == 8);
static_assert(offsetof(BatchResult, leases) == 12);

}  // namespace sealfs::wire
