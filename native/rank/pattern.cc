#include "native/rank/pattern.h"

#include <cstring>

namespace sealfs::rank {
namespace {

constexpr uint64_t kStep = 0x9e3779b97f4a7c15;       // odd: the progression has full period
constexpr uint64_t kStampStep = 0xbf58476d1ce4e5b9;  // odd: distinct ids give distinct stamps
constexpr size_t kUnitWords = kUnitBytes / sizeof(uint64_t);

uint64_t mix(uint64_t x) {
  x += kStep;
  x = (x ^ (x >> 30)) * kStampStep;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

Pattern::Pattern(uint64_t run_seed, FileKind kind, uint64_t writer)
    : seed_(mix(mix(run_seed) ^ mix((static_cast<uint64_t>(kind) << 32) | writer))) {}

uint64_t Pattern::word(size_t position) const { return seed_ + (position / 8) * kStep; }

uint64_t Pattern::stampOf(size_t position, uint64_t id) const {
  uint64_t product = (id + position) * kStampStep;
  // Places are multiples of large powers of two: bring the high bits, where they differ, down.
  return seed_ ^ product ^ (product >> 32);
}

void Pattern::fill(uint8_t* buffer, size_t bytes) const {
  auto* words = reinterpret_cast<uint64_t*>(buffer);
  size_t count = (bytes + 7) / 8;
  for (size_t i = 0; i < count; i++) words[i] = seed_ + i * kStep;
}

void Pattern::stamp(uint8_t* buffer, size_t bytes, uint64_t id) const {
  for (size_t at = 0; at + 8 <= bytes; at += kUnitBytes) {
    uint64_t value = stampOf(at, id);
    std::memcpy(buffer + at, &value, sizeof value);
  }
}

size_t Pattern::verify(const uint8_t* buffer, size_t bytes, size_t position, uint64_t id) const {
  const auto* words = reinterpret_cast<const uint64_t*>(buffer);
  uint64_t wrong = 0;
  size_t at = 0;
  for (; at + kUnitBytes <= bytes; at += kUnitBytes, words += kUnitWords) {
    uint64_t base = word(position + at);
    wrong |= words[0] ^ stampOf(position + at, id);
    for (size_t i = 1; i < kUnitWords; i++) wrong |= words[i] ^ (base + i * kStep);
  }
  if (wrong != 0) return firstDifference(buffer, bytes, position, id);
  return at + firstDifference(buffer + at, bytes - at, position + at, id);
}

// Slow and exact: for the part of a unit at the end, and to name the byte once something is wrong.
size_t Pattern::firstDifference(const uint8_t* buffer, size_t bytes, size_t position,
                                uint64_t id) const {
  for (size_t at = 0; at < bytes; at++) {
    size_t where = position + at;
    size_t start = where & ~size_t{7};
    // A record's last, incomplete word has no stamp: see stamp().
    bool stamped = start % kUnitBytes == 0 && start + 8 <= position + bytes;
    uint64_t expected = stamped ? stampOf(start, id) : word(start);
    auto byte = static_cast<uint8_t>(expected >> (8 * (where - start)));
    if (buffer[at] != byte) return at;
  }
  return bytes;
}

}  // namespace sealfs::rank
