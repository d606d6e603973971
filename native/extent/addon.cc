// Goal: the engine's face in JavaScript; its typed form and documentation is src/native/extent.ts.
// The data path goes through the two rings; calls here are for opening, closing and tests.
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/common/napi_support.h"
#include "native/extent/engine.h"

namespace sealfs::extent {
namespace {

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Engine",
                       {
                           InstanceMethod<&EngineObject::open>("open"),
                           InstanceMethod<&EngineObject::close_file>("closeFile"),
                           InstanceMethod<&EngineObject::submit>("submit"),
                           InstanceMethod<&EngineObject::harvest>("harvest"),
                           InstanceMethod<&EngineObject::source>("source"),
                           InstanceMethod<&EngineObject::memory>("memory"),
                           InstanceMethod<&EngineObject::mode>("mode"),
                           InstanceMethod<&EngineObject::outstanding>("outstanding"),
                           InstanceMethod<&EngineObject::destroy>("destroy"),
                       });
  }

  // (arena handle, depth, threads, force threads)
  explicit EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
    std::shared_ptr<Arena> arena = open_arena_handle(info.Env(), info[0]);
    EngineOptions options;
    if (!arena || !read_u32(info, 1, "depth", &options.depth) ||
        !read_u32(info, 2, "threads", &options.threads)) {
      return;
    }
    options.force_threads = info[3].ToBoolean();
    std::string error;
    engine_ = Engine::create(arena, options, &error);
    if (!engine_) throw_error(info.Env(), "UNSUPPORTED", error);
  }

 private:
  bool alive(const Napi::CallbackInfo& info) {
    if (engine_) return true;
    throw_error(info.Env(), "ERR_INVALID_STATE", "the disk engine is destroyed");
    return false;
  }

  // (path, create, bytes) -> [file, direct, block device, bytes]; throws a system error
  Napi::Value open(const Napi::CallbackInfo& info) {
    std::string path;
    if (!alive(info) || !read_string(info, 0, "path", &path)) return info.Env().Undefined();
    const double bytes = info[2].IsNumber() ? info[2].As<Napi::Number>().DoubleValue() : 0;
    const OpenResult result =
        engine_->open(path, info[1].ToBoolean(), bytes > 0 ? static_cast<uint64_t>(bytes) : 0);
    if (result.error != 0) {
      throw_errno(info.Env(), result.error, path);
      return info.Env().Undefined();
    }
    Napi::Array answer = Napi::Array::New(info.Env(), 4);
    answer.Set(0u, Napi::Number::New(info.Env(), result.file));
    answer.Set(1u, Napi::Boolean::New(info.Env(), result.direct));
    answer.Set(2u, Napi::Boolean::New(info.Env(), result.block_device));
    answer.Set(3u, Napi::Number::New(info.Env(), static_cast<double>(result.bytes)));
    return answer;
  }

  Napi::Value close_file(const Napi::CallbackInfo& info) {
    uint32_t file = 0;
    if (alive(info) && read_u32(info, 0, "file", &file)) engine_->close_file(file);
    return info.Env().Undefined();
  }

  Napi::Value submit(const Napi::CallbackInfo& info) {
    if (alive(info)) engine_->submit();
    return info.Env().Undefined();
  }

  Napi::Value harvest(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), alive(info) ? engine_->harvest() : 0);
  }

  Napi::Value source(const Napi::CallbackInfo& info) {
    if (!alive(info)) return info.Env().Undefined();
    return make_source_handle(info.Env(), engine_);
  }

  // -> [submission ring, completion ring]; once an engine
  Napi::Value memory(const Napi::CallbackInfo& info) {
    if (!alive(info)) return info.Env().Undefined();
    auto& submissions = engine_->submissions();
    auto& completions = engine_->completions();
    Napi::Array answer = Napi::Array::New(info.Env(), 2);
    answer.Set(0u, show_memory(info.Env(), engine_, submissions.memory(), submissions.bytes()));
    answer.Set(1u, show_memory(info.Env(), engine_, completions.memory(), completions.bytes()));
    return answer;
  }

  Napi::Value mode(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), alive(info) ? engine_->mode() : "");
  }

  Napi::Value outstanding(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), engine_ ? engine_->outstanding() : 0);
  }

  // Lets go of this reference; the rings' ArrayBuffers and the poller hold others.
  Napi::Value destroy(const Napi::CallbackInfo& info) {
    engine_.reset();
    return info.Env().Undefined();
  }

  std::shared_ptr<Engine> engine_;
};

// (path, offset, length) -> 0 or an errno
Napi::Value fallocate_path(const Napi::CallbackInfo& info) {
  std::string path;
  if (!read_string(info, 0, "path", &path)) return info.Env().Undefined();
  const double offset = info[1].ToNumber().DoubleValue();
  const double length = info[2].ToNumber().DoubleValue();
  if (!(offset >= 0 && length > 0 && offset + length < 9007199254740992.0)) {
    return Napi::Number::New(info.Env(), EINVAL);
  }
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return Napi::Number::New(info.Env(), errno);
  const int error = preallocate(fd, static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
  ::close(fd);
  return Napi::Number::New(info.Env(), error);
}

// (folder) -> whether files made there are mapped without the page cache; throws a system error.
// Asked of a file without a name, as folders do not say (statx(2), STATX_ATTR_DAX). A file system
// that cannot make one is not one for persistent memory: ext4 and xfs can.
Napi::Value is_dax(const Napi::CallbackInfo& info) {
  std::string folder;
  if (!read_string(info, 0, "folder", &folder)) return info.Env().Undefined();
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {
    if (errno != EOPNOTSUPP && errno != EISDIR) throw_errno(info.Env(), errno, folder);
    return Napi::Boolean::New(info.Env(), false);
  }
  // The system call itself: its struct in <sys/stat.h> differs between libraries.
  struct statx facts = {};
  const long status = ::syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0, &facts);
  ::close(fd);
  const uint64_t both = status == 0 ? facts.stx_attributes & facts.stx_attributes_mask : 0;
  return Napi::Boolean::New(info.Env(), (both & STATX_ATTR_DAX) != 0);
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", EngineObject::define(env));
  exports.Set("fallocate", Napi::Function::New(env, fallocate_path, "fallocate"));
  exports.Set("isDax", Napi::Function::New(env, is_dax, "isDax"));
  return exports;
}

}  // namespace

NODE_API_MODULE(sealfs_extent, initialise)

}  // namespace sealfs::extent
