// Goal: what every addon needs of N-API, written once: errors with codes, argument checks, native
// memory shown to JavaScript, and C++ objects handed from one addon to another.
//
// Addons are built without C++ exceptions: a function that finds a bad argument calls one of the
// throw helpers and returns; the readers below return false after having thrown.
#pragma once

#include <napi.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "native/common/event_source.h"

namespace sealfs {

class Arena;

// Throws Error(message) with `code`, a stable string.
inline void throw_error(Napi::Env env, const char* code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Value().Set("code", Napi::String::New(env, code));
  error.ThrowAsJavaScriptException();
}

// Throws like Node's own system errors: `code` the errno's name, `errno` its number negated.
inline void throw_errno(Napi::Env env, int number, const std::string& what) {
  const char* name = strerrorname_np(number);
  Napi::Error error =
      Napi::Error::New(env, what + ": " + (name ? name : "errno") + ", " + strerror(number));
  error.Value().Set("code", Napi::String::New(env, name ? name : "UNKNOWN"));
  error.Value().Set("errno", Napi::Number::New(env, -number));
  error.ThrowAsJavaScriptException();
}

inline bool read_u32(const Napi::CallbackInfo& info, size_t index, const char* name,
                     uint32_t* out) {
  double value = -1;
  if (index < info.Length() && info[index].IsNumber()) {
    value = info[index].As<Napi::Number>().DoubleValue();
  }
  if (!(value >= 0 && value <= 4294967295.0) || value != static_cast<uint32_t>(value)) {
    throw_error(info.Env(), "ERR_INVALID_ARG_VALUE",
                std::string(name) + ": an integer from 0 to 2^32 - 1 is needed");
    return false;
  }
  *out = static_cast<uint32_t>(value);
  return true;
}

inline bool read_string(const Napi::CallbackInfo& info, size_t index, const char* name,
                        std::string* out) {
  if (index >= info.Length() || !info[index].IsString()) {
    throw_error(info.Env(), "ERR_INVALID_ARG_TYPE", std::string(name) + ": a string is needed");
    return false;
  }
  *out = info[index].As<Napi::String>().Utf8Value();
  return true;
}

// Shows `bytes` of native memory at `data` to JavaScript; `owner` lives as long as the ArrayBuffer.
// One piece of memory must be shown at most once in a process.
template <typename T>
Napi::ArrayBuffer show_memory(Napi::Env env, std::shared_ptr<T> owner, void* data, size_t bytes) {
  auto* keep = new std::shared_ptr<T>(std::move(owner));
  return Napi::ArrayBuffer::New(
      env, data, bytes, [](Napi::Env, void*, std::shared_ptr<T>* hint) { delete hint; }, keep);
}

// ---- objects handed between addons: a napi external over a checked, owning box

enum class HandleKind : uint64_t {
  kArena = 0x5345414c41524e01,   // the last byte is the version of the C++ layout
  kSource = 0x5345414c53524301,  // of EventSource or Arena
};

struct HandleBox {
  HandleKind kind;
  std::shared_ptr<void> object;
};

template <typename T>
Napi::Value make_handle(Napi::Env env, HandleKind kind, std::shared_ptr<T> object) {
  return Napi::External<HandleBox>::New(env, new HandleBox{kind, std::move(object)},
                                        [](Napi::Env, HandleBox* box) { delete box; });
}

// Null, and a TypeError is pending, when `value` is not such a handle.
template <typename T>
std::shared_ptr<T> open_handle(Napi::Env env, HandleKind kind, Napi::Value value,
                               const char* name) {
  if (value.IsExternal()) {
    HandleBox* box = value.As<Napi::External<HandleBox>>().Data();
    if (box != nullptr && box->kind == kind) return std::static_pointer_cast<T>(box->object);
  }
  throw_error(env, "ERR_INVALID_ARG_TYPE", std::string(name) + ": not a native handle of its kind");
  return nullptr;
}

inline Napi::Value make_source_handle(Napi::Env env, std::shared_ptr<EventSource> source) {
  return make_handle(env, HandleKind::kSource, std::move(source));
}

inline std::shared_ptr<EventSource> open_source_handle(Napi::Env env, Napi::Value value) {
  return open_handle<EventSource>(env, HandleKind::kSource, value, "source");
}

inline Napi::Value make_arena_handle(Napi::Env env, std::shared_ptr<Arena> arena) {
  return make_handle(env, HandleKind::kArena, std::move(arena));
}

inline std::shared_ptr<Arena> open_arena_handle(Napi::Env env, Napi::Value value) {
  return open_handle<Arena>(env, HandleKind::kArena, value, "arena");
}

}  // namespace sealfs
