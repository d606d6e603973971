// Goal: what the files of entry points have in common. Which there are, and what each does, is the
// table of docs/intercept.md.
#pragma once

// A function that programs find in the place of libc's.
#define SEALFS_ENTRY extern "C" __attribute__((visibility("default")))

namespace sealfs::intercept {

// In the child of a fork: threads that held them are not there.
void forget_offset_locks();

}  // namespace sealfs::intercept
