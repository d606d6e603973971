// Goal: what this library knows of each directory stream (DIR) of the process, beside libc. Method:
// a table by address. Who opens a stream enters it, who closes it takes it out; between the two it
// is found without a lock. Nothing here allocates from the heap, which a signal handler could find
// in use.
//
//   fresh ── a page by a lane ──> ours ── entries, pages … ──> ours
//     │  ^                         │ a page that the kernel is to give
//     │  └── rewinddir, seekdir ───┼──────────────┐
//     └──────────────────────────> libc's ────────┘
//
// While a stream is fresh or ours, libc has read nothing ahead, and the kernel's offset of the
// descriptor is where the page ends that was read last: as if it had been read by getdents64(2). So
// libc can go on at the end of any page.
#pragma once

#include <dirent.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "native/intercept/attachment.h"

namespace sealfs::intercept {

enum class Source : uint8_t { kFresh, kOurs, kLibc };

struct Stream {
  std::atomic<DIR*> directory{nullptr};
  std::atomic<uint32_t> lock{0};  // of all that follows
  Source source = Source::kFresh;
  bool ends = false;  // nothing followed the page when it was read
  Attachment* attachment = nullptr;
  uint32_t handle = 0;  // 0: not introduced
  uint64_t inode = 0;
  // A page, of kPageBytes at most; null: none was read.
  uint8_t* page = nullptr;
  uint32_t bytes = 0;
  uint32_t at = 0;     // where the next entry lies
  off_t page_end = 0;  // the kernel's offset behind it
  long position = 0;   // behind the entry that was given last

  const ListedEntry* next() const { return reinterpret_cast<const ListedEntry*>(page + at); }
  // What was read is of no use.
  void drop() {
    bytes = 0;
    at = 0;
    ends = false;
  }
};

namespace streams {

constexpr uint32_t kPageBytes = 256 * 1024;

// It has just been opened. Null: there is no place for it, and it is libc's.
Stream* opened(DIR* directory);
// Null: one that is libc's.
Stream* find(DIR* directory);
// It is about to be closed.
void closing(DIR* directory);
// Memory for a page of this one. False: there is none.
bool reserve(Stream* stream);
// In the child of a fork: what was read stays, handles do not.
void forget();

}  // namespace streams
}  // namespace sealfs::intercept
