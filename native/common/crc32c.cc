// Goal: checksum at memory speed. Method: see the header. All tables are computed at compile time
// from the polynomial, so there is nothing to initialise and nothing to race.
#include "native/common/crc32c.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define SEALFS_CRC_X86 1
#endif

namespace sealfs {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected

// ------------------------------------------------------------- arithmetic modulo the polynomial
// A word is a polynomial over GF(2) with the coefficient of x^0 in the top bit.

constexpr uint32_t kOne = 0x80000000;

constexpr uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if (a & bit) product ^= b;
    b = (b >> 1) ^ ((b & 1) ? kPolynomial : 0);
  }
  return product;
}

// x^(8 * 2^i): what 2^i more bytes do to a CRC.
constexpr std::array<uint32_t, 64> make_byte_powers() {
  std::array<uint32_t, 64> powers{};
  uint32_t power = kOne >> 8;
  for (auto& entry : powers) {
    entry = power;
    power = multiply(power, power);
  }
  return powers;
}
constexpr auto kBytePowers = make_byte_powers();

constexpr uint32_t power_of_bytes(uint64_t bytes) {
  uint32_t power = kOne;
  for (size_t i = 0; bytes != 0; i++, bytes >>= 1) {
    if (bytes & 1) power = multiply(power, kBytePowers[i]);
  }
  return power;
}

// Multiplication by a fixed power, a look-up for each byte of the word.
using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

constexpr ShiftTable make_shift_table(uint64_t bytes) {
  ShiftTable table{};
  const uint32_t power = power_of_bytes(bytes);
  for (uint32_t place = 0; place < 4; place++) {
    for (uint32_t bit = 0; bit < 8; bit++) {
      table[place][1u << bit] = multiply(power, (1u << bit) << (8 * place));
    }
    for (uint32_t value = 1; value < 256; value++) {
      const uint32_t low = value & (~value + 1);
      table[place][value] = table[place][low] ^ table[place][value ^ low];
    }
  }
  return table;
}

template <size_t kBytes>
struct Shift {
  static constexpr ShiftTable kTable = make_shift_table(kBytes);
  static uint32_t apply(uint32_t crc) {
    return kTable[0][crc & 255] ^ kTable[1][(crc >> 8) & 255] ^ kTable[2][(crc >> 16) & 255] ^
           kTable[3][crc >> 24];
  }
};

// ------------------------------------------------------------- portable path

// kSlices[k][b]: the CRC register after byte b and k zero bytes.
constexpr std::array<std::array<uint32_t, 256>, 8> make_slices() {
  std::array<std::array<uint32_t, 256>, 8> slices{};
  for (uint32_t value = 0; value < 256; value++) {
    uint32_t crc = value;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    slices[0][value] = crc;
  }
  for (uint32_t value = 0; value < 256; value++) {
    for (size_t k = 1; k < 8; k++) {
      const uint32_t before = slices[k - 1][value];
      slices[k][value] = (before >> 8) ^ slices[0][before & 255];
    }
  }
  return slices;
}
constexpr auto kSlices = make_slices();

uint32_t update_portable(uint32_t crc, const uint8_t* data, size_t length) {
  for (; length >= 8; data += 8, length -= 8) {
    crc ^= static_cast<uint32_t>(data[0]) | static_cast<uint32_t>(data[1]) << 8 |
           static_cast<uint32_t>(data[2]) << 16 | static_cast<uint32_t>(data[3]) << 24;
    crc = kSlices[7][crc & 255] ^ kSlices[6][(crc >> 8) & 255] ^ kSlices[5][(crc >> 16) & 255] ^
          kSlices[4][crc >> 24] ^ kSlices[3][data[4]] ^ kSlices[2][data[5]] ^ kSlices[1][data[6]] ^
          kSlices[0][data[7]];
  }
  for (; length > 0; data++, length--) crc = (crc >> 8) ^ kSlices[0][(crc ^ *data) & 255];
  return crc;
}

// ------------------------------------------------------------- SSE4.2 path

#ifdef SEALFS_CRC_X86

