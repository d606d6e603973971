// sealfs_core.node: the arena and the poller of a thread. Loaded by src/native/core.ts; every
// thread that loads it has an instance of its own, with no state between them.
#include <napi.h>

#include "native/core/arena_binding.h"
#include "native/core/poller.h"

namespace sealfs {

static Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("createArena", Napi::Function::New(env, create_arena, "createArena"));
  exports.Set("Poller", Poller::define(env));
  return exports;
}

}  // namespace sealfs

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  return sealfs::start(env, exports);
}

NODE_API_MODULE(sealfs_core, init)
