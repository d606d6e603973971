// Goal: from which directory of which mount a path is to be followed. Method: the kernel is asked
// at each call (statx without a request): where is the working directory; does the path's beginning
// still lead to the mount that was seen there; which directory is this descriptor. So chdir,
// chroot, mounts and permissions above the mount are its business, and only names below one of its
// directories are the mount process's.
//
// A directory is introduced to the mount process once, by a descriptor of it that the kernel opens
// (O_PATH), and known by its inode from then on.
#pragma once

#include <sys/stat.h>

#include <cstdint>

#include "native/intercept/attachment.h"

namespace sealfs::intercept {

struct Place {
  Attachment* attachment = nullptr;  // null: the kernel is to be asked
  uint32_t handle = 0;               // of the directory
  const char* path = nullptr;        // below it
  struct statx directory;            // device and block size
};

namespace places {

// Cheap, and without a system call: false for a path that `find` would leave to the kernel for its
// looks, or on a machine without mounts.
bool may_be_below(const char* path);
// `directory`: that a path without a '/' at its beginning is relative to; AT_FDCWD: the working
// one.
Place find(int directory, const char* path);
// The same without a system call, for an absolute path below a mount whose mount point was looked
// at at `now_ms` (remembered::now_ms), a tick of the clock, a few milliseconds; false: it was not.
// What `may_be_below` judges is not judged.
bool find_again(const char* path, uint64_t now_ms, Place* place);
// What was looked at is looked at again: something above a mount may have moved.
void look_again();
// Who this process is has changed, or where it lives: paths are the kernel's from now on.
void stop();
bool is_stopped();
// In the child of a fork.
void forget();

}  // namespace places
}  // namespace sealfs::intercept
