#include "native/rank/channel.h"

#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sealfs::rank {
namespace {

constexpr size_t kLineBytesMax = 8192;
bool to_coordinator = false;

void writeAll(int fd, const char* data, size_t bytes) {
  while (bytes > 0) {
    ssize_t n = write(fd, data, bytes);
    if (n < 0 && errno == EINTR) continue;
    // The coordinator is gone: nobody is left to tell.
    if (n <= 0) _exit(1);
    data += n;
    bytes -= static_cast<size_t>(n);
  }
}

void writeLine(int fd, const char* prefix, const char* format, va_list arguments) {
  char line[kLineBytesMax];
  size_t used = std::strlen(prefix);
  std::memcpy(line, prefix, used);
  int n = std::vsnprintf(line + used, sizeof line - used - 1, format, arguments);
  used += n < 0 ? 0 : static_cast<size_t>(n);
  if (used > sizeof line - 2) used = sizeof line - 2;
  line[used] = '\n';
  writeAll(fd, line, used + 1);
}

}  // namespace

uint64_t nowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void reportFailuresToCoordinator() { to_coordinator = true; }

void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  writeLine(to_coordinator ? STDOUT_FILENO : STDERR_FILENO,
            to_coordinator ? "fail " : "sealfs_rank: ", format, arguments);
  va_end(arguments);
  _exit(1);
}

void sendLine(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  writeLine(STDOUT_FILENO, "", format, arguments);
  va_end(arguments);
}

const char* receiveLine() {
  static char buffer[kLineBytesMax];
  static size_t filled = 0;
  static size_t consumed = 0;
  std::memmove(buffer, buffer + consumed, filled - consumed);
  filled -= consumed;
  consumed = 0;
  for (;;) {
    if (void* end = std::memchr(buffer, '\n', filled)) {
      *static_cast<char*>(end) = '\0';
      consumed = static_cast<size_t>(static_cast<char*>(end) - buffer) + 1;
      return buffer;
    }
    if (filled == sizeof buffer) fail("a command is longer than %zu bytes", sizeof buffer);
    ssize_t n = read(STDIN_FILENO, buffer + filled, sizeof buffer - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return nullptr;
    filled += static_cast<size_t>(n);
  }
}

uint64_t numberIn(const char* line, const char* key) {
  size_t length = std::strlen(key);
  for (const char* at = line; (at = std::strstr(at, key)) != nullptr; at += length) {
    bool word = at == line || at[-1] == ' ';
    if (!word || at[length] != '=') continue;
    char* end = nullptr;
    errno = 0;
    uint64_t value = std::strtoull(at + length + 1, &end, 10);
    if (errno == 0 && end != at + length + 1 && (*end == ' ' || *end == '\0')) return value;
  }
  fail("the command lacks %s=NUMBER: %s", key, line);
}

uint64_t expectNumber(const char* word) {
  const char* line = receiveLine();
  // The coordinator went away in the middle of a phase.
  if (line == nullptr) _exit(1);
  size_t length = std::strlen(word);
  char* end = nullptr;
  if (std::strncmp(line, word, length) != 0 || line[length] != ' ') {
    fail("expected '%s NUMBER', got '%s'", word, line);
  }
  uint64_t value = std::strtoull(line + length + 1, &end, 10);
  if (end == line + length + 1 || *end != '\0') fail("not a number in '%s'", line);
  return value;
}

}  // namespace sealfs::rank
