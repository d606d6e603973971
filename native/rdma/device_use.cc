// Goal and method: device_use.h.
#include "native/rdma/device_use.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace sealfs::rdma {
namespace {

struct Users {
  uint32_t count = 0;
  bool removed = false;
};

std::mutex mutex;
std::unordered_map<ibv_context*, Users>& users() {
  static std::unordered_map<ibv_context*, Users> all;
  return all;
}

void close_files(const ibv_context& verbs) {
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere < 0) return;  // out of descriptors: the removal goes on waiting
  (void)dup3(nowhere, verbs.cmd_fd, O_CLOEXEC);
  (void)dup3(nowhere, verbs.async_fd, O_CLOEXEC);
  ::close(nowhere);
}

}  // namespace

DeviceUse::DeviceUse(ibv_context* verbs) : verbs_(verbs) {
  if (verbs_ == nullptr) return;
  const std::lock_guard lock(mutex);
  users()[verbs_].count++;
}

DeviceUse::~DeviceUse() {
  if (verbs_ == nullptr) return;
  const std::lock_guard lock(mutex);
  const auto found = users().find(verbs_);
  if (--found->second.count > 0) return;
  if (found->second.removed) close_files(*verbs_);
  users().erase(found);
}

void DeviceUse::removed() const {
  if (verbs_ == nullptr) return;
  const std::lock_guard lock(mutex);
  users()[verbs_].removed = true;
}

}  // namespace sealfs::rdma
