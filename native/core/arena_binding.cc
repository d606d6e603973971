// Shows an arena to JavaScript: one external ArrayBuffer over all of it, and a handle for the other
// addons. Each of them owns a share; the mapping goes with the last.
#include "native/core/arena_binding.h"

#include "native/common/arena.h"
#include "native/common/napi_support.h"

namespace sealfs {

Napi::Value create_arena(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ArenaShape shape;
  if (!read_u32(info, 0, "messageSlots", &shape.message_slots) ||
      !read_u32(info, 1, "bulkSlots", &shape.bulk_slots) ||
      !read_u32(info, 2, "receiveAreas", &shape.receive_areas) ||
      !read_u32(info, 3, "shares", &shape.shares)) {
    return env.Undefined();
  }
  std::string error;
  std::shared_ptr<Arena> arena = Arena::create(shape, &error);
  if (!arena) {
    throw_error(env, "ERR_ARENA", error);
    return env.Undefined();
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("buffer", show_memory(env, arena, arena->base(), arena->span_bytes()));
  result.Set("fd", Napi::Number::New(env, arena->fd()));
  result.Set("hugePages", Napi::Boolean::New(env, arena->huge_pages()));
  result.Set("handle", make_arena_handle(env, arena));
  return result;
}

}  // namespace sealfs
