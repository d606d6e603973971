// A file under test: opening, mapping, and comparing with the model.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "native/posix/fsx.h"

namespace sealfs::posix {

File::File(std::string name, const Settings& settings, History& history)
    : name_(std::move(name)),
      path_(settings.directory + "/" + name_),
      other_(settings.other.empty() ? "" : settings.other + "/" + name_),
      largest_(settings.largest),
      mapped_(page_end(settings.largest)),
      history_(history),
      side_count_(settings.shared ? 2 : 1) {
  limit = settings.largest;
  if (unlink(path_.c_str()) != 0 && errno != ENOENT) history_.fail_call("unlink", path_);
  open_all();
}

File::~File() { close_all(); }

int File::open_one(int flags) const {
  const int fd = open(path().c_str(), flags | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) history_.fail_call("open", path());
  return fd;
}

void File::open_all() {
  const size_t chosen = chosen_;
  for (chosen_ = 0; chosen_ < side_count_; chosen_++) {
    sides_[chosen_] = {open_one(O_RDWR), open_one(O_RDWR | O_DIRECT),
                       open_one(O_WRONLY | O_APPEND)};
  }
  chosen_ = chosen;
  if (side_count_ > 1) return;
  void* at = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_SHARED, plain(), 0);
  if (at == MAP_FAILED) history_.fail_call("mmap", path_);
  mapping_ = static_cast<uint8_t*>(at);
}

void File::close_all() {
  if (mapping_ != nullptr && munmap(mapping_, mapped_) != 0) history_.fail_call("munmap", path_);
  for (size_t i = 0; i < side_count_; i++) {
    for (const int fd : {sides_[i].plain, sides_[i].direct, sides_[i].appending}) {
      if (close(fd) != 0) history_.fail_call("close", path_);
    }
  }
}

void File::reopen() {
  close_all();
  open_all();
}

void File::put(size_t offset, const uint8_t* bytes, size_t length) {
  if (offset + length > model_.size()) model_.resize(offset + length, 0);
  std::memcpy(model_.data() + offset, bytes, length);
}

void File::zero(size_t offset, size_t length) {
  if (offset >= model_.size()) return;
  std::memset(model_.data() + offset, 0, std::min(length, model_.size() - offset));
}

void File::expect(const char* how, size_t offset, size_t asked, const uint8_t* bytes,
                  size_t got) const {
  const size_t there = offset >= size() ? 0 : std::min(asked, size() - offset);
  if (got != there) {
    history_.fail("%s: %s of %zu bytes at %zu gave %zu, the model has %zu (%zu in all)",
                  name_.c_str(), how, asked, offset, got, there, size());
  }
  if (got == 0 || std::memcmp(bytes, model(offset), got) == 0) return;
  size_t first = 0;
  while (bytes[first] == model(offset)[first]) first++;
  size_t differing = 0;
  size_t last = first;
  for (size_t i = first; i < got; i++) {
    if (bytes[i] == model(offset)[i]) continue;
    differing++;
    last = i;
  }
  history_.fail("%s: %s of %zu bytes at %zu: %zu differ, from %zu to %zu; first %02x, not %02x",
                name_.c_str(), how, asked, offset, differing, offset + first, offset + last,
                bytes[first], model(offset)[first]);
}

void File::flush_mapping() const {
  if (mapping_ == nullptr || msync(mapping_, mapped_, MS_SYNC) == 0) return;
  history_.fail_call("msync", path_);
}

void File::check_size() const {
  struct stat status {};
  if (fstat(plain(), &status) != 0) history_.fail_call("fstat", path());
  const off_t open_size = status.st_size;
  if (stat(path().c_str(), &status) != 0) history_.fail_call("stat", path());
  const off_t end = lseek(plain(), 0, SEEK_END);
  const off_t known = static_cast<off_t>(size());
  if (open_size == known && status.st_size == known && end == known) return;
  history_.fail("%s: size %lld by fstat, %lld by stat, %lld by lseek, the model has %zu",
                name_.c_str(), static_cast<long long>(open_size),
                static_cast<long long>(status.st_size), static_cast<long long>(end), size());
}

void File::check_mapping(size_t offset, size_t length) const {
  if (mapping_ == nullptr || offset >= size()) return;
  const size_t there = std::min(length, size() - offset);
  expect("a mapped read", offset, there, mapping_ + offset, there);
  if (offset + there < size()) return;
  for (size_t at = size(); at < page_end(size()); at++) {
    if (mapping_[at] == 0) continue;
    history_.fail("%s: the mapping has %02x at %zu, beyond the file's end at %zu", name_.c_str(),
                  mapping_[at], at, size());
  }
}

void File::check_holes() const {
  // The kernel does not flush a mapping before it asks a FUSE file system.
  flush_mapping();
  off_t at = 0;
  const off_t end = static_cast<off_t>(size());
  while (at < end) {
    off_t data = lseek(plain(), at, SEEK_DATA);
    if (data < 0 && errno != ENXIO) history_.fail_call("lseek SEEK_DATA", path_);
    if (data < 0) data = end;
    for (off_t i = at; i < data; i++) {
      if (*model(static_cast<size_t>(i)) == 0) continue;
      history_.fail("%s: SEEK_DATA calls %lld to %lld a hole, the model has data at %lld",
                    name_.c_str(), static_cast<long long>(at), static_cast<long long>(data),
                    static_cast<long long>(i));
    }
    if (data >= end) return;
    at = lseek(plain(), data, SEEK_HOLE);
    if (at < 0) history_.fail_call("lseek SEEK_HOLE", path_);
    if (at <= data || at > end) {
      history_.fail("%s: SEEK_HOLE from %lld says %lld", name_.c_str(),
                    static_cast<long long>(data), static_cast<long long>(at));
    }
  }
}

namespace {

size_t read_whole(int fd, uint8_t* bytes, size_t room) {
  size_t done = 0;
  while (done < room) {
    const ssize_t got = pread(fd, bytes + done, room - done, static_cast<off_t>(done));
    if (got <= 0) return got < 0 ? SIZE_MAX : done;
    done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace

void File::check_through(const std::string& path) const {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) history_.fail_call("open", path);
  std::vector<uint8_t> bytes(size() + kPage);
  const size_t got = read_whole(fd, bytes.data(), bytes.size());
  if (got == SIZE_MAX) history_.fail_call("pread", path);
  close(fd);
  expect(("a whole read of " + path).c_str(), 0, bytes.size(), bytes.data(), got);
}

void File::check_all() const {
  check_size();
  check_mapping(0, size());
  check_through(path_);
  if (other_.empty()) return;
  // What lies dirty in this mount's mapping is not yet anybody else's.
  flush_mapping();
  check_through(other_);
}

}  // namespace sealfs::posix
