// Goal and method: host.h. Here: who attaches and who has gone. Calls: host_calls.cc,
// host_paths.cc.
#include "native/intercept_host/host.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace sealfs::intercept {
namespace {

// epoll's data: one of these, or a Program's address.
constexpr uint64_t kListenTag = 1;
// Added to the address: its process, not its connection.
constexpr uint64_t kEndTag = 1;
// Messages that are read of one program at a time.
constexpr int kMessagesMax = 16;
// Polls between two looks at the descriptors while the thread does not sleep.
constexpr uint32_t kLookEvery = 64;

}  // namespace

std::shared_ptr<Host> Host::create(std::shared_ptr<Arena> arena, HostOptions options,
                                   std::string* error) {
  std::shared_ptr<Host> host(new Host(std::move(arena), std::move(options)));
  return host->listen(error) ? host : nullptr;
}

Host::Host(std::shared_ptr<Arena> arena, HostOptions options)
    : arena_(std::move(arena)), options_(std::move(options)) {
  for (uint32_t i = kCalls; i > 0; i--) free_.push_back(i - 1);
}

Host::~Host() {
  close();
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
}

bool Host::watch(int fd, uint64_t tag) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool Host::listen(std::string* error) {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  listen_fd_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name =
      kSocketPrefix + (options_.socket_name.empty() ? options_.device : options_.socket_name);
  // Behind a first byte 0 the name is in the abstract name space: it goes with its socket.
  memcpy(address.sun_path + 1, name.data(), std::min(name.size(), sizeof address.sun_path - 1));
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                            std::min(name.size(), sizeof address.sun_path - 1));
  if (epoll_fd_ >= 0 && listen_fd_ >= 0 &&
      bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), bytes) == 0 &&
      ::listen(listen_fd_, 128) == 0 && watch(listen_fd_, kListenTag) &&
      mounts_.watch(options_.mountpoint, options_.device) &&
      (versions_ = Versions::create()) != nullptr) {
    return true;
  }
  *error = "the socket @" + name + ": " + strerror(errno);
  return false;
}

void Host::close() {
  if (closed_) return;
  closed_ = true;
  if (listen_fd_ >= 0) ::close(std::exchange(listen_fd_, -1));
  for (const auto& program : programs_) leave(program.get());
  sweep();
}

// ---------------------------------------------------------------- who attaches

void Host::look_around() {
  epoll_event events[64];
  const int count = epoll_wait(epoll_fd_, events, 64, 0);
  for (int i = 0; i < count; i++) {
    const uint64_t tag = events[i].data.u64;
    if (tag == kListenTag) {
      accept_programs();
    } else if ((tag & kEndTag) != 0) {
      // Two events of one program may be in this batch: it is freed by sweep() alone.
      leave(reinterpret_cast<Program*>(tag - kEndTag));
    } else {
      listen_to(reinterpret_cast<Program*>(tag));
    }
  }
  if (count > 0) sweep();
}

// A message says no more than that a bell was rung while this thread slept.
void Host::listen_to(Program* program) {
  char message[8];
  for (int i = 0; i < kMessagesMax && !program->gone; i++) {
    const ssize_t got = recv(program->socket, message, sizeof message, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) leave(program);
  }
}

void Host::accept_programs() {
  for (;;) {
    const int socket = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0) return;
    const int status = admit(socket);
    if (status == 0) continue;
    counters_.refused++;
    const Welcome refusal{kMagic, static_cast<uint32_t>(status)};
    (void)!send(socket, &refusal, sizeof refusal, MSG_NOSIGNAL);
    ::close(socket);
  }
}

// 0, and the connection is a program's; or an errno.
int Host::admit(int socket) {
  if (programs_.size() >= kProgramsMax) return EUSERS;
  auto program = std::make_unique<Program>();
  const int status = Witness::open(socket, &program->witness);
  if (status != 0) return status;
  // As the kernel has it for a mount that is not for others.
  if (!options_.any_user && !program->witness.is_wholly(getuid(), getgid())) return EACCES;
  program->region = Region::create();
  if (!program->region) return ENOMEM;

  Welcome welcome{kMagic, 0};
  iovec part{&welcome, sizeof welcome};
  const int fds[2] = {program->region->fd(), versions_->fd()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fds);
  memcpy(CMSG_DATA(header), fds, sizeof fds);
  const auto tag = reinterpret_cast<uint64_t>(program.get());
  if (!watch(socket, tag) || !watch(program->witness.pidfd(), tag + kEndTag)) return errno;
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != sizeof welcome) return EPIPE;

  program->socket = socket;
  program->number = ++numbers_;
  program->share = arena_->open_share(program->region->fd(), kDataOffset);
  counters_.programs++;
  CallRecord hello{};
  hello.offset = static_cast<uint64_t>(program->witness.pid());
  push(CallKind::kHello, *program, hello);
  programs_.push_back(std::move(program));
  return 0;
}

// ---------------------------------------------------------------- who has gone

void Host::leave(Program* program) {
  if (program->gone) return;
  program->gone = true;
  ::close(std::exchange(program->socket, -1));
  handles_.remove_all(program->number, [&](const OpenHandle& handle) {
    CallRecord fields{};
    fields.handle = handle.core;
    push(CallKind::kClose, *program, fields);
  });
}

// Frees programs that have gone, those with a call under way later.
void Host::sweep() {
  std::erase_if(programs_, [&](const std::unique_ptr<Program>& program) {
    if (!program->gone || program->calls > 0) return false;
    push(CallKind::kGone, *program, CallRecord{});
    if (program->share != 0) arena_->close_share(program->share);
    return true;
  });
}

// ---------------------------------------------------------------- turns

uint32_t Host::harvest() {
  harvesting_ = true;
  records_.clear();
  size_t kept = 0;
  while (kept < late_.size()) {
    uint32_t* to = records_.push();
    if (to == nullptr) break;
    memcpy(to, &late_[kept++], sizeof(CallRecord));
  }
  late_.erase(late_.begin(), late_.begin() + static_cast<ptrdiff_t>(kept));
  const bool woke = asleep_;
  if (woke) {
    asleep_ = false;
    for (const auto& program : programs_) program->region->set_asleep(false);
  }
  if (!closed_ && (woke || ++polls_ % kLookEvery == 0)) look_around();
  for (const auto& program : programs_) {
    if (!program->gone) take_calls(program.get());
  }
  harvesting_ = false;
  return records_.count();
}

bool Host::arm() {
  asleep_ = true;
  bool work = !late_.empty();
  for (const auto& program : programs_) {
    program->region->set_asleep(true);
    // Ordered after the word that says so: a program rings first, then looks at it.
    if (!program->gone && program->region->bell_rung()) work = true;
  }
  return work;
}

void Host::push(CallKind kind, const Program& program, const CallRecord& fields) {
  CallRecord record = fields;
  record.kind = static_cast<uint32_t>(kind);
  record.program = program.number;
  uint32_t* to = harvesting_ && late_.empty() ? records_.push() : nullptr;
  if (to != nullptr) {
    memcpy(to, &record, sizeof record);
  } else {
    late_.push_back(record);
  }
}

}  // namespace sealfs::intercept
