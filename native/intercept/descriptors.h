// Goal: what is known of each descriptor number of this process. Method: a table that is a memory
// of what the kernel said, never the truth: a number that is believed to be a file of a mount is
// compared with the kernel's own word (statx without a request) at every use, since a program may
// close and open behind our back (raw system calls, libc's own inner calls).
//
//   unknown ── first use: statx, attach, kOpen ──> ours ── close, dup2, F_SETFL, another file ──>
//   unknown
//                        └── not a file of a mount, or refused ──> the kernel's ── the same ──>
//                        unknown
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "native/intercept/attachment.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {

// What a use of a descriptor found.
struct Use {
  Attachment* attachment = nullptr;  // null: the kernel is to be asked
  uint32_t why = report::kNotOurs;   // for the report
  uint32_t handle = 0;
  bool reads = false;
  bool writes = false;
  // The file offset is this process's alone, so that a read and its step forward may be two calls.
  // Who moves it holds the lock of the inode: an offset may have several numbers.
  bool owns_offset = false;
};

namespace descriptors {

// Once, and in the child of a fork.
void start();
// SEALFS_INTERCEPT_PATHS=always: whatever can goes through a lane. For tests.
bool is_always();
// `fd` has just been opened by a call of ours: its open file description is this process's alone.
void opened(int fd);
// `to` is another number of the open file description of `from`.
void copied(int from, int to);
// From now on its number may mean something else, or its open mode has changed.
void forget(int fd);
void forget_range(unsigned first, unsigned last);
// Another process may have all open file descriptions from now on.
void all_shared();
// Its file is about to be mapped: reads and writes of it are the kernel's from now on. False: it is
// of no mount.
bool mapped(int fd);
// The kernel makes sure of the file's size before it goes by it: what was written here it knows
// only when it asks.
void refresh(int fd);
// This process has written to the inode, so that its kernel may have an old size.
void wrote(uint64_t inode);
bool has_written(uint64_t inode);
// The mount says that the kernel is to be asked about this descriptor, for good, and why.
void leave_to_kernel(int fd, uint32_t why);
// Writes are the kernel's from now on, in the whole process.
void stop_writes();

// For a transfer of `bytes` by `fd`. `shown` receives what statx told if it is ours.
Use use(int fd, size_t bytes, bool writes, struct statx* shown);
// The same, but one that is unknown stays so: for calls that the kernel answers well enough.
Use use_if_known(int fd, struct statx* shown);
// Of a directory, too: its offset is this process's alone.
bool owns_offset(int fd);
// For the report: a call that is always the kernel's, of what is a file of a mount as far as is
// known without asking. False: it is none.
bool count_kernels_call(int fd, report::Call call);
// A descriptor that a connection needs: the program does not know of it, and must not close it.
bool is_own(int fd);
// The lowest of these from `first` to `last`.
bool first_own(unsigned first, unsigned last, unsigned* own);
// The mount process of this device, connected to if need be; null: there is none.
Attachment* attachment_of(uint32_t major, uint32_t minor);
// The process is the one that this memory belongs to: false in the child of a vfork.
bool is_at_home();

}  // namespace descriptors
}  // namespace sealfs::intercept
