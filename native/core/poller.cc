// Goal and destruction order: poller.h.
#include "native/core/poller.h"

#include <utility>

#include "native/common/napi_support.h"

namespace sealfs {

// What outlives the JavaScript object: the libuv handles, until both are closed.
struct Poller::Core : std::enable_shared_from_this<Poller::Core> {
  Core(Napi::Env environment, Napi::Function on_turn)
      : env(environment),
        callback(Napi::Persistent(on_turn)),
        turns([this] { call_javascript(); }) {}

  bool start(uv_loop_t* loop) {
    if (turns.fd() < 0 || uv_poll_init(loop, &poll, turns.fd()) != 0) return false;
    uv_idle_init(loop, &idle);
    poll.data = idle.data = this;
    uv_unref(reinterpret_cast<uv_handle_t*>(&idle));
    uv_poll_start(&poll, UV_READABLE, [](uv_poll_t* handle, int, int) { run(handle->data); });
    self = shared_from_this();
    napi_add_async_cleanup_hook(
        env, [](napi_async_cleanup_hook_handle, void* data) { static_cast<Core*>(data)->close(); },
        this, &cleanup);
    return true;
  }

  static void run(void* data) {
    Core* core = static_cast<Core*>(data);
    const bool again = core->turns.run();
    if (core->closing) return;
    if (again) {
      core->start_idle();
    } else {
      uv_idle_stop(&core->idle);
    }
  }

  void start_idle() {
    uv_idle_start(&idle, [](uv_idle_t* handle) { run(handle->data); });
  }

  // In plain N-API: while a thread is being terminated JavaScript cannot run, and node-addon-api
  // would treat that as fatal.
  void call_javascript() {
    Napi::HandleScope scope(env);
    napi_value global = nullptr;
    napi_get_global(env, &global);
    const napi_status status =
        napi_make_callback(env, nullptr, global, callback.Value(), 0, nullptr, nullptr);
    if (status == napi_ok) return;
    napi_value error = nullptr;
    if (status == napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok && error != nullptr) {
      napi_fatal_exception(env, error);
    } else {
      turns.close();  // nobody is there to take records: the thread is ending
    }
  }

  void close() {
    if (closing) return;
    closing = true;
    turns.close();
    callback.Reset();
    open_handles = 2;
    uv_close(reinterpret_cast<uv_handle_t*>(&poll), closed);
    uv_close(reinterpret_cast<uv_handle_t*>(&idle), closed);
  }

  static void closed(uv_handle_t* handle) {
    Core* core = static_cast<Core*>(handle->data);
    if (--core->open_handles > 0) return;
    napi_remove_async_cleanup_hook(core->cleanup);
    core->self.reset();  // may delete core
  }

  Napi::Env env;
  Napi::FunctionReference callback;
  TurnLoop turns;
  uv_poll_t poll{};
  uv_idle_t idle{};
  napi_async_cleanup_hook_handle cleanup = nullptr;
  std::shared_ptr<Core> self;  // while libuv knows the handles
  int open_handles = 0;
  bool closing = false;
};

Napi::Function Poller::define(Napi::Env env) {
  return DefineClass(
      env, "Poller",
      {InstanceMethod<&Poller::add>("add"), InstanceMethod<&Poller::remove>("remove"),
       InstanceMethod<&Poller::kick>("kick"), InstanceMethod<&Poller::stamp>("stamp"),
       InstanceMethod<&Poller::set_spin>("setSpin"), InstanceMethod<&Poller::set_ref>("setRef"),
       InstanceMethod<&Poller::close>("close"), InstanceAccessor<&Poller::state>("state")});
}

Poller::Poller(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Poller>(info) {
  Napi::Env env = info.Env();
  if (info.Length() < 1 || !info[0].IsFunction()) {
    throw_error(env, "ERR_INVALID_ARG_TYPE", "onTurn: a function is needed");
    return;
  }
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto core = std::make_shared<Core>(env, info[0].As<Napi::Function>());
  if (loop == nullptr || !core->start(loop)) {
    throw_error(env, "ERR_POLLER", "the poller's descriptor cannot be watched");
    return;
  }
  core_ = std::move(core);
  // Shown once, here: memory may have one ArrayBuffer only.
  state_ = Napi::Persistent(show_memory(env, core_, &core_->turns.memory(), sizeof(TurnMemory)));
}

Poller::~Poller() {
  if (core_) core_->close();
}

Napi::Value Poller::add(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::shared_ptr<EventSource> source =
      open_source_handle(env, info.Length() > 0 ? info[0] : env.Undefined());
  if (!source) return env.Undefined();
  if (core_->closing) {
    throw_error(env, "ERR_CLOSED", "the poller is closed");
    return env.Undefined();
  }
  const int number = core_->turns.add(std::move(source));
  if (number < 0) {
    throw_errno(env, errno, "add source");
    return env.Undefined();
  }
  return Napi::Number::New(env, number);
}

Napi::Value Poller::remove(const Napi::CallbackInfo& info) {
  uint32_t number = 0;
  if (read_u32(info, 0, "source", &number)) core_->turns.remove(number);
  return info.Env().Undefined();
}

Napi::Value Poller::kick(const Napi::CallbackInfo& info) {
  if (!core_->closing && !core_->turns.in_turn()) {
    core_->turns.kick();
    core_->start_idle();
  }
  return info.Env().Undefined();
}

Napi::Value Poller::stamp(const Napi::CallbackInfo& info) {
  core_->turns.stamp_wall_clock();
  return info.Env().Undefined();
}

Napi::Value Poller::set_spin(const Napi::CallbackInfo& info) {
  uint32_t idle_us = 0;
  uint32_t waiting_us = 0;
  if (read_u32(info, 0, "idleUs", &idle_us) && read_u32(info, 1, "waitingUs", &waiting_us)) {
    core_->turns.set_spin(uint64_t{idle_us} * 1000, uint64_t{waiting_us} * 1000);
  }
  return info.Env().Undefined();
}

Napi::Value Poller::set_ref(const Napi::CallbackInfo& info) {
  const bool keep_alive = info.Length() > 0 && info[0].ToBoolean().Value();
  if (!core_->closing) {
    auto* handle = reinterpret_cast<uv_handle_t*>(&core_->poll);
    keep_alive ? uv_ref(handle) : uv_unref(handle);
  }
  return info.Env().Undefined();
}

Napi::Value Poller::close(const Napi::CallbackInfo& info) {
  core_->close();
  return info.Env().Undefined();
}

Napi::Value Poller::state(const Napi::CallbackInfo& info) { return state_.Value(); }

}  // namespace sealfs
