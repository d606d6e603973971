// Goal: attributes as programs see them: those of the mount process, with what is the kernel's
// (device, block size), taken from what it said of an inode of the same mount.
#pragma once

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "native/common/intercept_layout.h"

namespace sealfs::intercept {

inline struct stat shown_as(const StatReply& from, const struct statx& kernel) {
  struct stat to;
  memset(&to, 0, sizeof to);
  to.st_dev = makedev(kernel.stx_dev_major, kernel.stx_dev_minor);
  to.st_blksize = kernel.stx_blksize;
  to.st_ino = from.inode;
  to.st_size = static_cast<off_t>(from.size);
  to.st_blocks = static_cast<blkcnt_t>(from.blocks);
  to.st_atim = {from.atime_seconds, from.atime_nanoseconds};
  to.st_mtim = {from.mtime_seconds, from.mtime_nanoseconds};
  to.st_ctim = {from.ctime_seconds, from.ctime_nanoseconds};
  to.st_mode = from.mode;
  to.st_nlink = from.links;
  to.st_uid = from.uid;
  to.st_gid = from.gid;
  to.st_rdev = from.rdev;
  return to;
}

inline struct statx shown_as_statx(const StatReply& from, const struct statx& kernel) {
  struct statx to;
  memset(&to, 0, sizeof to);
  to.stx_mask = STATX_BASIC_STATS;
  to.stx_dev_major = kernel.stx_dev_major;
  to.stx_dev_minor = kernel.stx_dev_minor;
  to.stx_blksize = kernel.stx_blksize;
  to.stx_attributes_mask = kernel.stx_attributes_mask;
  to.stx_ino = from.inode;
  to.stx_size = from.size;
  to.stx_blocks = from.blocks;
  to.stx_atime = {from.atime_seconds, from.atime_nanoseconds, {}};
  to.stx_mtime = {from.mtime_seconds, from.mtime_nanoseconds, {}};
  to.stx_ctime = {from.ctime_seconds, from.ctime_nanoseconds, {}};
  to.stx_mode = static_cast<uint16_t>(from.mode);
  to.stx_nlink = from.links;
  to.stx_uid = from.uid;
  to.stx_gid = from.gid;
  to.stx_rdev_major = major(from.rdev);
  to.stx_rdev_minor = minor(from.rdev);
  return to;
}

}  // namespace sealfs::intercept