inline uint64_t load(const uint8_t* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

__attribute__((target("sse4.2"))) uint32_t update_serial(uint32_t crc, const uint8_t* data,
                                                         size_t length) {
  uint64_t wide = crc;
  for (; length >= 8; data += 8, length -= 8) wide = _mm_crc32_u64(wide, load(data));
  crc = static_cast<uint32_t>(wide);
  for (; length > 0; data++, length--) crc = _mm_crc32_u8(crc, *data);
  return crc;
}

struct Lanes {
  uint64_t a, b, c;
};

// Three runs of kBytes each, interleaved; the registers go on from what they hold.
template <size_t kBytes>
__attribute__((target("sse4.2"), always_inline)) inline void update_lanes(Lanes& lanes,
                                                                          const uint8_t* a,
                                                                          const uint8_t* b,
                                                                          const uint8_t* c) {
  static_assert(kBytes % 8 == 0);
  for (size_t i = 0; i < kBytes; i += 8) {
    lanes.a = _mm_crc32_u64(lanes.a, load(a + i));
    lanes.b = _mm_crc32_u64(lanes.b, load(b + i));
    lanes.c = _mm_crc32_u64(lanes.c, load(c + i));
  }
}

template <size_t kLane>
__attribute__((target("sse4.2"))) uint32_t update_thirds(uint32_t crc, const uint8_t*& data,
                                                         size_t& length) {
  for (; length >= 3 * kLane; data += 3 * kLane, length -= 3 * kLane) {
    Lanes lanes{crc, 0, 0};
    update_lanes<kLane>(lanes, data, data + kLane, data + 2 * kLane);
    crc = Shift<2 * kLane>::apply(static_cast<uint32_t>(lanes.a)) ^
          Shift<kLane>::apply(static_cast<uint32_t>(lanes.b)) ^ static_cast<uint32_t>(lanes.c);
  }
  return crc;
}

// Lane sizes: long ones make joining cheap, short ones keep the serial rest below 384 bytes.
constexpr size_t kLongLane = 1360;  // three fit in a block
constexpr size_t kShortLane = 128;

__attribute__((target("sse4.2"))) uint32_t update_hardware(uint32_t crc, const uint8_t* data,
                                                           size_t length) {
  crc = update_thirds<kLongLane>(crc, data, length);
  crc = update_thirds<kShortLane>(crc, data, length);
  return update_serial(crc, data, length);
}

// Three whole blocks at once: nothing to join.
__attribute__((target("sse4.2"))) void three_blocks(const uint8_t* data, uint32_t* out) {
  Lanes lanes{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF};
  update_lanes<kCrcBlockBytes>(lanes, data, data + kCrcBlockBytes, data + 2 * kCrcBlockBytes);
  out[0] = ~static_cast<uint32_t>(lanes.a);
  out[1] = ~static_cast<uint32_t>(lanes.b);
  out[2] = ~static_cast<uint32_t>(lanes.c);
}

bool detect_hardware() { return __builtin_cpu_supports("sse4.2"); }

#else

uint32_t update_hardware(uint32_t crc, const uint8_t* data, size_t length) {
  return update_portable(crc, data, length);
}

void three_blocks(const uint8_t* data, uint32_t* out) {
  for (size_t i = 0; i < 3; i++) out[i] = crc32c(data + i * kCrcBlockBytes, kCrcBlockBytes);
}

bool detect_hardware() { return false; }

#endif

const bool kHardware = detect_hardware();

uint32_t block_crc(const uint8_t* data, size_t length) {
  const uint32_t crc = crc32c(data, length);
  return length == kCrcBlockBytes ? crc : crc32c_extend_zeros(crc, kCrcBlockBytes - length);
}

}  // namespace

bool crc32c_has_hardware() { return kHardware; }

uint32_t crc32c_hardware(const void* data, size_t length, uint32_t crc) {
  return ~update_hardware(~crc, static_cast<const uint8_t*>(data), length);
}

uint32_t crc32c_portable(const void* data, size_t length, uint32_t crc) {
  return ~update_portable(~crc, static_cast<const uint8_t*>(data), length);
}

uint32_t crc32c(const void* data, size_t length, uint32_t crc) {
  return kHardware ? crc32c_hardware(data, length, crc) : crc32c_portable(data, length, crc);
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b) {
  return multiply(power_of_bytes(length_b), crc_a) ^ crc_b;
}

uint32_t crc32c_extend_zeros(uint32_t crc, uint64_t length) {
  return ~multiply(power_of_bytes(length), ~crc);
}

void crc32c_blocks(const void* data, size_t length, uint32_t* out) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  if (kHardware) {
    for (; length >= 3 * kCrcBlockBytes; length -= 3 * kCrcBlockBytes, out += 3) {
      three_blocks(bytes, out);
      bytes += 3 * kCrcBlockBytes;
    }
  }
  while (length > 0) {
    const size_t part = std::min(length, kCrcBlockBytes);
    *out++ = block_crc(bytes, part);
    bytes += part;
    length -= part;
  }
}

size_t crc32c_verify_blocks(const void* data, size_t length, const uint32_t* expected) {
  constexpr size_t kBatch = 12;  // a multiple of the three lanes
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t found[kBatch];
  for (size_t first = 0; length > 0; first += kBatch) {
    const size_t part = std::min(length, kBatch * kCrcBlockBytes);
    const size_t blocks = (part + kCrcBlockBytes - 1) / kCrcBlockBytes;
    crc32c_blocks(bytes, part, found);
    for (size_t i = 0; i < blocks; i++) {
      if (found[i] != expected[first + i]) return first + i;
    }
    bytes += part;
    length -= part;
  }
  return kCrcAllGood;
}

uint32_t crc32c_combine_blocks(const uint32_t* crcs, size_t count) {
  uint32_t crc = 0;
  for (size_t i = 0; i < count; i++) crc = Shift<kCrcBlockBytes>::apply(crc) ^ crcs[i];
  return crc;
}

}  // namespace sealfs
