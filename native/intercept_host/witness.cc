// Goal and method: witness.h.
#include "native/intercept_host/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "native/common/mount_info.h"

namespace sealfs::intercept {
namespace {

// The rest of the line that begins with `name`, without blanks before it.
bool field(std::string_view text, std::string_view name, int base, uint64_t* value) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(name)) continue;
    line.remove_prefix(name.size());
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    const char* last = line.data() + line.size();
    const auto result = std::from_chars(line.data(), last, *value, base);
    return result.ec == std::errc() && result.ptr == last;
  }
  return false;
}

std::string read_file(const char* path) {
  std::string text;
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char buffer[4096];
  for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  ::close(fd);
  return text;
}

bool same_namespace(pid_t pid, const char* name) {
  char path[64];
  struct stat own;
  struct stat other;
  snprintf(path, sizeof path, "/proc/self/ns/%s", name);
  if (stat(path, &own) != 0) return false;
  snprintf(path, sizeof path, "/proc/%d/ns/%s", static_cast<int>(pid), name);
  return stat(path, &other) == 0 && own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

bool all_are(std::string_view status, const char* name, unsigned id) {
  char line[64];
  snprintf(line, sizeof line, "\n%s\t%u\t%u\t%u\t%u\n", name, id, id, id, id);
  return status.find(line) != std::string_view::npos;
}

}  // namespace

bool parse_fdinfo(std::string_view text, Descriptor* descriptor, uint64_t* mount_id) {
  uint64_t flags = 0;
  if (!field(text, "flags:", 8, &flags) || !field(text, "mnt_id:", 10, mount_id) ||
      !field(text, "ino:", 10, &descriptor->inode) || flags > UINT32_MAX) {
    return false;
  }
  descriptor->flags = static_cast<uint32_t>(flags);
  return true;
}

bool is_mount_of(std::string_view mountinfo, uint64_t mount_id, std::string_view device) {
  const std::string id = std::to_string(mount_id);
  MountLines lines(mountinfo);
  for (MountLine line; lines.next(&line);) {
    if (line.id == id) return line.device == device;
  }
  return false;
}

int Witness::open(int socket, Witness* witness) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return errno;
  if (peer.pid <= 0) return EXDEV;
  Witness made;
  made.pid_ = peer.pid;
  made.pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0));
  if (made.pidfd_ < 0) return errno;
  for (const char* name : {"mnt", "user", "pid"}) {
    if (!same_namespace(peer.pid, name)) return EXDEV;
  }
  struct stat entry;
  if (stat(("/proc/" + std::to_string(peer.pid)).c_str(), &entry) != 0) return ESRCH;
  made.owner_ = entry.st_uid;
  // The number may have been another's between the connection and here: that one has another user,
  // or might as well have attached itself.
  if (entry.st_uid != peer.uid || !made.is_same()) return EPERM;
  *witness = std::move(made);
  return 0;
}

Witness::~Witness() {
  if (pidfd_ >= 0) ::close(pidfd_);
}

Witness::Witness(Witness&& other) noexcept { *this = std::move(other); }

Witness& Witness::operator=(Witness&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(owner_, other.owner_);
  std::swap(mount_id_, other.mount_id_);
  return *this;
}

std::string Witness::file(const char* name) const {
  char path[96];
  snprintf(path, sizeof path, "/proc/%d/%s", static_cast<int>(pid_), name);
  return read_file(path);
}

bool Witness::is_wholly(uid_t uid, gid_t gid) const {
  const std::string status = file("status");
  return all_are(status, "Uid:", uid) && all_are(status, "Gid:", gid) && is_same();
}

// A program that was executed with other privileges is not dumpable, and its /proc/PID is root's.
bool Witness::is_same() const {
  struct stat entry;
  char path[32];
  snprintf(path, sizeof path, "/proc/%d", static_cast<int>(pid_));
  if (stat(path, &entry) != 0 || entry.st_uid != owner_) return false;
  // Looked at last: while it lives its number is nobody else's.
  pollfd ended{pidfd_, POLLIN, 0};
  return poll(&ended, 1, 0) == 0;
}

// By the kernel's memory alone: no request to the file system, which may be this very process.
bool Witness::is_on(uint32_t number, std::string_view device) const {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%u", static_cast<int>(pid_), number);
  struct statx shown;
  if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &shown) != 0) {
    return false;
  }
  char found[32];
  snprintf(found, sizeof found, "%u:%u", shown.stx_dev_major, shown.stx_dev_minor);
  return device == found;
}

bool Witness::descriptor(uint32_t number, std::string_view device, Descriptor* descriptor) {
  // What the kernel tells of others may be long: of an epoll descriptor, all that it watches.
  if (!is_on(number, device)) return false;
  char name[32];
  snprintf(name, sizeof name, "fdinfo/%u", number);
  uint64_t mount_id = 0;
  if (!parse_fdinfo(file(name), descriptor, &mount_id)) return false;
  if (mount_id != mount_id_) {
    if (!is_mount_of(file("mountinfo"), mount_id, device)) return false;
    mount_id_ = mount_id;
  }
  return is_same();
}

}  // namespace sealfs::intercept
