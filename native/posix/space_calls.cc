// Calls on where a file has data and space: fallocate, copies inside the kernel, synchronising,
// and large data that a script can name by a number instead of its text.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

// Bytes of a pattern that differ by position and seed.
uint8_t pattern_at(uint64_t position, uint64_t seed) {
  const uint64_t word = (position / 8 + 1) * 0x9e3779b97f4a7c15 + seed * 0xbf58476d1ce4e5b9;
  return static_cast<uint8_t>((word ^ word >> 29) >> position % 8 * 8);
}

// fallocate FD MODE OFFSET LENGTH
std::string call_fallocate(Context& context, const Words& words) {
  return outcome(fallocate(descriptor(context, words[1]), static_cast<int>(flags(words, 2)),
                           number(words, 3), number(words, 4)));
}

// posix_fallocate FD OFFSET LENGTH
std::string call_posix_fallocate(Context& context, const Words& words) {
  errno = posix_fallocate(descriptor(context, words[1]), number(words, 2), number(words, 3));
  return outcome(errno == 0 ? 0 : -1);
}

// copyrange FROM OFFSET TO OFFSET LENGTH [FLAGS]; an offset of -: the descriptor's own
std::string call_copy_range(Context& context, const Words& words) {
  off64_t from = word(words, 2) == "-" ? 0 : number(words, 2);
  off64_t to = word(words, 4) == "-" ? 0 : number(words, 4);
  return outcome(copy_file_range(descriptor(context, words[1]), words[2] == "-" ? nullptr : &from,
                                 descriptor(context, words[3]), words[4] == "-" ? nullptr : &to,
                                 static_cast<size_t>(number(words, 5)),
                                 static_cast<unsigned>(number(words, 6))));
}

// fill FD OFFSET LENGTH SEED: writes a pattern, 1 MiB a call
std::string call_fill(Context& context, const Words& words) {
  const int fd = descriptor(context, words[1]);
  const uint64_t start = static_cast<uint64_t>(number(words, 2));
  const uint64_t length = static_cast<uint64_t>(number(words, 3));
  const uint64_t seed = static_cast<uint64_t>(number(words, 4));
  std::vector<uint8_t> buffer(1 << 20);
  for (uint64_t done = 0; done < length;) {
    const size_t bytes = length - done < buffer.size() ? length - done : buffer.size();
    for (size_t i = 0; i < bytes; i++) buffer[i] = pattern_at(start + done + i, seed);
    const ssize_t written = pwrite(fd, buffer.data(), bytes, static_cast<off_t>(start + done));
    if (written <= 0) return outcome(written);
    done += static_cast<uint64_t>(written);
  }
  return outcome(static_cast<long long>(length));
}

// digest FD OFFSET LENGTH: how much there was, and a hash of it
std::string call_digest(Context& context, const Words& words) {
  const int fd = descriptor(context, words[1]);
  const uint64_t start = static_cast<uint64_t>(number(words, 2));
  const uint64_t length = static_cast<uint64_t>(number(words, 3));
  std::vector<uint8_t> buffer(1 << 20);
  uint64_t hash = 0xcbf29ce484222325;
  uint64_t done = 0;
  while (done < length) {
    const size_t bytes = length - done < buffer.size() ? length - done : buffer.size();
    const ssize_t got = pread(fd, buffer.data(), bytes, static_cast<off_t>(start + done));
    if (got < 0) return outcome(got);
    if (got == 0) break;
    for (ssize_t i = 0; i < got; i++) hash = (hash ^ buffer[i]) * 0x100000001b3;
    done += static_cast<uint64_t>(got);
  }
  char text[64];
  snprintf(text, sizeof text, "%llu %016llx", static_cast<unsigned long long>(done),
           static_cast<unsigned long long>(hash));
  return text;
}

// moved FD OFFSET LENGTH SHIFT: pread or pwrite (PW as fifth word) with memory SHIFT bytes after a
// page's start: what O_DIRECT asks of alignment
std::string call_moved(Context& context, const Words& words) {
  const int fd = descriptor(context, words[1]);
  const size_t length = static_cast<size_t>(number(words, 3));
  const size_t shift = static_cast<size_t>(number(words, 4));
  const std::unique_ptr<void, void (*)(void*)> memory(
      aligned_alloc(4096, (length + shift + 8191) / 4096 * 4096), free);
  uint8_t* at = static_cast<uint8_t*>(memory.get()) + shift;
  const uint64_t start = static_cast<uint64_t>(number(words, 2));
  for (size_t i = 0; i < length; i++) at[i] = pattern_at(start + i, 99);
  const off_t offset = static_cast<off_t>(start);
  if (word(words, 5) == "write") return outcome(pwrite(fd, at, length, offset));
  return outcome(pread(fd, at, length, offset));
}

// syncrange FD OFFSET LENGTH [FLAGS]: all three flags, unless said otherwise
std::string call_sync_range(Context& context, const Words& words) {
  constexpr unsigned kAll =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  return outcome(sync_file_range(descriptor(context, words[1]), number(words, 2), number(words, 3),
                                 words.size() > 4 ? static_cast<unsigned>(flags(words, 4)) : kAll));
}

// syncfs FD
std::string call_syncfs(Context& context, const Words& words) {
  return outcome(syncfs(descriptor(context, words[1])));
}

// fdatasync FD
std::string call_fdatasync(Context& context, const Words& words) {
  return outcome(fdatasync(descriptor(context, words[1])));
}

}  // namespace

Table space_calls() {
  return {
      {"fallocate", 5, call_fallocate},  {"posix_fallocate", 4, call_posix_fallocate},
      {"copyrange", 6, call_copy_range}, {"fill", 5, call_fill},
      {"digest", 4, call_digest},        {"moved", 5, call_moved},
      {"syncrange", 4, call_sync_range}, {"syncfs", 2, call_syncfs},
      {"fdatasync", 2, call_fdatasync},
  };
}

}  // namespace sealfs::posix
