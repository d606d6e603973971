// sealfs_fuse.node: FUSE sessions for src/native/fuse.ts. Each thread that loads it has an instance
// of its own; libfuse's log function is all that the instances share.
//
// Destruction: the JavaScript object and the poller own the Session together. close() ends it; the
// environment's cleanup hook closes what JavaScript did not, so that a mount never outlives its
// thread.
#include <napi.h>
#include <sys/mount.h>

#include <algorithm>

#include "native/common/napi_support.h"
#include "native/fuse/mount_table.h"
#include "native/fuse/session.h"

namespace sealfs::fuse {
namespace {

// umount2(2) on a thread of the pool: it may wait for requests that this thread must answer.
class UnmountWorker : public Napi::AsyncWorker {
 public:
  UnmountWorker(Napi::Env env, std::string path, int flags)
      : Napi::AsyncWorker(env),
        result_(Napi::Promise::Deferred::New(env)),
        path_(std::move(path)),
        flags_(flags) {}
  Napi::Promise promise() const { return result_.Promise(); }

 protected:
  void Execute() override {
    error_ = umount2(path_.c_str(), UMOUNT_NOFOLLOW | flags_) == 0 ? 0 : errno;
  }
  void OnOK() override { result_.Resolve(Napi::Number::New(Env(), error_)); }

