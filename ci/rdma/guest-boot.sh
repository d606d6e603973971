#!/bin/busybox sh
# /init of the guest's initramfs: loads the modules, makes a root of the host's own root (read-only
# over 9p) with a tmpfs on top, and hands over to guest-run.sh of the checkout, which then is
# process 1. /job, written by boot.sh, says where things are.
export PATH=/bin
/bin/busybox --install -s /bin
. /job/vars
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
  insmod "/modules/$module" || echo "guest: $module does not load"
done < /modules/list

mount -t tmpfs -o mode=755 overlay /overlay
mkdir /overlay/lower /overlay/upper /overlay/work
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose hostroot /overlay/lower
mount -t overlay -o lowerdir=/overlay/lower,upperdir=/overlay/upper,workdir=/overlay/work root \
  /newroot

# A checkout or a kernel below /tmp or /run stays visible where it is.
mkdir /keep-checkout /keep-modules
mount -o bind "/newroot$checkout" /keep-checkout
mount -o bind "/overlay/lower$modules" /keep-modules
for folder in tmp run; do
  mkdir -p "/newroot/$folder"
  mount -t tmpfs -o mode=1777 $folder "/newroot/$folder"
done
mkdir -p "/newroot$checkout" "/newroot/lib/modules/$version" /newroot/run/machine/out
mount -o move /keep-checkout "/newroot$checkout"
mount -o move /keep-modules "/newroot/lib/modules/$version"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576 out /newroot/run/machine/out
cp /job/* /newroot/run/machine/

for folder in dev proc sys; do
  mount -o move /$folder /newroot/$folder
done
exec switch_root /newroot /bin/bash "$checkout/ci/rdma/guest-run.sh"
