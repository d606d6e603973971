// Goal, method and life: session.h. The reply half is in replies.cc, the operations in
// operations.cc.
#include "native/fuse/session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "native/fuse/libfuse_log.h"
#include "native/fuse/mount_table.h"

namespace sealfs::fuse {
namespace {

// A WRITE's payload follows both headers; the read starts this far before the slot's payload.
constexpr uint32_t kWriteHeaders = sizeof(fuse_in_header) + sizeof(fuse_write_in);
static_assert(kWriteHeaders == 80 && kWriteHeaders <= kBulkHeadroom);
constexpr size_t kReceiveBytes = kWriteHeaders + kBulkPayload;

// Newer than the kernel headers of Debian 12. Flags of INIT from bit 32 on travel in flags2.
constexpr uint64_t kInitExt = uint64_t{1} << 30;
constexpr uint64_t kDirectIoAllowMmap = uint64_t{1} << 36;

ssize_t read_device(int fd, void* buffer, size_t bytes, void*) { return read(fd, buffer, bytes); }

// Commas part options; libfuse takes a backslash before one literally.
std::string escape_option(const std::string& option) {
  std::string out;
  for (const char c : option) {
    if (c == ',' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

std::string joined(const std::vector<std::string>& options) {
  std::string all = "max_read=" + std::to_string(kBulkPayload);
  for (const std::string& option : options) {
    all.push_back(',');
    all.append(escape_option(option));
  }
  return all;
}

}  // namespace

std::shared_ptr<Session> Session::create(std::shared_ptr<Arena> arena, SessionOptions options) {
  if (arena->free_bulk() < 2) return nullptr;
  const uint32_t block = arena->take_bulk();
  return std::shared_ptr<Session>(new Session(std::move(arena), block, std::move(options)));
}

Session::Session(std::shared_ptr<Arena> arena, uint32_t block, SessionOptions options)
    : arena_(std::move(arena)), options_(std::move(options)), block_(block), table_(arena_, block) {
  memset(arena_->at(block_), 0, kBulkPayload);
}

Session::~Session() {
  close();
  if (block_ != 0) free_block();
}

bool Session::mount(const std::string& path, std::string* error) {
  if (closed_ || session_ != nullptr) {
    *error = "the session was used already";
    return false;
  }
  mountpoint_ = path;
  if (start(path, error)) return true;
  close();
  return false;
}

bool Session::start(const std::string& path, std::string* error) {
  const std::string options = joined(options_.mount_options);
  char* arguments[] = {const_cast<char*>("sealfs"), const_cast<char*>("-o"),
                       const_cast<char*>(options.c_str()), nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, arguments);
  LogCapture log;
  session_ = fuse_session_new(&args, &operations(), sizeof(fuse_lowlevel_ops), this);
  fuse_opt_free_args(&args);
  if (session_ == nullptr || fuse_session_mount(session_, path.c_str()) != 0) {
    *error = log.text().empty() ? "libfuse gave no reason" : log.text();
    return false;
  }
  device_ = device_mounted_at(path);
  device_fd_ = fuse_session_fd(session_);
  const fuse_custom_io io = {write_device, read_device, nullptr, nullptr};
  wait_fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (fuse_session_custom_io(session_, &io, device_fd_) != 0 || wait_fd_ < 0 ||
      fcntl(device_fd_, F_SETFL, fcntl(device_fd_, F_GETFL) | O_NONBLOCK) != 0 ||
      fcntl(device_fd_, F_SETFD, FD_CLOEXEC) != 0 || !watch(true)) {
    *error = std::string("the fuse device cannot be watched: ") + strerror(errno);
    return false;
  }
  return true;
}

bool Session::watch(bool on) {
  if (watched_ == on) return true;
  epoll_event event = {};
  event.events = EPOLLIN;
  if (epoll_ctl(wait_fd_, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, device_fd_, &event) != 0) {
    return false;
  }
  watched_ = on;
  return true;
}

void Session::close() {
  if (closed_) return;
  closed_ = true;
  if (session_ != nullptr) {
    table_.orphan_all([](fuse_req* request) { fuse_reply_err(request, ENOTCONN); });
    stop_notices();
    if (end_error_ == 0) end_error_ = ENOTCONN;
    fuse_session_exit(session_);
    watch(false);
    take_down();
  }
  if (wait_fd_ >= 0) ::close(wait_fd_);
  wait_fd_ = -1;
  if (receive_slot_ != 0) arena_->give_bulk(receive_slot_);
  receive_slot_ = 0;
  if (table_.active() == 0) free_block();
}

// Frees the mount point and destroys libfuse's session, with it the device.
void Session::take_down() {
  LogCapture log;
  const auto still_mounted = [this] { return device_mounted_at(mountpoint_) == device_; };
  // Closes the device before it unmounts lazily, so that nothing waits for this thread.
  if (device_fd_ >= 0 && (device_.empty() || still_mounted())) fuse_session_unmount(session_);
  fuse_session_destroy(session_);
  session_ = nullptr;
  device_fd_ = -1;
  // An aborted connection leaves its mount behind: libfuse takes it for unmounted.
  if (!device_.empty() && still_mounted()) {
    umount2(mountpoint_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

void Session::free_block() {
  if (block_ == 0) return;
  arena_->give_bulk(block_);
  block_ = 0;
}

// ---- receiving

uint32_t Session::harvest() {
  if (block_ == 0) return 0;
  uint32_t* events = reinterpret_cast<uint32_t*>(arena_->at(events_offset()));
  events[0] = 0;
  if (closed_ || end_reported_) return 0;
  size_t bytes = 0;
  for (uint32_t i = 0; i < kBatchRequests && bytes < kBatchBytes; i++) {
    if (end_error_ != 0 || !may_receive()) break;
    const size_t received = receive();
    if (received == 0) break;
    bytes += received;
  }
  if (ready_pending_) {
    ready_pending_ = false;
    push_event(EventKind::kReady, 0);
  }
  report_notices();
  if (end_error_ != 0) {
    end_reported_ = true;
    if (session_ != nullptr) watch(false);
    push_event(EventKind::kEnded, static_cast<uint32_t>(end_error_));
  }
  return events[0];
}

bool Session::arm() {
  if (closed_ || end_reported_) return false;
  if (notifier_ && notifier_->arm()) return true;
  return end_error_ != 0 || (paused_ && may_receive());
}

// False: no slot or no index is free; the device is not watched until one is.
bool Session::may_receive() {
  if (receive_slot_ == 0 && arena_->free_bulk() > options_.reserve_bulk_slots) {
    receive_slot_ = arena_->take_bulk();
  }
  const bool may = receive_slot_ != 0 && !table_.full();
  if (may == paused_) {
    paused_ = !may;
    if (paused_) counters_.pauses++;
    watch(may);
  }
  return may;
}

size_t Session::receive() {
  uint8_t* buffer = arena_->at(receive_slot_ - kWriteHeaders);
  ssize_t n = 0;
  do {
    n = read(device_fd_, buffer, kReceiveBytes);
    // ENOENT: the request was taken back while it was copied.
  } while (n < 0 && (errno == EINTR || errno == ENOENT));
  if (n < 0) {
    if (errno != EAGAIN) end(errno);
    return 0;
  }
  auto* header = reinterpret_cast<fuse_in_header*>(buffer);
  if (header->opcode == FUSE_INIT && static_cast<size_t>(n) >= sizeof *header + 16) {
    fuse_init_in asked = {};
    memcpy(&asked, header + 1, std::min(sizeof asked, static_cast<size_t>(n) - sizeof *header));
    negotiated_.minor = asked.minor;
    negotiated_.offered = asked.flags;
    if (asked.flags & kInitExt) negotiated_.offered |= uint64_t{asked.flags2} << 32;
    init_pending_ = true;
  }
  // libfuse has no O_TMPFILE before 3.17, but a CREATE with the name "/" is one in all but the
  // opcode: so request and answer pass through it as that (operations.cc, create).
  if (header->opcode == FUSE_TMPFILE) header->opcode = FUSE_CREATE;
  body_ = reinterpret_cast<const uint8_t*>(header + 1);
  const fuse_buf received = {static_cast<size_t>(n), fuse_buf_flags(0), buffer, -1, 0};
  fuse_session_process_buf(session_, &received);
  if (init_pending_) {
    init_pending_ = false;
    ready_pending_ = end_error_ == 0;
    if (fuse_session_exited(session_)) {
      end(EPROTO);
    } else if (!start_notices()) {
      end(EMFILE);
    }
  }
  return static_cast<size_t>(n);
}

void Session::push_event(EventKind kind, uint32_t value) {
  uint8_t* events = arena_->at(events_offset());
  uint32_t count = 0;
  memcpy(&count, events, sizeof count);
  if (count >= kEventCapacity) return;  // asserted impossible beside kEventCapacity
  const EventRecord event = {static_cast<uint32_t>(kind), value};
  memcpy(events + kHeaderBytes + count * sizeof event, &event, sizeof event);
  count++;
  memcpy(events, &count, sizeof count);
}

void Session::end(int error) {
  if (end_error_ == 0) end_error_ = error;
}

Session::Opened Session::begin(fuse_req_t request, Operation operation, fuse_ino_t node) {
  const uint32_t index = table_.open(request);
  RequestRecord* record = table_.record(index);
  const fuse_ctx* context = fuse_req_ctx(request);
  record->operation = static_cast<uint32_t>(operation);
  record->inode = inode_of(node);
  record->uid = context->uid;
  record->gid = context->gid;
  record->pid = static_cast<uint32_t>(context->pid);
  counters_.requests++;
  push_event(EventKind::kRequest, index);
  // Carries the index; may call back at once.
  fuse_req_interrupt_func(request, on_interrupt, reinterpret_cast<void*>(uintptr_t{index}));
  return {record, index};
}

bool Session::may_wait_for_lock() {
  if (lock_waits_ >= kLockWaitsMax) return false;
  lock_waits_++;
  return true;
}

void Session::on_interrupt(fuse_req_t request, void* data) {
  Session* session = static_cast<Session*>(fuse_req_userdata(request));
  session->counters_.interrupts++;
  session->push_event(EventKind::kInterrupt,
                      static_cast<uint32_t>(reinterpret_cast<uintptr_t>(data)));
}

uint32_t Session::keep_name(Opened* opened, const char* name, uint32_t* bytes) {
  const std::string_view text(name);
  *bytes = static_cast<uint32_t>(text.size());
  const uint32_t offset =
      table_.keep_name(opened->record, text, receive_slot_, &opened->name_bytes_used);
  if (opened->record->slot == receive_slot_) receive_slot_ = 0;
  return offset;
}

void Session::keep_data(const Opened& opened, const char* data, uint32_t bytes) {
  RequestRecord* record = opened.record;
  record->size_bytes = bytes;
  const uint32_t message = bytes <= options_.small_write_bytes ? arena_->take_message() : 0;
  if (message != 0) {
    memcpy(arena_->at(message), data, bytes);
    counters_.write_bytes_copied += bytes;
    record->slot = message;
  } else {
    // A WRITE's data is in its place already.
    uint8_t* place = arena_->at(receive_slot_);
    if (place != reinterpret_cast<const uint8_t*>(data)) memmove(place, data, bytes);
    record->slot = receive_slot_;
    receive_slot_ = 0;
  }
  record->data_offset = record->slot;
}

// ---- notices

// Whether the kernel knows the epoch is found out by raising it, which takes no lock of any kind.
bool Session::start_notices() {
  const int device = device_fd_;
  const auto write_frame = [device](const NoticeFrame& frame) {
    return write(device, &frame, frame.header.len) < 0 ? errno : 0;
  };
  negotiated_.epoch_notify = write_frame(epoch_frame()) == 0;
  submounts_ = std::make_unique<Submounts>(device_);
  const auto submounts = std::make_shared<Submounts>(device_);  // the thread's
  notifier_ = Notifier::create(write_frame, negotiated_.epoch_notify,
                               [submounts] { return submounts->any(); });
  if (!notifier_) return false;
  epoll_event event = {};
  event.events = EPOLLIN;
  return epoll_ctl(wait_fd_, EPOLL_CTL_ADD, notifier_->fd(), &event) == 0;
}

void Session::report_notices() {
  if (!notifier_) return;
  const uint32_t written = notifier_->take_written(Notifier::kAttributes);
  if (notifier_->take_kept()) push_event(EventKind::kNamesKept, 0);
  if (written != 0) push_event(EventKind::kNotified, written);
  const uint32_t pages = notifier_->take_written(Notifier::kPages);
  if (pages != 0) push_event(EventKind::kPagesDropped, pages);
}

// Dropping a page that is being read or written back waits for that request, which may not even
// have been received: whatever comes until the notice is written is refused.
void Session::stop_notices() {
  if (!notifier_) return;
  notifier_->stop();
  std::vector<uint8_t> buffer;
  while (notifier_->busy()) {
    if (buffer.empty()) buffer.resize(kReceiveBytes);
    const ssize_t n = read(device_fd_, buffer.data(), buffer.size());
    fuse_in_header asked = {};
    if (n < static_cast<ssize_t>(sizeof asked)) {
      pollfd device = {device_fd_, POLLIN, 0};
      poll(&device, 1, 1);
      continue;
    }
    memcpy(&asked, buffer.data(), sizeof asked);
    const bool silent = asked.opcode == FUSE_FORGET || asked.opcode == FUSE_BATCH_FORGET ||
                        asked.opcode == FUSE_INTERRUPT;
    const fuse_out_header answer = {sizeof answer, -ENOTCONN, asked.unique};
    if (!silent && write(device_fd_, &answer, sizeof answer) < 0) counters_.failed_replies++;
  }
  notifier_->join();
}

// ---- what this libfuse does not do by itself

void Session::negotiate(fuse_conn_info* connection) {
  const auto want = [connection](uint32_t capability, bool on) {
    connection->want &= ~capability;
    if (on) connection->want |= connection->capable & capability;
  };
  const ReadDirPlusMode plus = options_.readdirplus;
  want(FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC, true);
  want(FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS, true);
  // Cached pages are as valid as the attributes: docs/leases.md, "Pages".
  want(FUSE_CAP_AUTO_INVAL_DATA, true);
  want(FUSE_CAP_READDIRPLUS, plus != ReadDirPlusMode::kOff);
  want(FUSE_CAP_READDIRPLUS_AUTO, plus == ReadDirPlusMode::kAuto);
  // The umask is ours to apply: a directory's default ACL takes its place.
  want(FUSE_CAP_DONT_MASK, true);
  want(FUSE_CAP_POSIX_ACL, options_.posix_acl);
  // The second version, which libfuse does not know: see write_device.
  want(FUSE_CAP_HANDLE_KILLPRIV, false);
  want(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE, false);
  want(FUSE_CAP_SPLICE_MOVE | FUSE_CAP_IOCTL_DIR | FUSE_CAP_EXPORT_SUPPORT, false);
  want(FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS, options_.locks);
  connection->max_write = kBulkPayload;
  connection->max_read = kBulkPayload;
  connection->max_background = options_.max_background;
  connection->congestion_threshold = options_.max_background * 3 / 4;
  connection->time_gran = 1;
  negotiated_.wanted = connection->want;
  negotiated_.posix_acl = (connection->want & FUSE_CAP_POSIX_ACL) != 0;
  negotiated_.locks = (connection->want & FUSE_CAP_POSIX_LOCKS) != 0;
}

// libfuse's way to the device. Two things are ours: the answer to INIT gets the flags that this
// libfuse does not know, and an answer into an ended connection is dropped silently.
ssize_t Session::write_device(int fd, iovec* parts, int count, void* userdata) {
  Session* session = static_cast<Session*>(userdata);
  size_t total = 0;
  for (int i = 0; i < count; i++) total += parts[i].iov_len;
  if (session->end_error_ != 0) return static_cast<ssize_t>(total);
  if (session->init_pending_ && count == 2 && parts[1].iov_len >= sizeof(fuse_init_out)) {
    auto* out = static_cast<fuse_init_out*>(parts[1].iov_base);
    Negotiated& agreed = session->negotiated_;
    agreed.max_write = out->max_write;
    if (session->options_.direct_io_mmap && (agreed.offered & kDirectIoAllowMmap)) {
      out->flags |= kInitExt;
      out->flags2 |= kDirectIoAllowMmap >> 32;
      agreed.direct_io_mmap = true;
    }
    out->flags |= agreed.offered & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT);
    agreed.kill_priv = (agreed.offered & FUSE_HANDLE_KILLPRIV_V2) != 0;
    agreed.setxattr_flags = (agreed.offered & FUSE_SETXATTR_EXT) != 0;
  }
  const ssize_t n = writev(fd, parts, count);
  if (n < 0 && errno == ENODEV) {
    session->end(ENODEV);
    return static_cast<ssize_t>(total);
  }
  return n;
}

}  // namespace sealfs::fuse
