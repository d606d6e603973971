# Shared by the scripts of the Soft-RoCE machine, on the host and inside. The cache folder keeps its
# parts between runs; everything below it can be deleted, setup.sh makes it again.
machine_cache=${SEALFS_MACHINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealfs/rdma-machine}
PATH=$PATH:/usr/sbin:/sbin # mkfs, modprobe and depmod, for who is not root
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# What boots: vmlinux, base.cpio, lib/modules. Named by the script that makes it, so that checkouts of
# several versions share the cache, and none is changed under a guest that runs.
machine_kernel=$machine_cache/kernel-$(sha256sum < "$checkout/ci/rdma/setup.sh" | cut -c 1-12)

fail() { # MESSAGE...
  echo "rdma machine: $*" >&2
  exit 1
}

# Both ends of a cable between two guests: address and MAC by the link's number and the end's role.
link_end() { [ "$1" = listen ] && echo 1 || echo 2; }
link_mac() { printf '02:00:0a:4e:%02x:%02x' "$1" "$(link_end "$2")"; } # LINK ROLE
