// System calls that the end-to-end tests need and Node does not offer. Each subcommand exits 0
// when what it checks holds, else prints one line and exits 1.
//
//   mmap-shared PATH       writes through one shared mapping, reads through another and read(2)
//   append PATH TAG N      N atomic O_APPEND writes of one line "TAG i" each
//   open-unlinked PATH     a file stays usable through its descriptor after unlink
//   sparse PATH OFFSET     a byte far out: size, zeros before it
//   hold PATH              opens PATH and reads one byte; used to be interrupted
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

void check(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

int open_file(const char* path, int flags) {
  int fd = open(path, flags | O_CLOEXEC, 0644);
  check(fd >= 0, std::string("open ") + path);
  return fd;
}

void mmap_shared(const char* path) {
  constexpr size_t kSize = 3 * 4096 + 100;
  int fd = open_file(path, O_RDWR | O_CREAT | O_TRUNC);
  check(ftruncate(fd, kSize) == 0, "ftruncate");
  auto* one = static_cast<char*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  check(one != MAP_FAILED, "mmap");
  int other_fd = open_file(path, O_RDONLY);
  auto* two = static_cast<char*>(mmap(nullptr, kSize, PROT_READ, MAP_SHARED, other_fd, 0));
  check(two != MAP_FAILED, "second mmap");
  for (size_t i = 0; i < kSize; i++) one[i] = static_cast<char>('a' + i % 23);
  check(std::memcmp(one, two, kSize) == 0, "mappings differ");
  check(msync(one, kSize, MS_SYNC) == 0, "msync");
  std::string read_back(kSize, 0);
  check(pread(fd, read_back.data(), kSize, 0) == static_cast<ssize_t>(kSize), "pread");
  check(std::memcmp(one, read_back.data(), kSize) == 0, "read(2) differs from the mapping");
}

void append(const char* path, const char* tag, long count) {
  int fd = open_file(path, O_WRONLY | O_CREAT | O_APPEND);
  for (long i = 0; i < count; i++) {
    std::string line = std::string(tag) + " " + std::to_string(i) + "\n";
    check(write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "write");
  }
  check(close(fd) == 0, "close");
}

void open_unlinked(const char* path) {
  int fd = open_file(path, O_RDWR | O_CREAT | O_EXCL);
  std::string text(20000, 'u');
  check(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()), "write");
  check(unlink(path) == 0, "unlink");
  check(access(path, F_OK) != 0 && errno == ENOENT, "still there after unlink");
  std::string back(text.size(), 0);
  check(pread(fd, back.data(), back.size(), 0) == static_cast<ssize_t>(back.size()), "pread");
  check(back == text, "content after unlink");
  check(pwrite(fd, "end", 3, 20000) == 3, "pwrite after unlink");
  struct stat status {};
  check(fstat(fd, &status) == 0, "fstat after unlink");
  check(status.st_nlink == 0 && status.st_size == 20003, "attributes after unlink");
  check(close(fd) == 0, "close");
}

void sparse(const char* path, off_t offset) {
  int fd = open_file(path, O_RDWR | O_CREAT | O_TRUNC);
  check(pwrite(fd, "x", 1, offset) == 1, "pwrite");
  struct stat status {};
  check(fstat(fd, &status) == 0, "fstat");
  errno = 0;
  check(status.st_size == offset + 1, "size");
  char buffer[4096];
  check(pread(fd, buffer, sizeof buffer, offset / 2) == sizeof buffer, "pread of the hole");
  for (char byte : buffer) check(byte == 0, "the hole is not zero");
  check(pread(fd, buffer, sizeof buffer, offset) == 1 && buffer[0] == 'x', "pread at the end");
  check(pread(fd, buffer, sizeof buffer, offset + 1) == 0, "end of file");
}

void hold(const char* path) {
  int fd = open_file(path, O_RDONLY);
  char byte;
  check(pread(fd, &byte, 1, 0) >= 0, "pread");
}

}  // namespace

int main(int argc, char** argv) {
  std::string command = argc > 2 ? argv[1] : "";
  if (command == "mmap-shared") {
    mmap_shared(argv[2]);
  } else if (command == "append" && argc == 5) {
    append(argv[2], argv[3], std::strtol(argv[4], nullptr, 10));
  } else if (command == "open-unlinked") {
    open_unlinked(argv[2]);
  } else if (command == "sparse" && argc == 4) {
    sparse(argv[2], std::strtoll(argv[3], nullptr, 10));
  } else if (command == "hold") {
    hold(argv[2]);
  } else {
    std::fprintf(stderr, "usage: sealfs_probe COMMAND PATH [ARGUMENT...]\n");
    return 2;
  }
  return 0;
}
