// Goal: extended attributes that a program gives names of its own ("user."), by path and of
// descriptors that are read or written through lanes, and lists of all names. Other names mean
// something to the kernel, which is asked. It remembers none of these, so there is no answer of its
// own that could be faster.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

#include <algorithm>
#include <type_traits>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/path_call.h"
#include "native/intercept/places.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {
namespace {

template <typename Where>
using Get = ssize_t(Where, const char*, void*, size_t);
template <typename Where>
using Set = int(Where, const char*, const void*, size_t, int);
template <typename Where>
using List = ssize_t(Where, char*, size_t);
template <typename Where>
using Remove = int(Where, const char*);

Next<Get<const char*>> next_getxattr{"getxattr"};
Next<Get<const char*>> next_lgetxattr{"lgetxattr"};
Next<Get<int>> next_fgetxattr{"fgetxattr"};
Next<Set<const char*>> next_setxattr{"setxattr"};
Next<Set<const char*>> next_lsetxattr{"lsetxattr"};
Next<Set<int>> next_fsetxattr{"fsetxattr"};
Next<List<const char*>> next_listxattr{"listxattr"};
Next<List<const char*>> next_llistxattr{"llistxattr"};
Next<List<int>> next_flistxattr{"flistxattr"};
Next<Remove<const char*>> next_removexattr{"removexattr"};
Next<Remove<const char*>> next_lremovexattr{"lremovexattr"};
Next<Remove<int>> next_fremovexattr{"fremovexattr"};

constexpr char kPrefix[] = "user.";
constexpr size_t kPrefixBytes = sizeof kPrefix - 1;

// What the program asks for.
struct Asked {
  report::Call call;
  Operation operation;
  const char* name = nullptr;   // null: none
  const void* value = nullptr;  // that is to be set
  void* room = nullptr;         // for a value or names
  size_t bytes = 0;             // of either
  uint32_t flags = 0;           // setxattr(2)'s
};

// What becomes of it: 0, an errno, or a reason to ask the kernel; and how many bytes.
struct Outcome {
  uint32_t status = kNoLane;
  uint64_t bytes = 0;
};

// What else there is has an answer that the kernel gives before it looks at the file.
bool is_plain(const Asked& asked) {
  const bool has_memory = asked.value != nullptr || asked.room != nullptr || asked.bytes == 0;
  const bool fits = asked.value == nullptr || asked.bytes <= kXattrValueMax;
  if (!has_memory || !fits || (asked.flags & ~kXattrFlags) != 0) return false;
  if (asked.operation == Operation::kListXattr) return true;
  if (asked.name == nullptr) return false;
  const size_t bytes = strnlen(asked.name, kXattrNameMax + 1);
  return bytes > kPrefixBytes && bytes <= kXattrNameMax &&
         memcmp(asked.name, kPrefix, kPrefixBytes) == 0;
}

uint32_t flags_of(const Asked& asked) { return asked.flags << kXattrFlagsShift; }

// Before the lane is given back.
Outcome read_answer(const Asked& asked, uint32_t status, uint64_t bytes, const uint8_t* data) {
  if (status != 0 || asked.operation == Operation::kSetXattr ||
      asked.operation == Operation::kRemoveXattr) {
    return {status, 0};
  }
  bytes = std::min<uint64_t>(bytes, asked.bytes == 0 ? kXattrValueMax : asked.bytes);
  if (asked.bytes > 0) memcpy(asked.room, data, bytes);
  return {status, bytes};
}

Outcome ask_by_path(const char* path, bool follows, const Asked& asked) {
  PathCall call;
  if (!call.begin(AT_FDCWD, path)) return {};
  if (asked.name != nullptr && !call.add_text(asked.name)) return {};
  if (asked.value != nullptr) call.add_value(asked.value, asked.bytes);
  const uint32_t flags = flags_of(asked) | (follows ? 0 : kNoFollow);
  const uint32_t status = call.make(asked.call, asked.operation, flags, asked.bytes);
  return status == 0 ? read_answer(asked, status, call.value(), call.data()) : Outcome{status, 0};
}

// Who the caller is decides: not of a process that has become somebody else since it attached.
Outcome ask_by_descriptor(int fd, const Asked& asked) {
  struct statx shown;
  const Use use = descriptors::use_if_known(fd, &shown);
  const bool is_other = use.attachment != nullptr && places::is_stopped();
  if (use.attachment == nullptr || is_other) {
    report::count(asked.call, is_other ? static_cast<uint32_t>(Fallback::kPath) : use.why);
    return {};
  }
  const int lane = use.attachment->begin();
  if (lane < 0) return {};
  uint8_t* data = use.attachment->data(lane);
  const size_t name_bytes = asked.name == nullptr ? 0 : strnlen(asked.name, kXattrNameMax);
  if (name_bytes > 0) memcpy(data, asked.name, name_bytes);
  if (asked.value != nullptr) memcpy(data + name_bytes, asked.value, asked.bytes);
  Request request{};
  request.operation = static_cast<uint32_t>(asked.operation);
  request.handle = use.handle;
  request.offset = asked.bytes;
  request.flags = flags_of(asked);
  request.second_length = static_cast<uint32_t>(name_bytes);
  const Reply reply = use.attachment->call(lane, request);
  const Outcome outcome = read_answer(asked, reply.status, reply.value, data);
  use.attachment->end(lane);
  report::count(asked.call, reply.status);
  return outcome;
}

Outcome ask(const char* path, bool follows, const Asked& asked) {
  return ask_by_path(path, follows, asked);
}
Outcome ask(int fd, bool /*follows*/, const Asked& asked) { return ask_by_descriptor(fd, asked); }

// The call, or `kernel`: the program's own.
template <typename Where, typename Kernel>
ssize_t make(Where where, bool follows, const Asked& asked, Kernel kernel) {
  const report::Timing timing(asked.call);
  const int before = errno;
  Outcome outcome;
  if (is_plain(asked)) {
    outcome = ask(where, follows, asked);
  } else if constexpr (std::is_same_v<Where, int>) {
    (void)descriptors::count_kernels_call(where, asked.call);
  }
  int result;
  if (!answered(outcome.status, before, &result)) return kernel();
  if (result == 0) return static_cast<ssize_t>(outcome.bytes);
  // No room would have been enough.
  if (errno == ERANGE && asked.bytes >= kXattrValueMax) errno = E2BIG;
  return -1;
}

template <typename Where>
ssize_t get(Where where, bool follows, const char* name, void* room, size_t bytes,
            Next<Get<Where>>* next) {
  Asked asked{report::kGetXattr, Operation::kGetXattr};
  asked.name = name;
  asked.room = room;
  asked.bytes = std::min<size_t>(bytes, kXattrValueMax);
  return make(where, follows, asked, [=] { return (*next)(where, name, room, bytes); });
}

template <typename Where>
int set(Where where, bool follows, const char* name, const void* value, size_t bytes, int flags,
        Next<Set<Where>>* next) {
  Asked asked{report::kSetXattr, Operation::kSetXattr};
  asked.name = name;
  asked.value = value;
  asked.bytes = bytes;
  asked.flags = static_cast<uint32_t>(flags);
  return static_cast<int>(make(where, follows, asked, [=]() -> ssize_t {
    return (*next)(where, name, value, bytes, flags);
  }));
}

template <typename Where>
ssize_t list(Where where, bool follows, char* room, size_t bytes, Next<List<Where>>* next) {
  Asked asked{report::kListXattr, Operation::kListXattr};
  asked.room = room;
  asked.bytes = std::min<size_t>(bytes, kXattrValueMax);
  return make(where, follows, asked, [=] { return (*next)(where, room, bytes); });
}

template <typename Where>
int remove(Where where, bool follows, const char* name, Next<Remove<Where>>* next) {
  Asked asked{report::kRemoveXattr, Operation::kRemoveXattr};
  asked.name = name;
  return static_cast<int>(
      make(where, follows, asked, [=]() -> ssize_t { return (*next)(where, name); }));
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY ssize_t getxattr(const char* path, const char* name, void* room,
                              size_t bytes) noexcept {
  return get(path, true, name, room, bytes, &next_getxattr);
}
SEALFS_ENTRY ssize_t lgetxattr(const char* path, const char* name, void* room,
                               size_t bytes) noexcept {
  return get(path, false, name, room, bytes, &next_lgetxattr);
}
SEALFS_ENTRY ssize_t fgetxattr(int fd, const char* name, void* room, size_t bytes) noexcept {
  return get(fd, false, name, room, bytes, &next_fgetxattr);
}
SEALFS_ENTRY int setxattr(const char* path, const char* name, const void* value, size_t bytes,
                          int flags) noexcept {
  return set(path, true, name, value, bytes, flags, &next_setxattr);
}
SEALFS_ENTRY int lsetxattr(const char* path, const char* name, const void* value, size_t bytes,
                           int flags) noexcept {
  return set(path, false, name, value, bytes, flags, &next_lsetxattr);
}
SEALFS_ENTRY int fsetxattr(int fd, const char* name, const void* value, size_t bytes,
                           int flags) noexcept {
  return set(fd, false, name, value, bytes, flags, &next_fsetxattr);
}
SEALFS_ENTRY ssize_t listxattr(const char* path, char* room, size_t bytes) noexcept {
  return list(path, true, room, bytes, &next_listxattr);
}
SEALFS_ENTRY ssize_t llistxattr(const char* path, char* room, size_t bytes) noexcept {
  return list(path, false, room, bytes, &next_llistxattr);
}
SEALFS_ENTRY ssize_t flistxattr(int fd, char* room, size_t bytes) noexcept {
  return list(fd, false, room, bytes, &next_flistxattr);
}
SEALFS_ENTRY int removexattr(const char* path, const char* name) noexcept {
  return remove(path, true, name, &next_removexattr);
}
SEALFS_ENTRY int lremovexattr(const char* path, const char* name) noexcept {
  return remove(path, false, name, &next_lremovexattr);
}
SEALFS_ENTRY int fremovexattr(int fd, const char* name) noexcept {
  return remove(fd, false, name, &next_fremovexattr);
}
