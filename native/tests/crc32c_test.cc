// CRC-32C against the vectors of RFC 3720, B.4, and its two paths against each other on random
// lengths and alignments: a wrong lane join or tail shows up at some length.
#include "native/common/crc32c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string_view>
#include <vector>

namespace sealfs {
namespace {

using Path = uint32_t (*)(const void*, size_t, uint32_t);

std::vector<Path> paths_of_this_machine() {
  std::vector<Path> paths = {crc32c_portable};
  if (crc32c_has_hardware()) paths.push_back(crc32c_hardware);
  return paths;
}

std::vector<uint8_t> random_bytes(size_t length, std::mt19937& random) {
  std::vector<uint8_t> bytes(length);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST(Crc32c, KnownVectors) {
  std::vector<uint8_t> zeros(32, 0), ones(32, 0xff), up(32), down(32);
  for (uint8_t i = 0; i < 32; i++) {
    up[i] = i;
    down[i] = static_cast<uint8_t>(31 - i);
  }
  const uint8_t scsi_read[48] = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                                 0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                 0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
  for (Path crc : paths_of_this_machine()) {
    EXPECT_EQ(crc(nullptr, 0, 0), 0u);
    EXPECT_EQ(crc(zeros.data(), 32, 0), 0x8a9136aau);
    EXPECT_EQ(crc(ones.data(), 32, 0), 0x62a8ab43u);
    EXPECT_EQ(crc(up.data(), 32, 0), 0x46dd794eu);
    EXPECT_EQ(crc(down.data(), 32, 0), 0x113fdb5cu);
    EXPECT_EQ(crc(scsi_read, 48, 0), 0xd9963a56u);
    EXPECT_EQ(crc("123456789", 9, 0), 0xe3069283u);
  }
}

TEST(Crc32c, PathsAgreeAtEveryAlignmentAndContinuation) {
  std::mt19937 random(20240501);
  const auto bytes = random_bytes(70000, random);
  for (int round = 0; round < 400; round++) {
    const size_t start = random() % 64;
    const size_t length = round < 200 ? random() % 5000 : random() % (bytes.size() - 64);
    const uint32_t whole = crc32c_portable(&bytes[start], length, 0);
    EXPECT_EQ(crc32c(&bytes[start], length), whole) << start << " " << length;
    const size_t cut = length == 0 ? 0 : random() % length;
    const uint32_t head = crc32c(&bytes[start], cut);
    EXPECT_EQ(crc32c(&bytes[start + cut], length - cut, head), whole) << start << " " << length;
    const uint32_t tail = crc32c(&bytes[start + cut], length - cut);
    EXPECT_EQ(crc32c_combine(head, tail, length - cut), whole) << start << " " << length;
  }
}

TEST(Crc32c, ExtendByZerosEqualsHashingThem) {
  std::mt19937 random(7);
  const auto bytes = random_bytes(1000, random);
  for (size_t zeros :
       {size_t{0}, size_t{1}, size_t{7}, size_t{4095}, size_t{4096}, size_t{70001}}) {
    std::vector<uint8_t> padded = bytes;
    padded.resize(bytes.size() + zeros, 0);
    EXPECT_EQ(crc32c_extend_zeros(crc32c(bytes.data(), bytes.size()), zeros),
              crc32c(padded.data(), padded.size()));
  }
}

TEST(Crc32c, BlocksAreZeroPaddedAndVerified) {
  std::mt19937 random(11);
  for (size_t length : {size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{3 * 4096},
                        size_t{47008}, size_t{1048576}}) {
    auto bytes = random_bytes(length, random);
    const size_t blocks = (length + 4095) / 4096;
    std::vector<uint32_t> crcs(blocks);
    crc32c_blocks(bytes.data(), length, crcs.data());
    std::vector<uint8_t> padded = bytes;
    padded.resize(blocks * 4096, 0);
    for (size_t i = 0; i < blocks; i++) {
      ASSERT_EQ(crcs[i], crc32c_portable(&padded[i * 4096], 4096, 0)) << length << " block " << i;
    }
    EXPECT_EQ(crc32c_combine_blocks(crcs.data(), blocks), crc32c(padded.data(), padded.size()));
    EXPECT_EQ(crc32c_verify_blocks(bytes.data(), length, crcs.data()), kCrcAllGood);
    const size_t victim = random() % length;
    bytes[victim] ^= 0x10;
    EXPECT_EQ(crc32c_verify_blocks(bytes.data(), length, crcs.data()), victim / 4096);
  }
}

}  // namespace
}  // namespace sealfs
