// CRC-32C (Castagnoli, RFC 3720 section 12.1 and appendix B.4): polynomial 0x1EDC6F41, reflected,
// initial value and final inversion 0xFFFFFFFF. This is the checksum of every data block, on the
// wire and on the device.
//
// The instruction of SSE4.2 has a latency of three cycles and a throughput of one, so three
// independent lanes run side by side: three thirds of a buffer (joined by shifting the lanes'
// results over the bytes behind them, one table look-up per byte of the result), or three blocks.
// Without SSE4.2 a table of 8 x 256 words takes eight bytes a step. Chosen once at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs {

// CRC of `length` bytes; `crc` is that of the bytes before them, 0 at the start.
uint32_t crc32c(const void* data, size_t length, uint32_t crc = 0);

// The two paths behind crc32c, for tests. crc32c_hardware must not be called where
// crc32c_has_hardware() is false.
bool crc32c_has_hardware();
uint32_t crc32c_hardware(const void* data, size_t length, uint32_t crc);
uint32_t crc32c_portable(const void* data, size_t length, uint32_t crc);

// CRC of A followed by B, from the CRCs of both and the length of B in bytes.
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b);

// CRC of A followed by `length` zero bytes.
uint32_t crc32c_extend_zeros(uint32_t crc, uint64_t length);

// Bytes of a block: the unit of checksums.
constexpr size_t kCrcBlockBytes = 4096;

// One CRC for every started 4 KiB of data[0, length), the last one as if padded with zeros to
// 4 KiB. Reads only `length` bytes. `out` has room for ceil(length / 4096) words.
void crc32c_blocks(const void* data, size_t length, uint32_t* out);

constexpr size_t kCrcAllGood = SIZE_MAX;
// Compares the same CRCs with `expected`: the index of the first block that differs, or
// kCrcAllGood.
size_t crc32c_verify_blocks(const void* data, size_t length, const uint32_t* expected);

// CRC of `count` whole blocks laid end to end, from their CRCs.
uint32_t crc32c_combine_blocks(const uint32_t* crcs, size_t count);

}  // namespace sealfs
