#!/usr/bin/env bash
# Builds the siw module (Soft-iWARP), which Debian leaves out, for the machine's kernel: its source
# and the kernel's headers are downloaded and unpacked, nothing is installed. `boot.sh --siw` calls
# it. Safe to repeat; 140 MB are downloaded the first time and not kept.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bash "$checkout/ci/rdma/setup.sh" >&2
kernel=$machine_kernel
version=$(cat "$kernel/version")
module=$kernel/lib/modules/$version/extra/siw.ko
exec 9> "$machine_cache/.siw-lock"
flock 9
[ ! -f "$module" ] || exit 0
command -v gcc-12 > /dev/null || fail 'siw is built with the compiler of its kernel: install gcc-12'

echo 'building siw' >&2
build=$(mktemp -d "${TMPDIR:-/tmp}/sealfs-machine-XXXXXX")
trap 'rm -rf "$build"' EXIT
cd "$build"
# All of the very version that the machine boots; its package's name has it.
package=$(cd "$machine_cache/packages" && ls linux-image-"$version"_*.deb | sort -V | tail -1)
debian_version=$(cut -d _ -f 2 <<< "$package")
apt-get download -qq -o APT::Sandbox::User=root "linux-source-6.1=$debian_version" \
  "linux-headers-$version=$debian_version" "linux-headers-${version%-*}-common=$debian_version" \
  linux-kbuild-6.1
for package in linux-headers-*.deb linux-kbuild-*.deb; do
  dpkg -x "$package" .
done
dpkg-deb --fsys-tarfile linux-source-*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz |
  tar -xJ --wildcards '*/drivers/infiniband/sw/siw/*'

headers=$build/usr/src/linux-headers-$version
sed -i "s|include /usr/src|include $build/usr/src|" "$headers/Makefile"
make -s -C "$headers" M="$build/linux-source-6.1/drivers/infiniband/sw/siw" CONFIG_RDMA_SIW=m \
  CONFIG_DEBUG_INFO_BTF_MODULES= modules >&2
strip --strip-debug linux-source-6.1/drivers/infiniband/sw/siw/siw.ko
mkdir -p "$(dirname "$module")"
cp linux-source-6.1/drivers/infiniband/sw/siw/siw.ko "$module.new"
mv "$module.new" "$module"
depmod -b "$kernel" "$version"
