// Goal: a TurnLoop (native/common/turn_loop.h) on the thread's libuv loop. Method: one uv_poll_t
// watches the loop's epoll descriptor while the thread sleeps; a uv_idle_t keeps it coming back
// while it polls, so that timers and other handles have their turn after every slice.
//
// Destruction: the libuv handles close asynchronously. The environment's async cleanup hook starts
// that when a thread ends and holds the thread until it is done; close() does the same earlier.
// Nothing calls JavaScript after either.
#pragma once

#include <napi.h>
#include <uv.h>

#include <memory>

#include "native/common/turn_loop.h"

namespace sealfs {

class Poller : public Napi::ObjectWrap<Poller> {
 public:
  // new Poller(onTurn)
  static Napi::Function define(Napi::Env env);
  explicit Poller(const Napi::CallbackInfo& info);
  ~Poller() override;

 private:
  struct Core;

  Napi::Value add(const Napi::CallbackInfo& info);       // (source handle) -> number of the source
  Napi::Value remove(const Napi::CallbackInfo& info);    // (number)
  Napi::Value kick(const Napi::CallbackInfo& info);      // submits, then polls soon
  Napi::Value stamp(const Napi::CallbackInfo& info);     // renews the wall clock in the state
  Napi::Value set_spin(const Napi::CallbackInfo& info);  // (idle us, waiting us)
  Napi::Value set_ref(const Napi::CallbackInfo& info);   // (boolean) keeps the process alive
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value state(const Napi::CallbackInfo& info);  // ArrayBuffer over TurnMemory

  std::shared_ptr<Core> core_;
  Napi::Reference<Napi::ArrayBuffer> state_;
};

}  // namespace sealfs
