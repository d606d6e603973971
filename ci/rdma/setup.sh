#!/usr/bin/env bash
# Makes the Soft-RoCE machine ready: Debian packages that are missing, and in the cache folder
# Debian's kernel (downloaded and unpacked, never installed) with a base initramfs. Safe to repeat;
# the second time it only looks. The host's own kernel needs no RDMA, no modules and no KVM.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

packages=(qemu-system-x86 busybox-static kmod cpio xz-utils util-linux iproute2 rdma-core
  ibverbs-utils ibverbs-providers rdmacm-utils perftest libibverbs-dev librdmacm-dev ndctl
  e2fsprogs xfsprogs)

# Loaded by the guest in this order, each with what it depends on. The first line is what the root
# file system and the output need; the rest is RDMA, the bridge between hosts, disks and pmem.
modules=(virtio_pci virtio_console 9pnet_virtio 9p overlay
  crc32_generic crc32c_generic rdma_rxe rdma_ucm veth bridge sch_netem virtio_net
  virtio_blk ext4 nfit nd_pmem fuse)

install_packages() {
  local missing=() package
  for package in "${packages[@]}"; do
    if ! dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q 'ok installed'; then
      missing+=("$package")
    fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    fail "Debian packages are missing; install them with:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
  fi
  echo "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

kernel_package() {
  { apt-cache depends linux-image-amd64 2> /dev/null || true; } |
    awk '/Depends: linux-image-/ && !name { name = $2 } END { print name }'
}

# The kernel is the one that Debian's meta package names today. apt-get download needs no root, but
# its package lists.
download_kernel() { # into the folder $1
  local package
  package=$(kernel_package)
  if [ -z "$package" ] && [ "$(id -u)" -eq 0 ]; then
    apt-get update -qq
    package=$(kernel_package)
  fi
  [ -n "$package" ] || fail 'apt knows no linux-image-amd64; run apt-get update'
  echo "downloading: $package"
  # Fetched as root without apt's sandbox user, who may not write into a home folder.
  if ! (cd "$1" && apt-get download -qq -o APT::Sandbox::User=root "$package"); then
    # Lists that are older than the archive name a version which is gone.
    [ "$(id -u)" -eq 0 ] || fail "could not download $package; run apt-get update"
    apt-get update -qq
    (cd "$1" && apt-get download -qq -o APT::Sandbox::User=root "$package")
  fi
}

# The payload of a bzImage is the compressed vmlinux; its place is in the boot header (Linux x86
# boot protocol: setup_sects at 0x1f1, payload_offset at 0x248, payload_length at 0x24c). The last
# four bytes of the payload are the unpacked size. A bare vmlinux spares the guest the unpacking.
extract_vmlinux() { # BZIMAGE VMLINUX
  local setup_sects offset length
  read -r setup_sects < <(od -An -tu1 -j 0x1f1 -N 1 "$1")
  read -r offset < <(od -An -tu4 -j 0x248 -N 4 "$1")
  read -r length < <(od -An -tu4 -j 0x24c -N 4 "$1")
  dd if="$1" bs=1M iflag=skip_bytes,count_bytes status=none \
    skip=$(((setup_sects + 1) * 512 + offset)) count=$((length - 4)) | xz -dc > "$2"
}

unpack_kernel() { # DEB FOLDER: writes FOLDER/vmlinux, FOLDER/version and FOLDER/lib/modules
  local version=$2/version skipped
  # Drivers of hardware that the guest has not: most of what the package weighs.
  skipped=(gpu media staging usb iio hwmon input video scsi net/wireless net/ethernet)
  mkdir -p "$2/unpacked"
  dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2/unpacked" --exclude='*/kernel/sound' \
    "${skipped[@]/#/--exclude=*/kernel/drivers/}"
  basename "$2"/unpacked/lib/modules/* > "$version"
  extract_vmlinux "$2/unpacked/boot/vmlinuz-$(cat "$version")" "$2/vmlinux"
  mv "$2/unpacked/lib" "$2/lib"
  rm -r "$2/unpacked"
  depmod -b "$2" "$(cat "$version")"
}

# busybox and the modules; boot.sh adds /init and the job to it for each guest.
make_initramfs() { # FOLDER: writes FOLDER/base.cpio
  local root=$1/initramfs module path version
  version=$(cat "$1/version")
  mkdir -p "$root"/{bin,modules,proc,sys,dev,overlay,newroot}
  cp "$(command -v busybox)" "$root/bin/busybox"
  ln -s busybox "$root/bin/sh"
  # An empty configuration: the host's own modprobe.d must not change what is loaded here.
  for module in "${modules[@]}"; do
    modprobe -C /dev/null -d "$1" -S "$version" --show-depends "$module" |
      awk '/^insmod/ { print $2 }'
  done | awk '!seen[$0]++' | while read -r path; do
    cp "$path" "$root/modules/"
    basename "$path"
  done > "$1/modules.list"
  cp "$1/modules.list" "$root/modules/list"
  (cd "$root" && find . | cpio --quiet -o -H newc) > "$1/base.cpio"
  rm -r "$root"
}

install_packages
mkdir -p "$machine_cache"
(
  flock 9
  if [ ! -d "$machine_kernel" ]; then
    fresh=$machine_kernel.new
    rm -rf "$fresh"
    mkdir -p "$fresh" "$machine_cache/packages"
    if ! ls "$machine_cache"/packages/linux-image-*.deb > /dev/null 2>&1; then
      # Moved when whole: a download that broke off must not be taken for the package.
      download_kernel "$fresh"
      mv "$fresh"/linux-image-*.deb "$machine_cache/packages/"
    fi
    unpack_kernel "$(ls "$machine_cache"/packages/linux-image-*.deb | sort -V | tail -1)" "$fresh"
    make_initramfs "$fresh"
    mv "$fresh" "$machine_kernel"
    echo "kernel $(cat "$machine_kernel/version") is ready"
  fi
  # Those that no checkout has used for a week.
  touch "$machine_kernel"
  find "$machine_cache" -maxdepth 1 -name 'kernel*' -mtime +7 -exec rm -rf {} +
) 9> "$machine_cache/.lock"
