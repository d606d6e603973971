// Calls on open files, and opening them.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

// open PATH FLAGS [MODE]
std::string call_open(Context&, const Words& words) {
  return outcome(open(words[1].c_str(), static_cast<int>(flags(words, 2)) | O_CLOEXEC,
                      static_cast<mode_t>(octal(words, 3))));
}

// close FD
std::string call_close(Context& context, const Words& words) {
  return outcome(close(descriptor(context, words[1])));
}

// write FD TEXT
std::string call_write(Context& context, const Words& words) {
  return outcome(write(descriptor(context, words[1]), words[2].data(), words[2].size()));
}

// pwrite FD OFFSET TEXT
std::string call_pwrite(Context& context, const Words& words) {
  const std::string& text = words[3];
  return outcome(pwrite(descriptor(context, words[1]), text.data(), text.size(), number(words, 2)));
}

// read FD LENGTH
std::string call_read(Context& context, const Words& words) {
  std::vector<char> buffer(static_cast<size_t>(number(words, 2)));
  return outcome_bytes(read(descriptor(context, words[1]), buffer.data(), buffer.size()),
                       buffer.data());
}

// pread FD OFFSET LENGTH
std::string call_pread(Context& context, const Words& words) {
  std::vector<char> buffer(static_cast<size_t>(number(words, 3)));
  const int fd = descriptor(context, words[1]);
  return outcome_bytes(pread(fd, buffer.data(), buffer.size(), number(words, 2)), buffer.data());
}

// lseek FD OFFSET WHENCE
std::string call_lseek(Context& context, const Words& words) {
  return outcome(
      lseek(descriptor(context, words[1]), number(words, 2), static_cast<int>(flags(words, 3))));
}

// truncate PATH LENGTH
std::string call_truncate(Context&, const Words& words) {
  return outcome(truncate(words[1].c_str(), number(words, 2)));
}

// ftruncate FD LENGTH
std::string call_ftruncate(Context& context, const Words& words) {
  return outcome(ftruncate(descriptor(context, words[1]), number(words, 2)));
}

// fsync FD
std::string call_fsync(Context& context, const Words& words) {
  return outcome(fsync(descriptor(context, words[1])));
}

// mapwrite FD TEXT: through a shared mapping of the file's beginning
std::string call_mapwrite(Context& context, const Words& words) {
  const std::string& text = words[2];
  void* at = mmap(nullptr, text.size(), PROT_READ | PROT_WRITE, MAP_SHARED,
                  descriptor(context, words[1]), 0);
  if (at == MAP_FAILED) return outcome(-1);
  text.copy(static_cast<char*>(at), text.size());
  const int synced = msync(at, text.size(), MS_SYNC);
  munmap(at, text.size());
  return outcome(synced);
}

// umask MODE
std::string call_umask(Context&, const Words& words) {
  umask(static_cast<mode_t>(octal(words, 1)));
  return "0";
}

}  // namespace

Table file_calls() {
  return {
      {"open", 3, call_open},     {"close", 2, call_close},       {"write", 3, call_write},
      {"pwrite", 4, call_pwrite}, {"read", 3, call_read},         {"pread", 4, call_pread},
      {"lseek", 4, call_lseek},   {"truncate", 3, call_truncate}, {"ftruncate", 3, call_ftruncate},
      {"fsync", 2, call_fsync},   {"mapwrite", 3, call_mapwrite}, {"umask", 2, call_umask},
  };
}

}  // namespace sealfs::posix
