// The operations of fsx: each is one way of reading or changing bytes. Places and lengths are drawn
// where storage changes its ways: page borders, the 8 KiB up to which files lie inline, chunk
// borders, the file's end.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "native/posix/fsx.h"

namespace sealfs::posix {
namespace {

constexpr size_t kChunk = 1 << 20;
constexpr size_t kInline = 8192;

// Below limit.
size_t draw_offset(Dice& dice, const File& file) {
  const size_t near[] = {0,          kPage,      2 * kPage,   kInline,    kChunk,
                         2 * kChunk, 3 * kChunk, file.size(), file.size()};
  size_t offset = 0;
  if (dice.one_in(2)) {
    const size_t border = near[dice.below(std::size(near))];
    const size_t away = dice.below(dice.one_in(2) ? 4 : 5000);
    offset = dice.one_in(2) || border < away ? border + away : border - away;
  } else {
    offset = dice.below(file.size() + 1);
  }
  return std::min(offset, file.limit - 1);
}

// At least 1, and not beyond limit from offset.
size_t draw_length(Dice& dice, const File& file, size_t offset) {
  constexpr size_t kLargest[] = {8, 200, 5000, 20'000, 300'000, kChunk + 40'000};
  const size_t length = 1 + dice.below(kLargest[dice.below(std::size(kLargest))]);
  return std::min(length, file.limit - offset);
}

std::vector<uint8_t> draw_bytes(Dice& dice, size_t length) {
  std::vector<uint8_t> bytes(length);
  if (!dice.one_in(20)) dice.fill(bytes);
  return bytes;
}

using Aligned = std::unique_ptr<uint8_t, void (*)(void*)>;

Aligned aligned(size_t bytes) {
  return Aligned(static_cast<uint8_t*>(aligned_alloc(kPage, page_end(bytes))), free);
}

// What a write that may be cut short leaves: the rest follows.
void write_rest(Scene& scene, const File& file, const uint8_t* bytes, size_t length,
                size_t offset) {
  for (size_t done = 0; done < length;) {
    const ssize_t wrote =
        pwrite(file.plain(), bytes + done, length - done, static_cast<off_t>(offset + done));
    if (wrote <= 0) scene.history.fail_call("pwrite", file.path());
    done += static_cast<size_t>(wrote);
  }
}

void do_write(Scene& scene, File& file, File&) {
  const size_t offset = draw_offset(scene.dice, file);
  const auto bytes = draw_bytes(scene.dice, draw_length(scene.dice, file, offset));
  scene.history.note("%s write %zu +%zu", file.name().c_str(), offset, bytes.size());
  write_rest(scene, file, bytes.data(), bytes.size(), offset);
  file.put(offset, bytes.data(), bytes.size());
}

// pwritev2 of three pieces, half of the time with RWF_DSYNC.
void do_write_vector(Scene& scene, File& file, File&) {
  const size_t offset = draw_offset(scene.dice, file);
  auto bytes = draw_bytes(scene.dice, draw_length(scene.dice, file, offset));
  const bool sync = scene.dice.one_in(2);
  scene.history.note("%s writev%s %zu +%zu", file.name().c_str(), sync ? " dsync" : "", offset,
                     bytes.size());
  const size_t one = scene.dice.below(bytes.size() + 1);
  const size_t two = one + scene.dice.below(bytes.size() - one + 1);
  const iovec pieces[] = {{bytes.data(), one},
                          {bytes.data() + one, two - one},
                          {bytes.data() + two, bytes.size() - two}};
  const ssize_t wrote =
      pwritev2(file.plain(), pieces, 3, static_cast<off_t>(offset), sync ? RWF_DSYNC : 0);
  if (wrote <= 0) scene.history.fail_call("pwritev2", file.path());
  const size_t done = static_cast<size_t>(wrote);
  write_rest(scene, file, bytes.data() + done, bytes.size() - done, offset + done);
  file.put(offset, bytes.data(), bytes.size());
}

void do_append(Scene& scene, File& file, File&) {
  if (file.size() >= file.limit) return;
  const auto bytes = draw_bytes(scene.dice, draw_length(scene.dice, file, file.size()));
  scene.history.note("%s append %zu +%zu", file.name().c_str(), file.size(), bytes.size());
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t wrote = write(file.appending(), bytes.data() + done, bytes.size() - done);
    if (wrote <= 0) scene.history.fail_call("write, appending", file.path());
    file.put(file.size(), bytes.data() + done, static_cast<size_t>(wrote));
    done += static_cast<size_t>(wrote);
  }
}

// Whole pages, as O_DIRECT asks on most file systems.
void do_write_direct(Scene& scene, File& file, File&) {
  const size_t offset = page_start(draw_offset(scene.dice, file));
  const size_t length = page_start(draw_length(scene.dice, file, offset));
  if (length == 0) return;
  scene.history.note("%s write direct %zu +%zu", file.name().c_str(), offset, length);
  const auto bytes = draw_bytes(scene.dice, length);
  const Aligned memory = aligned(length);
  std::copy(bytes.begin(), bytes.end(), memory.get());
  for (size_t done = 0; done < length;) {
    const ssize_t wrote = pwrite(file.direct(), memory.get() + done, length - done,
                                 static_cast<off_t>(offset + done));
    if (wrote <= 0) scene.history.fail_call("pwrite, O_DIRECT", file.path());
    done += static_cast<size_t>(wrote);
  }
  file.put(offset, bytes.data(), length);
}

// One call: inside a file a read gives all that was asked for.
size_t read_once(Scene& scene, const File& file, int fd, uint8_t* to, size_t length,
                 size_t offset) {
  const ssize_t got = pread(fd, to, length, static_cast<off_t>(offset));
  if (got < 0) scene.history.fail_call("pread", file.path());
  return static_cast<size_t>(got);
}

void do_read(Scene& scene, File& file, File&) {
  const size_t offset = draw_offset(scene.dice, file);
  const size_t length = draw_length(scene.dice, file, offset);
  scene.history.note("%s read %zu +%zu", file.name().c_str(), offset, length);
  std::vector<uint8_t> bytes(length);
  const size_t got = read_once(scene, file, file.plain(), bytes.data(), length, offset);
  file.expect("read", offset, length, bytes.data(), got);
}

void do_read_direct(Scene& scene, File& file, File&) {
  const size_t offset = page_start(draw_offset(scene.dice, file));
  const size_t length = page_end(draw_length(scene.dice, file, offset));
  scene.history.note("%s read direct %zu +%zu", file.name().c_str(), offset, length);
  const Aligned memory = aligned(length);
  const size_t got = read_once(scene, file, file.direct(), memory.get(), length, offset);
  file.expect("direct read", offset, length, memory.get(), got);
}

void do_read_mapped(Scene& scene, File& file, File&) {
  if (file.mapping() == nullptr) return;
  const size_t offset = draw_offset(scene.dice, file);
  const size_t length = draw_length(scene.dice, file, offset);
  scene.history.note("%s read mapped %zu +%zu", file.name().c_str(), offset, length);
  file.check_mapping(offset, length);
}

// Half of the time the pages stay dirty: read(2) and all others must see them.
void do_write_mapped(Scene& scene, File& file, File&) {
  if (file.size() == 0 || file.mapping() == nullptr) return;
  const size_t offset = std::min(draw_offset(scene.dice, file), file.size() - 1);
  const size_t length = std::min(draw_length(scene.dice, file, offset), file.size() - offset);
  const bool sync = scene.dice.one_in(2);
  scene.history.note("%s write mapped%s %zu +%zu", file.name().c_str(), sync ? " msync" : "",
                     offset, length);
  const auto bytes = draw_bytes(scene.dice, length);
  std::copy(bytes.begin(), bytes.end(), file.mapping() + offset);
  file.put(offset, bytes.data(), length);
  if (!sync) return;
  const size_t start = page_start(offset);
  if (msync(file.mapping() + start, offset + length - start, MS_SYNC) != 0) {
    scene.history.fail_call("msync", file.path());
  }
}

// Cut to nothing one time in eight, and then for another size of file.
void do_truncate(Scene& scene, File& file, File&) {
  constexpr size_t kLimits[] = {6000, 60'000, SIZE_MAX};
  size_t size = draw_offset(scene.dice, file);
  if (scene.dice.one_in(8)) {
    size = 0;
    file.limit = std::min(kLimits[scene.dice.below(std::size(kLimits))], file.largest());
  }
  const bool by_path = scene.dice.one_in(3);
  scene.history.note("%s %s %zu to %zu", file.name().c_str(), by_path ? "truncate" : "ftruncate",
                     file.size(), size);
  const off_t to = static_cast<off_t>(size);
  if ((by_path ? truncate(file.path().c_str(), to) : ftruncate(file.plain(), to)) != 0) {
    scene.history.fail_call("truncate", file.path());
  }
  file.resize(size);
}

void do_allocate(Scene& scene, File& file, File&) {
  constexpr int kModes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
  constexpr const char* kNames[] = {"allocate", "allocate keep", "punch", "zero", "zero keep"};
  const size_t which = scene.dice.below(std::size(kModes));
  const int mode = kModes[which];
  const size_t offset = draw_offset(scene.dice, file);
  const size_t length = draw_length(scene.dice, file, offset);
  scene.history.note("%s %s %zu +%zu", file.name().c_str(), kNames[which], offset, length);
  if (fallocate(file.plain(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0) {
    scene.history.fail_call("fallocate", file.path());
  }
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && offset + length > file.size()) {
    file.resize(offset + length);
  }
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) file.zero(offset, length);
}

// Copies length bytes, which the source has; one call may copy less. The kernel goes by the size
// that it remembers, and only a stat has it ask whether another client has changed it.
void copy(Scene& scene, File& from, size_t offset, File& to, size_t place, size_t length) {
  from.check_size();
  for (size_t done = 0; done < length;) {
    off64_t source = static_cast<off64_t>(offset + done);
    off64_t target = static_cast<off64_t>(place + done);
    const ssize_t copied =
        copy_file_range(from.plain(), &source, to.plain(), &target, length - done, 0);
    if (copied <= 0) scene.history.fail_call("copy_file_range", from.path());
    done += static_cast<size_t>(copied);
  }
  const std::vector<uint8_t> bytes(from.model(offset), from.model(offset) + length);
  to.put(place, bytes.data(), length);
}

// To the other file or inside this one; half of the time to the same place, which may be a clone.
void do_copy(Scene& scene, File& file, File& other) {
  if (file.size() == 0) return;
  const bool inside = scene.dice.one_in(3);
  File& to = inside ? file : other;
  const size_t offset = std::min(draw_offset(scene.dice, file), file.size() - 1);
  const bool same = !inside && scene.dice.one_in(2);
  const size_t place = same ? std::min(offset, to.limit - 1) : draw_offset(scene.dice, to);
  size_t length = std::min(draw_length(scene.dice, file, offset), file.size() - offset);
  length = std::min(length, to.limit - place);
  // The two ranges must not overlap in one file.
  if (inside) length = std::min(length, place > offset ? place - offset : offset - place);
  if (length == 0) return;
  scene.history.note("copy %s %zu +%zu to %s %zu", file.name().c_str(), offset, length,
                     to.name().c_str(), place);
  copy(scene, file, offset, to, place, length);
}

// The whole of one file over the other, as cp does.
void do_copy_whole(Scene& scene, File& file, File& other) {
  if (file.size() > other.limit) return;
  scene.history.note("copy %s whole (%zu) to %s", file.name().c_str(), file.size(),
                     other.name().c_str());
  if (ftruncate(other.plain(), 0) != 0) scene.history.fail_call("ftruncate", other.path());
  other.resize(0);
  copy(scene, file, 0, other, 0, file.size());
}

void do_sync(Scene& scene, File& file, File&) {
  const bool data = scene.dice.one_in(2);
  scene.history.note("%s %s", file.name().c_str(), data ? "fdatasync" : "fsync");
  if ((data ? fdatasync(file.plain()) : fsync(file.plain())) != 0) {
    scene.history.fail_call("fsync", file.path());
  }
}

// The kernel lets go of what it may; what is read next comes from the servers.
void do_forget(Scene& scene, File& file, File&) {
  scene.history.note("%s fadvise dontneed", file.name().c_str());
  errno = posix_fadvise(file.plain(), 0, 0, POSIX_FADV_DONTNEED);
  if (errno != 0) scene.history.fail_call("posix_fadvise", file.path());
}

void do_reopen(Scene& scene, File& file, File&) {
  scene.history.note("%s reopen", file.name().c_str());
  file.reopen();
}

void do_check_size(Scene& scene, File& file, File&) {
  scene.history.note("%s size", file.name().c_str());
  file.check_size();
}

void do_check_holes(Scene& scene, File& file, File&) {
  scene.history.note("%s holes", file.name().c_str());
  file.check_holes();
}

}  // namespace

const std::vector<Operation>& operations() {
  static const std::vector<Operation> all = {
      {"write", 14, do_write},
      {"write vector", 5, do_write_vector},
      {"append", 6, do_append},
      {"write direct", 7, do_write_direct},
      {"read", 12, do_read},
      {"read direct", 6, do_read_direct},
      {"read mapped", 9, do_read_mapped},
      {"write mapped", 9, do_write_mapped},
      {"truncate", 8, do_truncate},
      {"allocate", 9, do_allocate},
      {"copy", 6, do_copy},
      {"copy whole", 2, do_copy_whole},
      {"sync", 2, do_sync},
      {"forget", 2, do_forget},
      {"reopen", 3, do_reopen},
      {"size", 3, do_check_size},
      {"holes", 3, do_check_holes},
  };
  return all;
}

}  // namespace sealfs::posix
