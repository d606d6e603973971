// Goal: what the files of entry points have in common. Which there are, and what each does, is the
// table of docs/intercept.md.
//
// They are called before this library's own constructors have run: by those of other libraries,
// which ld.so(8) begins with. So all that is global here is `constinit`: a constructor that ran
// later would take back what had been learnt.
#pragma once

// A function that programs find in the place of libc's.
#define SEALFS_ENTRY extern "C" __attribute__((visibility("default")))

namespace sealfs::intercept {

// In the child of a fork: threads that held them are not there.
void forget_offset_locks();

}  // namespace sealfs::intercept
