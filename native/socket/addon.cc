// sealfs_socket.node: the socket engine for src/transport/tcp.ts, which sees it through
// src/native/engine.ts.
#include <napi.h>

#include "native/common/engine_object.h"
#include "native/socket/engine.h"

namespace sealfs::tcp {

// new SocketEngine(arena handle)
struct SocketTraits {
  static constexpr const char* kName = "SocketEngine";
  static constexpr const char* kErrorCode = "ERR_SOCKET_ENGINE";

  static std::shared_ptr<Engine> create(const Napi::CallbackInfo& info,
                                        std::shared_ptr<Arena> arena, std::string* error) {
    return Engine::create(std::move(arena), error);
  }
};

static Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("SocketEngine", engine::EngineObject<Engine, SocketTraits>::define(env));
  return exports;
}

}  // namespace sealfs::tcp

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  return sealfs::tcp::start(env, exports);
}

NODE_API_MODULE(sealfs_socket, init)
