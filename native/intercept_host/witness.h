// Goal: what the kernel says of a program, so that nothing need be believed that it says itself:
// that it still is the process that attached, which files its descriptors are of, and how they were
// opened. Method: a pidfd, /proc/PID, /proc/PID/fdinfo (proc_pid_fdinfo(5); `ino` from Linux 5.14
// on).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace sealfs::intercept {

struct Descriptor {
  uint64_t inode = 0;
  uint32_t flags = 0;  // open(2)
};

// "pos: … flags: … mnt_id: … ino: …"; false: a field is missing or no number.
bool parse_fdinfo(std::string_view text, Descriptor* descriptor, uint64_t* mount_id);
// Whether the mount of this number is one of the device "major:minor", by the text of a mountinfo.
bool is_mount_of(std::string_view mountinfo, uint64_t mount_id, std::string_view device);

class Witness {
 public:
  // Of the process at the other end of a UNIX socket. An errno instead: ESRCH it has gone, EXDEV it
  // lives in other namespaces (mount, user, PID), where numbers and paths mean something else.
  static int open(int socket, Witness* witness);
  Witness() = default;
  ~Witness();
  Witness(Witness&& other) noexcept;
  Witness& operator=(Witness&& other) noexcept;

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_; }  // readable when the process has ended
  // All of its user ids (real, effective, saved, file system) are this one, and all group ids that.
  bool is_wholly(uid_t uid, gid_t gid) const;
  // False: it has no such descriptor on the device; or is no longer who it was.
  bool descriptor(uint32_t number, std::string_view device, Descriptor* descriptor);
  // It lives, and its effective user is the one that attached.
  bool is_same() const;
  bool is_on(uint32_t number, std::string_view device) const;

 private:
  std::string file(const char* name) const;

  pid_t pid_ = 0;
  int pidfd_ = -1;
  uid_t owner_ = 0;        // of /proc/PID: root for a process that changed its privileges
  uint64_t mount_id_ = 0;  // the last one that was found to be of the device; 0: none
};

}  // namespace sealfs::intercept
