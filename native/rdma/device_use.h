// Goal: a device that was removed from the machine is let go of as soon as nothing of this process
// uses it. Kernels that cannot take a device (rxe, siw) from under its users wait for that with its
// removal, and whoever removes it with them.
//
// Method: librdmacm opens a device once for all threads and keeps it open: until it looks for
// devices the next time, and for ever if there is none left to be found. So users are counted here,
// for the whole process, and the last one that leaves a removed device closes its files behind
// librdmacm's back. Its descriptors then lead nowhere, and librdmacm closes those when it comes to
// it.
#pragma once

#include <infiniband/verbs.h>

namespace sealfs::rdma {

class DeviceUse {
 public:
  // Null is no device.
  explicit DeviceUse(ibv_context* verbs);
  // A user's id of librdmacm goes after this, since it is what keeps `verbs` allocated.
  ~DeviceUse();
  DeviceUse(const DeviceUse&) = delete;
  DeviceUse& operator=(const DeviceUse&) = delete;

  // The device is gone: the last one to leave closes it.
  void removed() const;

 private:
  ibv_context* const verbs_;
};

}  // namespace sealfs::rdma
