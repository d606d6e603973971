// The pattern that IO500 ranks write and check: whatever happens to a byte must be seen.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "native/rank/pattern.h"

namespace sealfs::rank {
namespace {

// A record as it is written; the buffer is longer, as fill() asks.
std::vector<uint8_t> record(const Pattern& pattern, size_t bytes, uint64_t id) {
  std::vector<uint8_t> buffer((bytes + 7) / 8 * 8);
  pattern.fill(buffer.data(), bytes);
  pattern.stamp(buffer.data(), bytes, id);
  return buffer;
}

const Pattern kPattern(77, FileKind::kIorHard, 3);

TEST(Pattern, AcceptsWhatWasWritten) {
  for (size_t bytes : {1u, 7u, 8u, 511u, 512u, 513u, 520u, 3901u, 4096u, 47008u}) {
    auto data = record(kPattern, bytes, 123456);
    EXPECT_EQ(kPattern.verify(data.data(), bytes, 0, 123456), bytes);
  }
}

TEST(Pattern, NamesTheFirstWrongByte) {
  for (size_t bytes : {3901u, 47008u}) {
    auto data = record(kPattern, bytes, 9 * bytes);
    for (size_t at = 0; at < bytes; at += at < 2000 || at > bytes - 600 ? 1 : 97) {
      data[at] ^= 0x10;
      EXPECT_EQ(kPattern.verify(data.data(), bytes, 0, 9 * bytes), at);
      data[at] ^= 0x10;
    }
  }
}

TEST(Pattern, ChecksPartsOfARecord) {
  auto data = record(kPattern, 65536, 65536);
  for (size_t at = 0; at < 65536; at += 4096) {
    // A copy, because words are read at the start of a buffer.
    std::vector<uint64_t> part(512);
    std::memcpy(part.data(), data.data() + at, 4096);
    const auto* bytes = reinterpret_cast<const uint8_t*>(part.data());
    EXPECT_EQ(kPattern.verify(bytes, 4096, at, 65536), 4096u);
    EXPECT_LT(kPattern.verify(bytes, 4096, (at + 4096) % 65536, 65536), 8u);
  }
}

TEST(Pattern, TellsRecordsWritersKindsAndRunsApart) {
  auto data = record(kPattern, 3901, 4096);
  EXPECT_LT(kPattern.verify(data.data(), 3901, 0, 8192), 8u);
  EXPECT_LT(Pattern(77, FileKind::kIorHard, 4).verify(data.data(), 3901, 0, 4096), 8u);
  EXPECT_LT(Pattern(77, FileKind::kIorEasy, 3).verify(data.data(), 3901, 0, 4096), 8u);
  EXPECT_LT(Pattern(78, FileKind::kIorHard, 3).verify(data.data(), 3901, 0, 4096), 8u);
}

TEST(Pattern, SeesAUnitOfAnotherRecord) {
  auto data = record(kPattern, 47008, 0);
  auto other = record(kPattern, 47008, 2 * 47008);
  std::memcpy(data.data() + 1024, other.data() + 1024, 512);
  EXPECT_EQ(kPattern.verify(data.data(), 47008, 0, 0) / 512, 2u);
}

TEST(Pattern, SeesZerosWhereNothingWasWritten) {
  auto data = record(kPattern, 47008, 47008);
  std::memset(data.data() + 40960, 0, 4096);
  EXPECT_EQ(kPattern.verify(data.data(), 47008, 0, 47008), 40960u);
}

}  // namespace
}  // namespace sealfs::rank
