# Shared by the scripts of the Soft-RoCE machine: where its parts are kept between runs. Everything
# below the cache folder can be deleted; setup.sh makes it again.
machine_cache=${SEALFS_MACHINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealfs/rdma-machine}
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

fail() { # MESSAGE...
  echo "rdma machine: $*" >&2
  exit 1
}
