// Goal: JavaScript's submissions as answers to the kernel (the reply half of Session). Method: a
// submission is a ReplyRecord and what its kind says; the answer is built in the kernel's own
// structs (linux/fuse.h) and sent by libfuse, which keeps the books of its requests. So flags that
// are newer than this libfuse pass through, and attributes are converted once.
#include <cstring>

#include "native/fuse/file_lock.h"
#include "native/fuse/session.h"

namespace sealfs::fuse {
namespace {

template <typename T>
bool take(const uint8_t* body, size_t body_bytes, T* out) {
  if (body_bytes < sizeof *out) return false;
  memcpy(out, body, sizeof *out);
  return true;
}

Timeouts timeouts_of(const ReplyRecord& record) {
  return {record.entry_timeout_ms, record.attributes_timeout_ms};
}

int reply_entry(fuse_req_t request, const ReplyRecord& record, const wire::Attributes& from,
                uint64_t root) {
  fuse_entry_out out;
  to_kernel_entry(from, root, timeouts_of(record), &out);
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
}

int reply_attributes(fuse_req_t request, const ReplyRecord& record, const wire::Attributes& from) {
  fuse_attr_out out = {};
  out.attr_valid = record.attributes_timeout_ms / 1000;
  out.attr_valid_nsec = record.attributes_timeout_ms % 1000 * 1000000;
  to_kernel_attributes(from, &out.attr);
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
}

fuse_open_out open_out(const ReplyRecord& record) {
  fuse_open_out out = {};
  out.fh = record.handle;
  out.open_flags = record.open_flags;
  return out;
}

int reply_create(fuse_req_t request, const ReplyRecord& record, const wire::Attributes& from,
                 uint64_t root) {
  struct {
    fuse_entry_out entry;
    fuse_open_out open;
  } out;
  static_assert(sizeof out == sizeof out.entry + sizeof out.open);
  to_kernel_entry(from, root, timeouts_of(record), &out.entry);
  out.open = open_out(record);
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
}

int reply_lock(fuse_req_t request, const FileLock& lock) {
  const fuse_lk_out out = to_kernel_lock(lock);
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
}

int reply_statfs(fuse_req_t request, const wire::StatFsReply& from) {
  struct statvfs out = {};
  out.f_bsize = wire::kBlockBytes;
  out.f_frsize = wire::kBlockBytes;
  out.f_blocks = from.total_bytes / wire::kBlockBytes;
  out.f_bfree = out.f_bavail = from.free_bytes / wire::kBlockBytes;
  out.f_files = from.inodes + from.free_inodes;
  out.f_ffree = out.f_favail = from.free_inodes;
  out.f_namemax = wire::kNameBytesMax;
  return fuse_reply_statfs(request, &out);
}

}  // namespace

void Session::submit() {
  if (block_ == 0) return;
  uint8_t* area = arena_->at(submissions_offset());
  uint32_t used = 0;
  memcpy(&used, area, sizeof used);
  if (used == 0) return;
  memset(area, 0, sizeof used);
  size_t at = kHeaderBytes;
  const size_t end = at + used <= kSubmissionBytes ? at + used : kSubmissionBytes;
  while (end - at >= sizeof(ReplyRecord)) {
    ReplyRecord record;
    memcpy(&record, area + at, sizeof record);
    if (record.bytes < sizeof record || record.bytes > end - at) break;
    const uint8_t* body = area + at + sizeof record;
    const size_t body_bytes = record.bytes - sizeof record;
    if (record.kind == static_cast<uint32_t>(ReplyKind::kNotice)) {
      keep_notice(body, body_bytes);
    } else {
      reply(record, body, body_bytes);
    }
    at += record.bytes;
  }
  for (const Notifier::Lane lane : {Notifier::kAttributes, Notifier::kPages}) {
    if (notices_[lane].empty()) continue;
    if (notifier_) notifier_->post(notices_[lane], lane);
    notices_[lane].clear();
  }
  if (closed_ && table_.active() == 0) free_block();
}

// Posted at the submission's end, once for all of it: behind the replies of the same turn.
void Session::keep_notice(const uint8_t* body, size_t body_bytes) {
  Notice notice;
  if (!take(body, body_bytes, &notice)) return;
  if (notice.inode == options_.root_inode) notice.inode = FUSE_ROOT_ID;
  notices_[Notifier::lane_of(notice)].push_back(notice);
}

void Session::reply(const ReplyRecord& record, const uint8_t* body, size_t body_bytes) {
  fuse_req_t request = nullptr;
  if (!table_.find(record.index, record.generation, &request)) {
    counters_.stale_replies++;
  } else {
    counters_.replies++;
    const RequestRecord& asked = *table_.record(record.index);
    if (asked.operation == static_cast<uint32_t>(Operation::kSetLockWait)) lock_waits_--;
    if (request != nullptr) send_reply(request, asked, record, body, body_bytes);
    table_.close(record.index);
  }
  const auto kind = static_cast<ReplyKind>(record.kind);
  if (record.status != 0 || (kind != ReplyKind::kData && kind != ReplyKind::kDirectory)) return;
  Segment segment;
  for (uint32_t i = 0; i < record.count; i++) {
    if (!take(body + i * sizeof segment, body_bytes - i * sizeof segment, &segment)) return;
    if (segment.flags & 1) give_slot(arena_.get(), segment.offset);
  }
}

void Session::send_reply(fuse_req_t request, const RequestRecord& asked, const ReplyRecord& record,
                         const uint8_t* body, size_t body_bytes) {
  wire::Attributes attributes;
  wire::StatFsReply statistics;
  FileLock lock;
  Segment segment;
  int result = -EPROTO;  // stays where the submission is too short for its kind
  const uint64_t root = options_.root_inode;
  switch (record.status != 0 ? ReplyKind::kStatus : static_cast<ReplyKind>(record.kind)) {
    case ReplyKind::kStatus:
      result = fuse_reply_err(request, static_cast<int>(record.status));
      break;
    case ReplyKind::kEntry:
      if (!take(body, body_bytes, &attributes)) break;
      result = reply_entry(request, record, attributes, root);
      break;
    case ReplyKind::kAttributes:
      if (!take(body, body_bytes, &attributes)) break;
      result = reply_attributes(request, record, attributes);
      break;
    case ReplyKind::kCreate:
      if (!take(body, body_bytes, &attributes)) break;
      result = reply_create(request, record, attributes, root);
      break;
    case ReplyKind::kOpen: {
      const fuse_open_out out = open_out(record);
      result = fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
      break;
    }
    case ReplyKind::kWritten:
      result = fuse_reply_write(request, record.count);
      break;
    case ReplyKind::kSeek:
      result = fuse_reply_lseek(request, static_cast<off_t>(record.handle));
      break;
    case ReplyKind::kData:
      if (body_bytes / sizeof segment < record.count) break;
      result = reply_data(request, reinterpret_cast<const Segment*>(body), record.count);
      break;
    case ReplyKind::kDirectory:
      if (!take(body, body_bytes, &segment)) break;
      result = reply_directory(request, asked, record, segment);
      break;
    case ReplyKind::kXattrSize:
      result = fuse_reply_xattr(request, record.count);
      break;
    case ReplyKind::kStatFs:
      if (!take(body, body_bytes, &statistics)) break;
      result = reply_statfs(request, statistics);
      break;
    case ReplyKind::kLock:
      if (!take(body, body_bytes, &lock)) break;
      result = reply_lock(request, lock);
      break;
    case ReplyKind::kNotice:
      break;
  }
  if (result == -EPROTO) fuse_reply_err(request, EIO);
  if (result != 0) counters_.failed_replies++;
}

int Session::reply_data(fuse_req_t request, const Segment* segments, uint32_t count) {
  parts_.clear();
  for (uint32_t i = 0; i < count; i++) {
    uint32_t left = segments[i].length_bytes;
    if (left > kBulkPayload) return -EPROTO;
    if (segments[i].offset != 0) {
      if (!arena_->contains(segments[i].offset, left)) return -EPROTO;
      parts_.push_back({arena_->at(segments[i].offset), left});
      continue;
    }
    while (left > 0) {
      const uint32_t zeros = left < kArenaZeroBytes ? left : kArenaZeroBytes;
      parts_.push_back({arena_->at(kArenaZeroOffset), zeros});
      left -= zeros;
    }
  }
  if (parts_.size() == 1) {
    return fuse_reply_buf(request, static_cast<const char*>(parts_[0].iov_base), parts_[0].iov_len);
  }
  return fuse_reply_iov(request, parts_.data(), static_cast<int>(parts_.size()));
}

int Session::reply_directory(fuse_req_t request, const RequestRecord& asked,
                             const ReplyRecord& record, const Segment& segment) {
  if (segment.length_bytes != 0 && !arena_->contains(segment.offset, segment.length_bytes)) {
    return -EPROTO;
  }
  const size_t size = asked.size_bytes < kBulkPayload ? asked.size_bytes : kBulkPayload;
  if (listing_.size() < size) listing_.resize(size);
  Listing listing;
  listing.request = request;
  listing.plus = asked.operation == static_cast<uint32_t>(Operation::kReadDirPlus);
  listing.dots = asked.dots_left;
  listing.inode = asked.inode;
  listing.parent = record.handle != 0 ? record.handle : asked.inode;
  listing.root = options_.root_inode;
  listing.timeouts = timeouts_of(record);
  const ptrdiff_t packed = pack_directory(listing, arena_->at(segment.offset), segment.length_bytes,
                                          listing_.data(), size);
  if (packed < 0) return -EPROTO;
  return fuse_reply_buf(request, listing_.data(), static_cast<size_t>(packed));
}

}  // namespace sealfs::fuse
