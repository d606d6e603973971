// The bytes that ranks write and check. Goal: any lost, stale, misplaced or flipped byte is seen,
// and neither writing nor checking limits the file system under test.
//
// Method: a record is cut into units of 512 bytes. The words of a record are an arithmetic
// progression that depends on the writer, filled into the buffer once a phase; the first word of
// every unit is replaced by a stamp that depends on where the record stands, renewed for every
// write. So a write touches one cache line in eight, and a check compares every word with a
// progression kept in registers, which compilers vectorise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs::rank {

constexpr size_t kUnitBytes = 512;

// What a run's files are told apart by; part of the seed of their pattern.
enum class FileKind : uint64_t { kIorEasy = 1, kIorHard = 2, kMdtestHard = 3, kMicro = 4 };

class Pattern {
 public:
  Pattern(uint64_t run_seed, FileKind kind, uint64_t writer);

  // Fills a record's buffer, without stamps. `bytes` is rounded up to a multiple of 8, and the
  // buffer must have room for that.
  void fill(uint8_t* buffer, size_t bytes) const;

  // Marks the record as the one of identity `id`: the position in the file of its first byte, or
  // any number whose multiples of 512 no other record of the same writer comes near.
  void stamp(uint8_t* buffer, size_t bytes, uint64_t id) const;

  // Compares `bytes` read from `position` (a multiple of 512) of record `id`. Returns how many of
  // the first bytes are right: `bytes` when all are.
  size_t verify(const uint8_t* buffer, size_t bytes, size_t position, uint64_t id) const;

 private:
  uint64_t word(size_t position) const;
  uint64_t stampOf(size_t position, uint64_t id) const;
  size_t firstDifference(const uint8_t* buffer, size_t bytes, size_t position, uint64_t id) const;

  uint64_t seed_;
};

}  // namespace sealfs::rank
