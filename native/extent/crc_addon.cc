// Goal: CRC-32C over ranges of an arena, called from JavaScript with offsets only. The arena is an
// ArrayBuffer, a real arena's or a plain one; every range is checked against its length. Typed
// face and documentation: src/native/crc32c.ts.
//
// Raw N-API: these are the few calls of the data path that are made once an operation.
#include <node_api.h>

#include "native/common/crc32c.h"

namespace {

struct Arguments {
  uint8_t* base = nullptr;
  size_t bytes = 0;
  double number[4] = {0, 0, 0, 0};
};

napi_value fail(napi_env env) {
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "crc32c: the range does not lie in the arena");
  return nullptr;
}

napi_value number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

// (arena, up to four numbers)
bool read_arguments(napi_env env, napi_callback_info info, Arguments* out) {
  napi_value values[5];
  size_t count = 5;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok) return false;
  void* data = nullptr;
  if (napi_get_arraybuffer_info(env, values[0], &data, &out->bytes) != napi_ok) return false;
  out->base = static_cast<uint8_t*>(data);
  for (size_t i = 1; i < count && i < 5; i++) {
    if (napi_get_value_double(env, values[i], &out->number[i - 1]) != napi_ok) return false;
    if (!(out->number[i - 1] >= 0 && out->number[i - 1] <= 4294967295.0)) return false;
  }
  return true;
}

bool inside(const Arguments& arguments, double offset, double length) {
  return offset + length <= static_cast<double>(arguments.bytes);
}

const uint32_t* words_at(const Arguments& arguments, double offset, double count) {
  if (!inside(arguments, offset, count * 4) || static_cast<uint32_t>(offset) % 4 != 0) {
    return nullptr;
  }
  return reinterpret_cast<const uint32_t*>(arguments.base + static_cast<size_t>(offset));
}

// (arena, offset, length, crc before) -> crc
napi_value crc(napi_env env, napi_callback_info info) {
  Arguments a;
  if (!read_arguments(env, info, &a) || !inside(a, a.number[0], a.number[1])) return fail(env);
  return number(
      env, sealfs::crc32c(a.base + static_cast<size_t>(a.number[0]),
                          static_cast<size_t>(a.number[1]), static_cast<uint32_t>(a.number[2])));
}

double blocks_of(double length) {
  return static_cast<double>((static_cast<uint64_t>(length) + sealfs::kCrcBlockBytes - 1) /
                             sealfs::kCrcBlockBytes);
}

// (arena, offset, length, byte offset of the words)
napi_value blocks(napi_env env, napi_callback_info info) {
  Arguments a;
  if (!read_arguments(env, info, &a) || !inside(a, a.number[0], a.number[1])) return fail(env);
  const uint32_t* words = words_at(a, a.number[2], blocks_of(a.number[1]));
  if (words == nullptr) return fail(env);
  sealfs::crc32c_blocks(a.base + static_cast<size_t>(a.number[0]), static_cast<size_t>(a.number[1]),
                        const_cast<uint32_t*>(words));
  return nullptr;
}

// (arena, offset, length, byte offset of the words) -> index of the first bad block, or -1
napi_value verify(napi_env env, napi_callback_info info) {
  Arguments a;
  if (!read_arguments(env, info, &a) || !inside(a, a.number[0], a.number[1])) return fail(env);
  const uint32_t* words = words_at(a, a.number[2], blocks_of(a.number[1]));
  if (words == nullptr) return fail(env);
  const size_t bad = sealfs::crc32c_verify_blocks(a.base + static_cast<size_t>(a.number[0]),
                                                  static_cast<size_t>(a.number[1]), words);
  return number(env, bad == sealfs::kCrcAllGood ? -1 : static_cast<double>(bad));
}

// (arena, byte offset of the words, count) -> crc of the whole blocks laid end to end
napi_value combine_blocks(napi_env env, napi_callback_info info) {
  Arguments a;
  if (!read_arguments(env, info, &a)) return fail(env);
  const uint32_t* words = words_at(a, a.number[0], a.number[1]);
  if (words == nullptr) return fail(env);
  return number(env, sealfs::crc32c_combine_blocks(words, static_cast<size_t>(a.number[1])));
}

// (crc a, crc b, length of b) and (crc, zeros): plain numbers, lengths below 2^53.
bool read_numbers(napi_env env, napi_callback_info info, double* out, size_t wanted) {
  napi_value values[3];
  size_t count = wanted;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok) return false;
  for (size_t i = 0; i < wanted; i++) {
    if (napi_get_value_double(env, values[i], &out[i]) != napi_ok) return false;
    const double limit = i + 1 == wanted ? 9007199254740991.0 : 4294967295.0;
    if (!(out[i] >= 0 && out[i] <= limit)) return false;
  }
  return true;
}

napi_value combine(napi_env env, napi_callback_info info) {
  double a[3];
  if (!read_numbers(env, info, a, 3)) return fail(env);
  return number(env,
                sealfs::crc32c_combine(static_cast<uint32_t>(a[0]), static_cast<uint32_t>(a[1]),
                                       static_cast<uint64_t>(a[2])));
}

napi_value extend_zeros(napi_env env, napi_callback_info info) {
  double a[2];
  if (!read_numbers(env, info, a, 2)) return fail(env);
  return number(
      env, sealfs::crc32c_extend_zeros(static_cast<uint32_t>(a[0]), static_cast<uint64_t>(a[1])));
}

void define(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace

NAPI_MODULE_INIT() {
  define(env, exports, "crc", crc);
  define(env, exports, "blocks", blocks);
  define(env, exports, "verify", verify);
  define(env, exports, "combineBlocks", combine_blocks);
  define(env, exports, "combine", combine);
  define(env, exports, "extendZeros", extend_zeros);
  return exports;
}