 private:
  Napi::Promise::Deferred result_;
  std::string path_;
  int flags_;
  int error_ = 0;
};

class SessionObject : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Session",
                       {InstanceMethod<&SessionObject::mount>("mount"),
                        InstanceMethod<&SessionObject::submit>("submit"),
                        InstanceMethod<&SessionObject::close>("close"),
                        InstanceMethod<&SessionObject::is_covered>("isCovered"),
                        InstanceAccessor<&SessionObject::source>("source"),
                        InstanceAccessor<&SessionObject::layout>("layout"),
                        InstanceAccessor<&SessionObject::negotiated>("negotiated"),
                        InstanceAccessor<&SessionObject::counters>("counters")});
  }

  // new Session(arena handle, options)
  explicit SessionObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<SessionObject>(info), env_(info.Env()) {
    auto arena = open_arena_handle(env_, info.Length() > 0 ? info[0] : env_.Undefined());
    if (!arena) return;
    if (info.Length() < 2 || !info[1].IsObject()) {
      throw_error(env_, "ERR_INVALID_ARG_TYPE", "options: an object is needed");
      return;
    }
    session_ = Session::create(std::move(arena), read_options(info[1].As<Napi::Object>()));
    if (!session_) {
      throw_error(env_, "ERR_NO_SLOTS", "a FUSE session needs two free bulk slots");
      return;
    }
    napi_add_env_cleanup_hook(env_, end_of_thread, this);
  }

  ~SessionObject() override {
    if (!session_) return;
    napi_remove_env_cleanup_hook(env_, end_of_thread, this);
    session_->close();
  }

 private:
  static void end_of_thread(void* self) { static_cast<SessionObject*>(self)->session_->close(); }

  static uint32_t number(const Napi::Object& options, const char* name) {
    return options.Get(name).ToNumber().Uint32Value();
  }
  static bool flag(const Napi::Object& options, const char* name) {
    return options.Get(name).ToBoolean().Value();
  }

  // The typed face fills every field, so a missing one cannot occur.
  static SessionOptions read_options(const Napi::Object& from) {
    SessionOptions options;
    Napi::Value list = from.Get("mountOptions");
    if (list.IsArray()) {
      Napi::Array strings = list.As<Napi::Array>();
      for (uint32_t i = 0; i < strings.Length(); i++) {
        options.mount_options.push_back(strings.Get(i).ToString().Utf8Value());
      }
    }
    options.root_inode = static_cast<uint64_t>(from.Get("rootInode").ToNumber().Int64Value());
    options.readdirplus = static_cast<ReadDirPlusMode>(number(from, "readDirPlus"));
    options.direct_io_mmap = flag(from, "directIoMmap");
    options.posix_acl = flag(from, "posixAcl");
    options.flush = flag(from, "flush");
    options.locks = flag(from, "locks");
    options.max_background = number(from, "maxBackground");
    options.reserve_bulk_slots = number(from, "reserveBulkSlots");
    options.small_write_bytes = std::min<uint32_t>(number(from, "smallWriteBytes"), kMessageSlot);
    return options;
  }

  Napi::Value mount(const Napi::CallbackInfo& info) {
    std::string path;
    std::string error;
    if (!read_string(info, 0, "path", &path)) return env_.Undefined();
    if (!session_->mount(path, &error)) throw_error(env_, "ERR_FUSE_MOUNT", error);
    return env_.Undefined();
  }

  Napi::Value submit(const Napi::CallbackInfo& info) {
    session_->submit();
    return env_.Undefined();
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    session_->close();
    return env_.Undefined();
  }

  // isCovered(): something is mounted on the volume.
  Napi::Value is_covered(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(env_, session_->is_covered());
  }

  Napi::Value source(const Napi::CallbackInfo& info) { return make_source_handle(env_, session_); }

  void set(Napi::Object* object, const char* name, double value) {
    object->Set(name, Napi::Number::New(env_, value));
  }

  Napi::Value layout(const Napi::CallbackInfo& info) {
    Napi::Object out = Napi::Object::New(env_);
    set(&out, "recordsOffset", session_->records_offset());
    set(&out, "recordBytes", RequestTable::kRecordBytes);
    set(&out, "recordCapacity", RequestTable::kCapacity);
    set(&out, "eventsOffset", session_->events_offset());
    set(&out, "submissionsOffset", session_->submissions_offset());
    set(&out, "submissionBytes", session_->submission_bytes());
    set(&out, "headerBytes", Session::kHeaderBytes);
    return out;
  }

  Napi::Value negotiated(const Napi::CallbackInfo& info) {
    const Negotiated& from = session_->negotiated();
    Napi::Object out = Napi::Object::New(env_);
    set(&out, "protocolMinor", from.minor);
    set(&out, "offeredFlags", static_cast<double>(from.offered & ((uint64_t{1} << 53) - 1)));
    set(&out, "wantedCapabilities", from.wanted);
    set(&out, "maxWriteBytes", from.max_write);
    out.Set("killPriv", Napi::Boolean::New(env_, from.kill_priv));
    out.Set("posixAcl", Napi::Boolean::New(env_, from.posix_acl));
    out.Set("epochNotify", Napi::Boolean::New(env_, from.epoch_notify));
    out.Set("autoInvalidData",
            Napi::Boolean::New(env_, (from.wanted & FUSE_CAP_AUTO_INVAL_DATA) != 0));
    out.Set("locks", Napi::Boolean::New(env_, from.locks));
    out.Set("directIoMmap", Napi::Boolean::New(env_, from.direct_io_mmap));
    return out;
  }

  Napi::Value counters(const Napi::CallbackInfo& info) {
    const SessionCounters& from = session_->counters();
    Napi::Object out = Napi::Object::New(env_);
    set(&out, "requests", static_cast<double>(from.requests));
    set(&out, "replies", static_cast<double>(from.replies));
    set(&out, "forgets", static_cast<double>(from.forgets));
    set(&out, "interrupts", static_cast<double>(from.interrupts));
    set(&out, "staleReplies", static_cast<double>(from.stale_replies));
    set(&out, "failedReplies", static_cast<double>(from.failed_replies));
    set(&out, "writeBytesCopied", static_cast<double>(from.write_bytes_copied));
    set(&out, "pauses", static_cast<double>(from.pauses));
    const NoticeCounters notices = session_->notice_counters();
    set(&out, "notices", static_cast<double>(notices.written));
    set(&out, "noticesUnknown", static_cast<double>(notices.unknown));
    set(&out, "noticesFailed", static_cast<double>(notices.failed));
    set(&out, "epochs", static_cast<double>(notices.epochs));
    set(&out, "epochsNotRaised", static_cast<double>(notices.kept));
    set(&out, "activeRequests", session_->active_requests());
    return out;
  }

  Napi::Env env_;
  std::shared_ptr<Session> session_;
};

// mountedAt(path): "major:minor" of what is mounted at exactly this path, "" when nothing is.
Napi::Value mounted_at(const Napi::CallbackInfo& info) {
  std::string path;
  if (!read_string(info, 0, "path", &path)) return info.Env().Undefined();
  return Napi::String::New(info.Env(), device_mounted_at(path));
}

// unmount(path, lazy) -> Promise of an errno, 0: done
Napi::Value unmount(const Napi::CallbackInfo& info) {
  std::string path;
  if (!read_string(info, 0, "path", &path)) return info.Env().Undefined();
  const bool lazy = info.Length() > 1 && info[1].ToBoolean().Value();
  auto* worker = new UnmountWorker(info.Env(), std::move(path), lazy ? MNT_DETACH : 0);
  worker->Queue();  // deletes itself when done
  return worker->promise();
}

}  // namespace

static Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("Session", SessionObject::define(env));
  exports.Set("unmount", Napi::Function::New(env, unmount, "unmount"));
  exports.Set("mountedAt", Napi::Function::New(env, mounted_at, "mountedAt"));
  return exports;
}

}  // namespace sealfs::fuse

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  return sealfs::fuse::start(env, exports);
}

NODE_API_MODULE(sealfs_fuse, init)
