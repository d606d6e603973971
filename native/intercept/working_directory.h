// Goal: the path of the working directory while the kernel looks its name up again. A kernel that
// was told to forget its names (FUSE_NOTIFY_INC_EPOCH) takes a directory for removed from the next
// use of its name until that has been answered, whoever works in it: getcwd(2) says ENOENT, and
// /proc/PID/cwd "(deleted)". Method: the name is looked up here, too, by the path that the kernel
// remembers; if it leads to this very directory, the kernel knows the path again.
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace sealfs::intercept::working_directory {

// After ENOENT. True: it has a path, ask once more. False: it was removed, or who knows.
bool look_up();

// getcwd(2): bytes with the NUL, or -1 with errno.
ssize_t path(char* to, size_t bytes);

}  // namespace sealfs::intercept::working_directory
