// libfuse's low-level API at the version that Debian 12 has, and the kernel's own structs. Included
// by every file that needs either, so that all agree on the version.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
