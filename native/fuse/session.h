// Goal: one FUSE mount as an event source of a thread: many requests a turn, one JavaScript call,
// large writes read straight into an arena slot. Method: /dev/fuse is read without blocking into a
// bulk slot such that a WRITE's payload lands on the slot's payload; libfuse decodes the request;
// its operation fills a record of the session's block, which JavaScript reads in place. Replies
// come as submissions in the same block.
//
//   /dev/fuse --read--> receive slot --libfuse--> record, event --turn--> JavaScript
//       ^                    |                                                |
//       |                    +-- kept by a large WRITE until its reply        |
//       +------------ fuse_reply_… <-- submit() <-- submissions --------------+
//
//   block (one bulk slot): request records | events: count, records | submissions: bytes, records
//
// Life: created -> mount() -> serving -> ended (unmounted from outside, aborted, or close()) ->
// close(). When no slot is free for receiving, the session stops reading until one is.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "native/common/arena.h"
#include "native/common/event_source.h"
#include "native/fuse/directory.h"
#include "native/fuse/layout.generated.h"
#include "native/fuse/libfuse.h"
#include "native/fuse/mount_table.h"
#include "native/fuse/notifier.h"
#include "native/fuse/request_table.h"

namespace sealfs::fuse {

enum class ReadDirPlusMode : uint32_t { kOff = 0, kAuto = 1, kAlways = 2 };

struct SessionOptions {
  std::vector<std::string> mount_options;  // as behind -o, one each, not escaped
  uint64_t root_inode = FUSE_ROOT_ID;      // what the kernel calls node 1
  ReadDirPlusMode readdirplus = ReadDirPlusMode::kAuto;
  bool direct_io_mmap = true;         // negotiate shared mmap of direct I/O files (Linux 6.6)
  bool posix_acl = true;              // the kernel enforces ACLs and asks for them
  bool flush = false;                 // Flush requests reach JavaScript; else ENOSYS once
  bool locks = false;                 // lock requests do, and Flush; else the kernel keeps locks
  uint32_t max_background = 256;      // asynchronous requests that the kernel keeps in flight
  uint32_t reserve_bulk_slots = 0;    // never takes the arena's last ones
  uint32_t small_write_bytes = 8192;  // up to here a WRITE moves to a message slot
};

// What was agreed with the kernel; valid after the Ready event.
struct Negotiated {
  uint32_t minor = 0;    // of protocol 7
  uint64_t offered = 0;  // INIT flags of the kernel
  uint32_t wanted = 0;   // FUSE_CAP_ bits
  uint32_t max_write = 0;
  bool direct_io_mmap = false;
  bool kill_priv = false;       // requests say when set-ID bits go
  bool setxattr_flags = false;  // SETXATTR has the longer struct
  bool posix_acl = false;
  bool locks = false;         // fcntl(2) and flock(2) come here
  bool epoch_notify = false;  // the kernel can be told that all names are no longer valid
};

struct SessionCounters {
  uint64_t requests = 0;
  uint64_t replies = 0;
  uint64_t forgets = 0;  // lookups that the kernel gave back; nothing is kept for them
  uint64_t interrupts = 0;
  uint64_t stale_replies = 0;       // to a request that was answered already
  uint64_t failed_replies = 0;      // that the kernel refused
  uint64_t write_bytes_copied = 0;  // of WRITEs moved to a message slot
  uint64_t pauses = 0;              // times that reading stopped for want of a slot
};

class Session : public EventSource {
 public:
  static constexpr uint32_t kHeaderBytes = 64;  // before events and submissions: their count

  // Null when the arena has no two bulk slots left.
  static std::shared_ptr<Session> create(std::shared_ptr<Arena> arena, SessionOptions options);
  ~Session() override;

  // Mounts at `path` (absolute, resolved). False, with a reason in `error`, on failure.
  bool mount(const std::string& path, std::string* error);
  // Aborts what is left: requests get ENOTCONN, the descriptor is closed, the mount point freed.
  // Slots of unanswered requests stay theirs until JavaScript answers. Idempotent; waits for no
  // request, but for the notice that is being written, refusing what that waits for.
  void close();

  uint32_t harvest() override;
  void submit() override;
  int fd() const override { return wait_fd_; }
  bool arm() override;
  uint32_t outstanding() const override { return notifier_ && notifier_->pending() ? 1 : 0; }

  uint32_t records_offset() const { return block_; }
  uint32_t events_offset() const { return block_ + kEventsOffset; }
  uint32_t submissions_offset() const { return block_ + kSubmissionsOffset; }
  uint32_t submission_bytes() const { return kSubmissionBytes; }
  const Negotiated& negotiated() const { return negotiated_; }
  const SessionCounters& counters() const { return counters_; }
  const std::string& mountpoint() const { return mountpoint_; }
  // Something is mounted on the volume.
  bool is_covered() { return submounts_ && submounts_->any(); }
  uint32_t active_requests() const { return table_.active(); }
  NoticeCounters notice_counters() const {
    return notifier_ ? notifier_->counters() : NoticeCounters();
  }

