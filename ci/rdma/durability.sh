#!/usr/bin/env bash
# Measures inside the Soft-RoCE machine what a power-safe commit costs on persistent memory and on a
# disk: test/rdma/durability-rates.ts. Times of an emulated machine: only the ratios mean something.
#
#   bash ci/rdma/durability.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
dist=${SEALFS_TEST_DIST:-dist}
[ -e "$checkout/$dist/test/rdma/durability-rates.js" ] || fail "$dist/ is not built: npm run build"
folder=$(mktemp -d "${TMPDIR:-/tmp}/sealfs-durability-XXXXXX")
trap 'rm -rf "$folder"' EXIT
# shellcheck disable=SC2016 # expanded by the guest's shell
bash "$checkout/ci/rdma/boot.sh" --hosts 0 --pmem "$folder/pmem" --disk "$folder/disk" -- \
  bash -euc '
    bash ci/rdma/guest-pmem.sh /mnt/pmem
    mkfs.ext4 -q /dev/vda
    mkdir -p /mnt/disk
    mount /dev/vda /mnt/disk
    node "$1/test/rdma/durability-rates.js" /mnt/pmem /mnt/disk
  ' durability "$dist"
