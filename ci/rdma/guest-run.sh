#!/bin/bash
# Process 1 of the guest once its root is there: makes the RDMA hosts, runs the command, leaves its
# exit status on the shared folder and switches the machine off. Runs only inside the guest.
. /run/machine/vars
. /run/machine/environment
. "$checkout/ci/rdma/lib.sh"
. "$checkout/ci/rdma/guest-net.sh"
export SEALFS_MACHINE_OUT=/run/machine/out SEALFS_MACHINE_HOSTS=$hosts
[ -z "${SEALFS_COUNTS:-}" ] || export SEALFS_COUNTS=$SEALFS_MACHINE_OUT/.counts

mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr
ulimit -l unlimited
ulimit -n 65536
echo "$hostname" > /proc/sys/kernel/hostname
ip link set lo up
scratch=$(grep -l '^scratch' /sys/block/vd*/serial)
scratch=${scratch%/serial}
mount -o noatime "/dev/${scratch##*/}" /var/tmp
chmod 1777 /var/tmp
[ "$driver" = rxe ] || modprobe "$driver"
make_hosts "$hosts"
make_links "$hosts" $roles
# A blank NVDIMM becomes a DAX device once; after that the kernel knows it by what it reads there.
if [ -n "$pmem" ] && ! ndctl list -N | grep -q '"mode":"fsdax"'; then
  ndctl create-namespace -f -e namespace0.0 -m fsdax > /dev/null
fi

# The command writes to pipes, as on any host; two ports of the virtual serial bus carry them out,
# byte for byte.
mkfifo /run/machine/stdout /run/machine/stderr
cat < /run/machine/stdout > /dev/vport*p1 &
out=$!
cat < /run/machine/stderr > /dev/vport*p2 &
err=$!
(
  cd "$checkout" || exit 1
  . /run/machine/command
) < /dev/null > /run/machine/stdout 2> /run/machine/stderr
status=$?

# What the command left running ends now; the pipes then drain.
for process in /proc/[0-9]*; do
  case ${process#/proc/} in
    1 | "$out" | "$err") ;;
    *) kill -KILL "${process#/proc/}" 2> /dev/null ;;
  esac
done
for _ in {1..100}; do
  kill -0 "$out" 2> /dev/null || kill -0 "$err" 2> /dev/null || break
  sleep 0.05
done
echo "$status" > /run/machine/out/.status
exec busybox poweroff -f
