// sealfs_intercept.node: the host of intercepted programs, for src/native/intercept.ts, which
// documents it. Calls go through the two rings; what is here is for the beginning and the end.
#include <napi.h>

#include <algorithm>

#include "native/common/napi_support.h"
#include "native/intercept_host/host.h"

namespace sealfs::intercept {
namespace {

class HostObject : public Napi::ObjectWrap<HostObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Host",
        {InstanceMethod<&HostObject::submit>("submit"), InstanceMethod<&HostObject::close>("close"),
         InstanceAccessor<&HostObject::source>("source"),
         InstanceAccessor<&HostObject::counters>("counters")});
  }

  // new Host(arena handle, device, any user, bulk slots kept, message slots kept, mount point,
  // root)
  explicit HostObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<HostObject>(info) {
    Napi::Env env = info.Env();
    auto arena = open_arena_handle(env, info.Length() > 0 ? info[0] : env.Undefined());
    HostOptions options;
    if (!arena || !read_string(info, 1, "device", &options.device)) return;
    options.any_user = info.Length() > 2 && info[2].ToBoolean().Value();
    if (!read_u32(info, 3, "keepBulk", &options.keep_bulk) ||
        !read_u32(info, 4, "keepMessages", &options.keep_messages)) {
      return;
    }
    if (!read_string(info, 5, "mountPoint", &options.mountpoint)) return;
    if (info.Length() > 6 && info[6].IsNumber()) {
      options.root_inode = static_cast<uint64_t>(info[6].As<Napi::Number>().Int64Value());
    }
    std::string error;
    host_ = Host::create(std::move(arena), std::move(options), &error);
    if (!host_) {
      throw_error(env, "ERR_INTERCEPT", error);
      return;
    }
    // Shown once each, here: memory may have one ArrayBuffer only.
    Napi::Object self = info.This().As<Napi::Object>();
    auto& records = host_->records();
    auto& answers = host_->answers();
    self.Set("records", show_memory(env, host_, records.memory(), records.bytes()));
    self.Set("answers", show_memory(env, host_, answers.memory(), answers.bytes()));
    self.Set("versions", show_memory(env, host_, host_->versions().words(), kVersionsBytes));
  }

  ~HostObject() override {
    if (host_) host_->close();
  }

 private:
  Napi::Value submit(const Napi::CallbackInfo& info) {
    host_->submit();
    return info.Env().Undefined();
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    host_->close();
    return info.Env().Undefined();
  }

  Napi::Value source(const Napi::CallbackInfo& info) {
    return make_source_handle(info.Env(), host_);
  }

  Napi::Value counters(const Napi::CallbackInfo& info) {
    const HostCounters& from = host_->counters();
    Napi::Object out = Napi::Object::New(info.Env());
    const auto set = [&](const char* name, uint64_t value) {
      out.Set(name, Napi::Number::New(info.Env(), static_cast<double>(value)));
    };
    set("programs", from.programs);
    set("refused", from.refused);
    set("calls", from.calls);
    set("fallbacks", from.fallbacks);
    return out;
  }

  std::shared_ptr<Host> host_;
};

}  // namespace

static Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("Host", HostObject::define(env));
  return exports;
}

}  // namespace sealfs::intercept

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  return sealfs::intercept::start(env, exports);
}

NODE_API_MODULE(sealfs_intercept, init)
