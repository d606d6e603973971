// Goal: which RDMA devices this machine has, what they can do, and why one cannot be used: for
// `sealfs doctor`, for the choice of a transport, and for the words of an error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sealfs::rdma {

struct GidInfo {
  uint32_t index = 0;
  std::string gid;      // as an IPv6 address
  std::string type;     // 'IB', 'RoCE v1', 'RoCE v2'
  std::string netdev;   // '' when it has none
  std::string address;  // IPv4 if it is one in IPv6's clothes, else as `gid`
};

struct DeviceInfo {
  std::string name;
  std::string kind;        // 'rxe', 'siw', or 'hardware'
  std::string node_guid;   // 16 hex digits
  std::string port_state;  // of port 1: 'ACTIVE', 'DOWN', …
  std::string link_layer;  // 'Ethernet', 'InfiniBand', ''
  std::vector<GidInfo> gids;
  bool windows = false;  // type 2, with send and invalidate
  uint32_t queue_pairs_max = 0;
  uint32_t send_depth_max = 0;
  uint32_t completions_max = 0;
  uint32_t shared_receives_max = 0;
  uint32_t gather_max = 0;
  uint32_t reads_out_max = 0;
  uint32_t reads_in_max = 0;
  uint32_t windows_max = 0;
  uint32_t active_mtu = 0;  // bytes
  std::string unusable;     // why no connection can be made over it; '' when one can
};

// Empty without devices or without their drivers; never fails.
std::vector<DeviceInfo> discover_devices();

// '' when a transport can be had, else why not and what would help.
std::string why_no_rdma(const std::vector<DeviceInfo>& devices);

// '' when `bytes` may be registered as far as the limit of locked memory goes, else what to do.
std::string why_not_locked(uint64_t bytes);

}  // namespace sealfs::rdma
