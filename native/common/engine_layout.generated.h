// Generated from schema/ by `npm run generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs::engine {

enum class RecordKind : uint8_t {
  kOpened = 1,
  kAccepted = 2,
  kMessage = 3,
  kClosed = 4,
  kConnectFailed = 5,
  kAcceptFailed = 6,
};

enum class SubmissionKind : uint8_t {
  kFrame = 1,
  kBulk = 2,
  kLanding = 3,
  kCancelLanding = 4,
  kClose = 5,
  kEndLanding = 6,
};

enum class Reason : uint16_t {
  kPeerClosed = 1000,
  kTruncated = 1001,
  kBadMagic = 1002,
  kBadMessageBytes = 1003,
  kBadBulkBytes = 1004,
  kBadBulkTag = 1005,
  kNoLanding = 1006,
  kStalled = 1007,
  kSendOverflow = 1008,
  kBadSubmission = 1009,
  kClosedHere = 1010,
  kBadPrefix = 1011,
  kBadDescriptor = 1012,
  kCreditOverrun = 1013,
  kVersionMismatch = 1014,
  kPeerUnreachable = 1015,
  kRemoteAccess = 1016,
  kRemoteOperation = 1017,
  kLocalProtection = 1018,
  kReceiverNotReady = 1019,
  kFlushedByPeer = 1020,
  kDeviceGone = 1021,
  kNoReceiveBuffers = 1022,
  kNoWindow = 1023,
  kNoQueuePair = 1024,
  kRejected = 1025,
  kLandingWithdrawn = 1026,
  kCompletionError = 1027,
  kMemoryLocked = 1028,
  kPeerNoReceiveBuffers = 1029,
  kPeerNoQueuePair = 1030,
  kNoRoute = 1031,
  kDeviceSetup = 1032,
};

struct Record {
  uint32_t kind;
  uint32_t connection;
  uint32_t message_offset;
  uint32_t message_bytes;
  uint32_t bulk_offset;
  uint32_t bulk_bytes;
  uint32_t code;
  uint32_t owns_slot;
};
static_assert(sizeof(Record) == 32);
static_assert(offsetof(Record, kind) == 0);
static_assert(offsetof(Record, connection) == 4);
static_assert(offsetof(Record, message_offset) == 8);
static_assert(offsetof(Record, message_bytes) == 12);
static_assert(offsetof(Record, bulk_offset) == 16);
static_assert(offsetof(Record, bulk_bytes) == 20);
static_assert(offsetof(Record, code) == 24);
static_assert(offsetof(Record, owns_slot) == 28);

struct Submission {
  uint32_t kind;
  uint32_t connection;
  uint32_t offset;
  uint32_t length_bytes;
  uint32_t release;
  uint32_t tag;
};
static_assert(sizeof(Submission) == 24);
static_assert(offsetof(Submission, kind) == 0);
static_assert(offsetof(Submission, connection) == 4);
static_assert(offsetof(Submission, offset) == 8);
static_assert(offsetof(Submission, length_bytes) == 12);
static_assert(offsetof(Submission, release) == 16);
static_assert(offsetof(Submission, tag) == 20);

struct Counters {
  double frames_sent;
  double frames_received;
  double bytes_sent;
  double bytes_received;
  double copied_below4k;
  double copied_below64k;
  double copied_above;
  double protocol_errors;
  double connections;
  double work_requests;
  double doorbells;
  double signalled_completions;
  double receive_completions;
  double inline_sends;
  double bulk_reads;
  double bulk_writes;
  double windows_bound;
  double credit_frames;
  double credit_stalls;
};
static_assert(sizeof(Counters) == 152);
static_assert(offsetof(Counters, frames_sent) == 0);
static_assert(offsetof(Counters, frames_received) == 8);
static_assert(offsetof(Counters, bytes_sent) == 16);
static_assert(offsetof(Counters, bytes_received) == 24);
static_assert(offsetof(Counters, copied_below4k) == 32);
static_assert(offsetof(Counters, copied_below64k) == 40);
static_assert(offsetof(Counters, copied_above) == 48);
static_assert(offsetof(Counters, protocol_errors) == 56);
static_assert(offsetof(Counters, connections) == 64);
static_assert(offsetof(Counters, work_requests) == 72);
static_assert(offsetof(Counters, doorbells) == 80);
static_assert(offsetof(Counters, signalled_completions) == 88);
static_assert(offsetof(Counters, receive_completions) == 96);
static_assert(offsetof(Counters, inline_sends) == 104);
static_assert(offsetof(Counters, bulk_reads) == 112);
static_assert(offsetof(Counters, bulk_writes) == 120);
static_assert(offsetof(Counters, windows_bound) == 128);
static_assert(offsetof(Counters, credit_frames) == 136);
static_assert(offsetof(Counters, credit_stalls) == 144);

}  // namespace sealfs::engine
