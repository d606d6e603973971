// Goal: what the files of entry points have in common. Which there are, and what each does, is the
// table of docs/intercept.md.
//
// They are called before this library's own constructors have run: by those of other libraries,
// which ld.so(8) begins with. So all that is global here is `constinit`: a constructor that ran
// later would take back what had been learnt.
#pragma once

#include <sys/types.h>

#include <cstdint>

// A function that programs find in the place of libc's.
#define SEALFS_ENTRY extern "C" __attribute__((visibility("default")))

namespace sealfs::intercept {

// fchown(2): 0, an errno, or a reason to ask the kernel.
uint32_t change_owner_of_file(int fd, uid_t user, gid_t group);

// In the child of a fork: threads that held them are not there.
void forget_offset_locks();

}  // namespace sealfs::intercept