  // ---- for the operations (operations.cc) while libfuse decodes a request

  struct Opened {
    RequestRecord* record;
    uint32_t index;
    uint32_t name_bytes_used = 0;
  };
  // Opens a record and queues its event.
  Opened begin(fuse_req_t request, Operation operation, fuse_ino_t node);
  uint32_t keep_name(Opened* opened, const char* name, uint32_t* bytes);
  void keep_data(const Opened& opened, const char* data, uint32_t bytes);
  uint64_t inode_of(fuse_ino_t node) const {
    return node == FUSE_ROOT_ID ? options_.root_inode : node;
  }
  void negotiate(fuse_conn_info* connection);
  const Negotiated& agreed() const { return negotiated_; }
  // The request's own struct as the kernel sent it, for what libfuse does not pass on.
  template <typename T>
  const T* body() const {
    return reinterpret_cast<const T*>(body_);
  }
  bool wants_flush() const { return options_.flush || options_.locks; }
  // Counts the waiter that is to be opened; false: there are too many.
  bool may_wait_for_lock();
  SessionCounters& count() { return counters_; }

 private:
  static constexpr uint32_t kEventCapacity = 512;
  static constexpr uint32_t kEventsOffset = RequestTable::kBytes;
  static constexpr uint32_t kSubmissionsOffset =
      kEventsOffset + kHeaderBytes + kEventCapacity * sizeof(EventRecord);
  static constexpr uint32_t kSubmissionBytes = kBulkPayload - kSubmissionsOffset;
  // One harvest: bounded in requests and in bytes copied, so that others have their turn.
  static constexpr uint32_t kBatchRequests = 128;
  static constexpr uint32_t kBatchBytes = 4 << 20;
  // A request brings its own event, and may bring the interrupt of another; four come alone.
  static_assert(kEventCapacity >= 2 * kBatchRequests + 4);
  static_assert(kSubmissionBytes >= 128 * 1024);
  // Requests that wait for a lock: whoever is to release it needs an index as well.
  static constexpr uint32_t kLockWaitsMax = 1024;
  static_assert(kLockWaitsMax <= RequestTable::kCapacity / 2);

  Session(std::shared_ptr<Arena> arena, uint32_t block, SessionOptions options);
  bool start(const std::string& path, std::string* error);
  bool watch(bool on);
  bool may_receive();
  // Bytes received, 0: nothing there.
  size_t receive();
  void push_event(EventKind kind, uint32_t value);
  void end(int error);
  bool start_notices();
  void stop_notices();
  void keep_notice(const uint8_t* body, size_t body_bytes);
  void report_notices();
  void reply(const ReplyRecord& record, const uint8_t* body, size_t body_bytes);
  void send_reply(fuse_req_t request, const RequestRecord& asked, const ReplyRecord& record,
                  const uint8_t* body, size_t body_bytes);
  int reply_data(fuse_req_t request, const Segment* segments, uint32_t count);
  int reply_directory(fuse_req_t request, const RequestRecord& asked, const ReplyRecord& record,
                      const Segment& segment);
  void take_down();
  void free_block();
  static void on_interrupt(fuse_req_t request, void* data);
  static ssize_t write_device(int fd, iovec* parts, int count, void* session);

  const std::shared_ptr<Arena> arena_;
  const SessionOptions options_;
  uint32_t block_;
  RequestTable table_;
  const uint8_t* body_ = nullptr;  // of the request that is being decoded
  uint32_t receive_slot_ = 0;      // arena offset of its payload; 0: none
  fuse_session* session_ = nullptr;
  int device_fd_ = -1;  // owned by libfuse
  int wait_fd_ = -1;    // epoll over device_fd_: lets the device be unwatched while paused
  bool watched_ = false;
  bool paused_ = false;
  bool closed_ = false;
  int end_error_ = 0;  // not 0: nothing more goes to or comes from the kernel
  bool end_reported_ = false;
  bool ready_pending_ = false;
  bool init_pending_ = false;  // the INIT request is being answered
  uint32_t lock_waits_ = 0;
  std::string mountpoint_;
  std::string device_;  // of the mount, to know it again
  Negotiated negotiated_;
  SessionCounters counters_;
  std::unique_ptr<Submounts> submounts_;  // the loop's, from INIT on
  std::unique_ptr<Notifier> notifier_;    // from INIT to close()
  std::vector<Notice> notices_[2];        // of this submission, by lane
  std::vector<char> listing_;
  std::vector<iovec> parts_;
};

const fuse_lowlevel_ops& operations();

}  // namespace sealfs::fuse
