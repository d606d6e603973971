// Goal: how often calls went through a lane, why not, and how long each way took, for
// `sealfs intercept --report`. Method: counters of this process. With SEALFS_INTERCEPT_REPORT set,
// its value is a file that lines of JSON are appended to: when a program begins, when it executes
// another one, and, with the counters, when it ends. So one that is killed, or that this library is
// not loaded into, is known by what it does not say. Without it calls are neither counted nor
// timed.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace sealfs::intercept::report {

enum Call : uint32_t {
  kOpen,
  kIntroduce,
  kRead,
  kWrite,
  kStat,
  kFileStat,
  kFileSync,
  kFileTruncate,
  kFileChangeMode,
  kFileSetTimes,
  kUnlink,
  kRemoveDirectory,
  kMakeDirectory,
  kAccess,
  kReadLink,
  kRename,
  kLink,
  kSymlink,
  kTruncate,
  kChangeMode,
  kChangeOwner,
  kSetTimes,
  kMakeNode,
  kReadDirectory,
  kFileAllocate,
  kFileChangeOwner,
  kGetXattr,
  kSetXattr,
  kListXattr,
  kRemoveXattr,
  // Always the kernel's.
  kCopyRange,
  kSendFile,
  kSplice,
  kMap,
  kLock,
  kAdvise,
  kReadVectors,
  kWriteVectors,
  kCalls
};

// Reasons of this side, beside those of native/common/intercept_layout.h.
constexpr uint32_t kNotOurs = 4201;       // the kernel's descriptor: not counted
constexpr uint32_t kSharedOffset = 4202;  // the offset is not this process's alone
constexpr uint32_t kOpenMode = 4203;      // append, or a limit on file sizes
constexpr uint32_t kFirst = 4205;         // the first small transfer of an open file
constexpr uint32_t kRemembered = 4204;    // the kernel knows the path, or was told it lately
constexpr uint32_t kDescriptor = 4206;    // a descriptor comes from the kernel
constexpr uint32_t kKernelsCall = 4207;   // whatever it is called for

// Where the report goes; null: nobody wants it.
extern const char* destination;
inline bool wanted() { return destination != nullptr; }

// `status`: 0 or an errno, answered through the lane; or the reason why the kernel was asked.
void count(Call call, uint32_t status);

// The time from here to the end of the scope goes to the outcome that `count` is told of for this
// call, the last one if there are several; to nothing if there is none.
class Timing {
 public:
  explicit Timing(Call call) {
    if (wanted()) begin(call);
  }
  ~Timing() {
    if (began_ns_ != 0) end();
  }
  Timing(const Timing&) = delete;
  Timing& operator=(const Timing&) = delete;

 private:
  friend void count(Call call, uint32_t status);
  void begin(Call call);
  void end();

  uint64_t began_ns_ = 0;
  Call call_ = kCalls;
  uint32_t status_ = kNotOurs;
  Timing* outer_ = nullptr;
};

// The beginning of the program, or of a child that was forked: nothing is counted yet.
void begin_program();
void begin_child();
// The program ends: once. Also before it executes another, by which it is lost.
void end_program();
// Process `pid` executes the program at `path`, which begins by saying so, if it loads libraries.
void executes(pid_t pid, const char* path);
// It could not: this program goes on.
void executed_not();

}  // namespace sealfs::intercept::report
