#!/usr/bin/env bash
# Mounts /dev/pmem0 of a guest that was booted with --pmem, as a DAX file system; makes one (ext4,
# or xfs with FSTYPE=xfs) when it is blank. Afterwards mmap with MAP_SYNC works below MOUNTPOINT.
#
#   bash ci/rdma/guest-pmem.sh MOUNTPOINT
set -euo pipefail
type=$(blkid -o value -s TYPE /dev/pmem0 || true)
if [ -z "$type" ]; then
  type=${FSTYPE:-ext4}
  case $type in
    ext4) mkfs.ext4 -q -b 4096 /dev/pmem0 ;;
    # DAX and shared extents exclude each other on this kernel.
    xfs) mkfs.xfs -q -m reflink=0 /dev/pmem0 ;;
  esac
fi
mkdir -p "$1"
mount -t "$type" -o dax=always /dev/pmem0 "$1"
