// Goal: the functions that this library stands in front of, as the program would have called them:
// the next definition in the order of loading, dlsym(3). Found at the first
// call.
#pragma once

#include <dlfcn.h>

#include <atomic>

namespace sealfs::intercept {

class NextBase {
 public:
  // Before it is needed where nothing can be looked up.
  void look_up() { (void)get(); }

 protected:
  explicit constexpr NextBase(const char* name) : name_(name) {}
  void* get() {
    void* found = found_.load(std::memory_order_relaxed);
    return found != nullptr ? found : find();
  }

 private:
  void* find();
  const char* const name_;
  std::atomic<void*> found_{nullptr};
};

template <typename Function>
class Next;

template <typename Result, typename... Arguments>
class Next<Result(Arguments...)> : public NextBase {
 public:
  explicit constexpr Next(const char* name) : NextBase(name) {}
  Result operator()(Arguments... arguments) {
    return reinterpret_cast<Result (*)(Arguments...)>(get())(arguments...);
  }
};

template <typename Result, typename... Arguments>
class Next<Result(Arguments..., ...)> : public NextBase {
 public:
  explicit constexpr Next(const char* name) : NextBase(name) {}
  template <typename... More>
  Result operator()(Arguments... arguments, More... more) {
    return reinterpret_cast<Result (*)(Arguments..., ...)>(get())(arguments..., more...);
  }
};

}  // namespace sealfs::intercept
