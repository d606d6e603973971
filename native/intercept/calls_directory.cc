// Goal: directories that are read through a lane. Method: the stream and its descriptor are libc's
// and real. A page of entries comes from the mount process, from the kernel's offset of the
// descriptor on, which is moved to the page's end then: whoever else sees the offset (lseek,
// getdents64, a copy of the descriptor, a child) finds what getdents64(2) would have left, and
// whenever a lane does not answer, libc goes on there. As with read(2), only while the open file
// description is this process's alone (descriptors.h).
//
// What comes before the first page, the kernel has judged: that the directory may be opened, and
// read.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/intercept/descriptors.h"
#include "native/intercept/directory_streams.h"
#include "native/intercept/entry.h"
#include "native/intercept/futex_lock.h"
#include "native/intercept/next.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {
namespace {

Next<DIR*(const char*)> next_opendir{"opendir"};
Next<DIR*(int)> next_fdopendir{"fdopendir"};
Next<int(DIR*)> next_closedir{"closedir"};
Next<dirent*(DIR*)> next_readdir{"readdir64"};
Next<int(DIR*, dirent*, dirent**)> next_readdir_r{"readdir64_r"};
Next<void(DIR*)> next_rewinddir{"rewinddir"};
Next<void(DIR*, long)> next_seekdir{"seekdir"};
Next<long(DIR*)> next_telldir{"telldir"};

// Programs are handed entries where they lie.
static_assert(offsetof(dirent, d_ino) == offsetof(ListedEntry, inode));
static_assert(offsetof(dirent, d_off) == offsetof(ListedEntry, cookie));
static_assert(offsetof(dirent, d_reclen) == offsetof(ListedEntry, record_bytes));
static_assert(offsetof(dirent, d_type) == offsetof(ListedEntry, type));
static_assert(offsetof(dirent, d_name) == offsetof(ListedEntry, name));
static_assert(sizeof(dirent) == sizeof(dirent64));

// Most directories are small, and the entries of the first page come with what they cost to look
// at.
constexpr uint32_t kFirstPageBytes = 64 * 1024;
static_assert(kFirstPageBytes <= streams::kPageBytes && streams::kPageBytes <= kDataBytes);

// Where the next entry comes from; kEnd: there is none.
enum class Step { kEntry, kEnd, kLibc };

Step leave(uint32_t why) {
  report::count(report::kReadDirectory, why);
  return Step::kLibc;
}

// Who is asked for the entries. kEntry: the mount process, by the stream's handle.
Step introduce(Stream* stream, int fd) {
  struct statx shown;
  const int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
  if (!descriptors::is_at_home() ||
      syscall(SYS_statx, fd, "", flags, STATX_TYPE | STATX_INO | STATX_NLINK, &shown) != 0 ||
      !S_ISDIR(shown.stx_mode) || shown.stx_dev_major != 0) {
    return Step::kLibc;
  }
  Attachment* mount = descriptors::attachment_of(shown.stx_dev_major, shown.stx_dev_minor);
  if (mount == nullptr) return Step::kLibc;
  if (!descriptors::owns_offset(fd)) return leave(report::kSharedOffset);
  // Removed here. The kernel knows at once; the directory's own server may hear of it a little
  // later.
  if (shown.stx_nlink == 0) return leave(static_cast<uint32_t>(Fallback::kInKernel));
  if (stream->handle != 0) {
    const bool is_still = stream->attachment == mount && stream->inode == shown.stx_ino;
    return is_still ? Step::kEntry : leave(static_cast<uint32_t>(Fallback::kNotHere));
  }
  const report::Timing timing(report::kIntroduce);
  const Reply reply = mount->introduce(fd, shown.stx_ino);
  report::count(report::kIntroduce, reply.status);
  if (reply.status != 0) return leave(reply.status);
  stream->attachment = mount;
  stream->handle = static_cast<uint32_t>(reply.value);
  stream->inode = shown.stx_ino;
  return Step::kEntry;
}

// False: it has not the form of a page. Else its last entry says where it ends.
bool find_end(Stream* stream) {
  for (uint32_t at = 0; at < stream->bytes;) {
    const auto* entry = reinterpret_cast<const ListedEntry*>(stream->page + at);
    const uint32_t left = stream->bytes - at;
    if (left < sizeof(ListedEntry) || entry->record_bytes < sizeof(ListedEntry) ||
        entry->record_bytes > left || entry->record_bytes % 8 != 0) {
      return false;
    }
    stream->page_end = static_cast<off_t>(entry->cookie);
    at += entry->record_bytes;
  }
  return true;
}

// The page behind this offset. 0; an errno, or a reason: it is not there.
uint32_t ask(Stream* stream, off_t offset) {
  const int lane = streams::reserve(stream) ? stream->attachment->begin() : -1;
  if (lane < 0) return kNoLane;
  Request request{};
  request.operation = static_cast<uint32_t>(Operation::kReadDirectory);
  request.handle = stream->handle;
  request.offset = static_cast<uint64_t>(offset);
  request.length = offset == 0 ? kFirstPageBytes : streams::kPageBytes;
  const Reply reply = stream->attachment->call(lane, request);
  const auto bytes = static_cast<uint32_t>(reply.value & (kListingEnds - 1));
  const bool is_there = reply.status == 0 && bytes <= request.length;
  if (is_there) {
    memcpy(stream->page, stream->attachment->data(lane), bytes);
    stream->bytes = bytes;
    stream->page_end = offset;
    stream->ends = (reply.value & kListingEnds) != 0;
  }
  stream->attachment->end(lane);
  const bool is_page = is_there && (bytes > 0 || stream->ends) && find_end(stream);
  return is_page             ? 0
         : reply.status != 0 ? reply.status
                             : static_cast<uint32_t>(Fallback::kOverloaded);
}

// What follows the page that has been given.
Step refill(Stream* stream, int fd) {
  const bool ended = stream->ends;
  stream->drop();
  // Said once, and only if nobody has moved the offset: the next time it is looked for anew.
  if (ended && lseek(fd, 0, SEEK_CUR) == stream->page_end) return Step::kEnd;
  const Step step = introduce(stream, fd);
  if (step != Step::kEntry) return step;
  const off_t offset = lseek(fd, 0, SEEK_CUR);
  if (offset < 0) return Step::kLibc;
  const uint32_t status = ask(stream, offset);
  // What is an error, the kernel says, and how: of a directory that was removed there is no entry.
  const bool is_error = status != 0 && status < kFallbackFirst;
  report::count(report::kReadDirectory,
                is_error ? static_cast<uint32_t>(Fallback::kOverloaded) : status);
  if (status != 0 || lseek(fd, stream->page_end, SEEK_SET) != stream->page_end) {
    stream->drop();
    return Step::kLibc;
  }
  if (stream->bytes > 0) return Step::kEntry;
  stream->drop();
  return Step::kEnd;
}

// `libc()` reads by libc, and says whether there was an entry.
template <typename Libc>
const ListedEntry* read_entry(Stream* stream, DIR* directory, Libc libc) {
  if (stream->source == Source::kLibc) {
    (void)libc();
    return nullptr;
  }
  if (stream->at == stream->bytes) {
    const report::Timing timing(report::kReadDirectory);
    const int before = errno;
    const Step step = refill(stream, dirfd(directory));
    errno = before;
    // As long as libc has given nothing, it has read nothing ahead, either.
    if (step == Step::kLibc && libc()) stream->source = Source::kLibc;
    if (step != Step::kEntry) return nullptr;
  }
  const ListedEntry* entry = stream->next();
  stream->at += entry->record_bytes;
  stream->position = static_cast<long>(entry->cookie);
  stream->source = Source::kOurs;
  return entry;
}

dirent* read_next(DIR* directory) {
  Stream* stream = streams::find(directory);
  if (stream == nullptr) return next_readdir(directory);
  const FutexLock lock(&stream->lock);
  dirent* result = nullptr;
  const ListedEntry* entry = read_entry(stream, directory, [&] {
    result = next_readdir(directory);
    return result != nullptr;
  });
  if (entry == nullptr) return result;
  return reinterpret_cast<dirent*>(const_cast<ListedEntry*>(entry));
}

int read_next_into(DIR* directory, dirent* to, dirent** result) {
  Stream* stream = streams::find(directory);
  if (stream == nullptr) return next_readdir_r(directory, to, result);
  const FutexLock lock(&stream->lock);
  int status = 0;
  *result = nullptr;
  const ListedEntry* entry = read_entry(stream, directory, [&] {
    status = next_readdir_r(directory, to, result);
    return *result != nullptr;
  });
  if (entry == nullptr) return status;
  // Behind the longest name it may be padded beyond what there is room for.
  memcpy(to, entry, offsetof(dirent, d_name));
  strcpy(to->d_name, entry->name);
  *result = to;
  return 0;
}

// `move()` has libc go elsewhere in the stream; it forgets what it has read ahead.
template <typename Move>
void go(DIR* directory, Move move) {
  Stream* stream = streams::find(directory);
  if (stream == nullptr) {
    move();
    return;
  }
  const FutexLock lock(&stream->lock);
  move();
  stream->drop();
  stream->source = Source::kFresh;
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

// ---- opendir(3), fdopendir(3), closedir(3)

SEALFS_ENTRY DIR* opendir(const char* path) {
  DIR* directory = next_opendir(path);
  if (directory != nullptr && streams::opened(directory) != nullptr) {
    descriptors::opened(dirfd(directory));
  }
  return directory;
}
// The descriptor may be shared with others already.
SEALFS_ENTRY DIR* fdopendir(int fd) {
  DIR* directory = next_fdopendir(fd);
  if (directory != nullptr) (void)streams::opened(directory);
  return directory;
}
SEALFS_ENTRY int closedir(DIR* directory) {
  if (streams::find(directory) != nullptr) {
    descriptors::forget(dirfd(directory));
    streams::closing(directory);
  }
  return next_closedir(directory);
}

// ---- readdir(3), readdir_r(3)

SEALFS_ENTRY dirent* readdir(DIR* directory) { return read_next(directory); }
SEALFS_ENTRY dirent64* readdir64(DIR* directory) {
  return reinterpret_cast<dirent64*>(read_next(directory));
}
SEALFS_ENTRY int readdir_r(DIR* directory, dirent* to, dirent** result) {
  return read_next_into(directory, to, result);
}
SEALFS_ENTRY int readdir64_r(DIR* directory, dirent64* to, dirent64** result) {
  return read_next_into(directory, reinterpret_cast<dirent*>(to),
                        reinterpret_cast<dirent**>(result));
}

// ---- rewinddir(3), seekdir(3), telldir(3)

SEALFS_ENTRY void rewinddir(DIR* directory) noexcept {
  go(directory, [&] { next_rewinddir(directory); });
}
SEALFS_ENTRY void seekdir(DIR* directory, long position) noexcept {
  go(directory, [&] { next_seekdir(directory, position); });
}
SEALFS_ENTRY long telldir(DIR* directory) noexcept {
  Stream* stream = streams::find(directory);
  if (stream == nullptr) return next_telldir(directory);
  const FutexLock lock(&stream->lock);
  return stream->source == Source::kOurs ? stream->position : next_telldir(directory);
}
