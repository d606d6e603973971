// Goal: discover.h. Method: libibverbs' list of devices, each opened, asked and closed again.
#include "native/rdma/discover.h"

#include <arpa/inet.h>
#include <endian.h>
#include <infiniband/verbs.h>
#include <linux/capability.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>

namespace sealfs::rdma {
namespace {

constexpr uint32_t kVendorRxe = 0xffffff;
constexpr uint32_t kVendorSiw = 0x626d74;
constexpr size_t kGidsMax = 64;

struct CloseDevice {
  void operator()(ibv_context* context) const { (void)ibv_close_device(context); }
};

std::string upper(const char* text) {
  std::string out(text == nullptr ? "" : text);
  if (out.starts_with("PORT_")) out = out.substr(5);
  return out;
}

void read_gids(ibv_context* context, DeviceInfo* info) {
  std::array<ibv_gid_entry, kGidsMax> entries;
  const ssize_t count = ibv_query_gid_table(context, entries.data(), entries.size(), 0);
  for (ssize_t i = 0; i < count; i++) {
    const ibv_gid_entry& entry = entries[static_cast<size_t>(i)];
    GidInfo gid;
    char text[INET6_ADDRSTRLEN];
    gid.index = entry.gid_index;
    gid.gid = inet_ntop(AF_INET6, entry.gid.raw, text, sizeof text);
    const auto* address = reinterpret_cast<const in6_addr*>(entry.gid.raw);
    gid.address = IN6_IS_ADDR_V4MAPPED(address)
                      ? inet_ntop(AF_INET, entry.gid.raw + 12, text, sizeof text)
                      : gid.gid;
    gid.type = entry.gid_type == IBV_GID_TYPE_ROCE_V2   ? "RoCE v2"
               : entry.gid_type == IBV_GID_TYPE_ROCE_V1 ? "RoCE v1"
                                                        : "IB";
    char name[IF_NAMESIZE];
    if (entry.ndev_ifindex != 0 && if_indextoname(entry.ndev_ifindex, name) != nullptr) {
      gid.netdev = name;
    }
    info->gids.push_back(std::move(gid));
  }
}

void read_port(ibv_context* context, DeviceInfo* info) {
  ibv_port_attr port{};
  if (ibv_query_port(context, 1, &port) != 0) {
    info->unusable = "port 1 cannot be queried";
    return;
  }
  info->port_state = upper(ibv_port_state_str(port.state));
  info->active_mtu = 128u << port.active_mtu;
  if (port.link_layer == IBV_LINK_LAYER_ETHERNET) info->link_layer = "Ethernet";
  if (port.link_layer == IBV_LINK_LAYER_INFINIBAND) info->link_layer = "InfiniBand";
  if (port.state != IBV_PORT_ACTIVE) {
    info->unusable = "port 1 is " + info->port_state + ", not ACTIVE (is its net device up?)";
  } else if (info->gids.empty()) {
    info->unusable = "it has no GID (its net device needs an address)";
  }
}

DeviceInfo ask(ibv_device* device) {
  DeviceInfo info;
  info.name = ibv_get_device_name(device);
  char guid[17];
  snprintf(guid, sizeof guid, "%016lx",
           static_cast<unsigned long>(be64toh(ibv_get_device_guid(device))));
  info.node_guid = guid;
  std::unique_ptr<ibv_context, CloseDevice> context(ibv_open_device(device));
  ibv_device_attr attr{};
  if (!context || ibv_query_device(context.get(), &attr) != 0) {
    info.unusable = "it cannot be opened (may this user open /dev/infiniband/uverbs*?)";
    return info;
  }
  info.kind = attr.vendor_id == kVendorRxe   ? "rxe"
              : attr.vendor_id == kVendorSiw ? "siw"
                                             : "hardware";
  const unsigned typed = IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B;
  info.windows = attr.max_mw > 0 && (attr.device_cap_flags & typed) != 0 &&
                 (attr.device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS) != 0 &&
                 device->transport_type != IBV_TRANSPORT_IWARP;
  info.queue_pairs_max = static_cast<uint32_t>(attr.max_qp);
  info.send_depth_max = static_cast<uint32_t>(attr.max_qp_wr);
  info.completions_max = static_cast<uint32_t>(attr.max_cqe);
  info.shared_receives_max = static_cast<uint32_t>(attr.max_srq_wr);
  info.gather_max = static_cast<uint32_t>(attr.max_sge);
  info.reads_out_max = static_cast<uint32_t>(attr.max_qp_init_rd_atom);
  info.reads_in_max = static_cast<uint32_t>(attr.max_qp_rd_atom);
  info.windows_max = static_cast<uint32_t>(attr.max_mw);
  read_gids(context.get(), &info);
  read_port(context.get(), &info);
  return info;
}

bool may_lock_any() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (!line.starts_with("CapEff:")) continue;
    return (strtoull(line.c_str() + 7, nullptr, 16) >> CAP_IPC_LOCK & 1) != 0;
  }
  return false;
}

}  // namespace

std::vector<DeviceInfo> discover_devices() {
  std::vector<DeviceInfo> out;
  int count = 0;
  ibv_device** list = ibv_get_device_list(&count);
  if (list == nullptr) return out;
  for (int i = 0; i < count; i++) out.push_back(ask(list[i]));
  ibv_free_device_list(list);
  return out;
}

std::string why_no_rdma(const std::vector<DeviceInfo>& devices) {
  if (devices.empty()) {
    return "no RDMA device (ibv_devices lists none; for Soft-RoCE: rdma link add rxe0 type rxe "
           "netdev NETDEV)";
  }
  std::string reasons;
  for (const DeviceInfo& device : devices) {
    if (device.unusable.empty()) {
      if (access("/sys/class/misc/rdma_cm", F_OK) == 0) return "";
      return "the RDMA connection manager is not there: modprobe rdma_ucm";
    }
    reasons += (reasons.empty() ? "" : "; ") + device.name + ": " + device.unusable;
  }
  return "no usable RDMA device: " + reasons;
}

std::string why_not_locked(uint64_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      limit.rlim_cur >= bytes || may_lock_any()) {
    return "";
  }
  return "registering the arena's " + std::to_string(bytes >> 20) +
         " MiB failed: the limit of locked memory is " + std::to_string(limit.rlim_cur >> 20) +
         " MiB; raise it with `ulimit -l unlimited` (or LimitMEMLOCK=infinity in the service)";
}

}  // namespace sealfs::rdma
