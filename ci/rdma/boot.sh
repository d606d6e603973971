#!/usr/bin/env bash
# Boots the Soft-RoCE machine (an emulated PC on Debian's kernel; the host's own root, read-only,
# with a tmpfs over it), runs a command in the checkout inside and exits as the command did.
#
#   bash ci/rdma/boot.sh [OPTIONS] -- COMMAND...
#
#   --hosts N        rxe devices on a switch, rxe0 at 10.77.0.1, rxe1 at 10.77.0.2 and on; default
#                    2, none with --link
#   --siw            Soft-iWARP devices, siw0, siw1 and on, in place of rxe
#   --memory MB      of the guest; default 2048
#   --timeout S      end the guest after so long; default 600
#   --out DIR        folder of the host that the guest sees, writable, as $SEALFS_MACHINE_OUT
#   --pmem FILE      persistent memory kept in FILE (made with 512 MB when absent): /dev/pmem0
#   --disk FILE      disk kept in FILE (made with 1 GB when absent): /dev/vda, /dev/vdb, ...
#   --link SOCKET:listen|connect
#                    a cable to another guest, with an rxe device of its own: 10.78.0.1 at the end
#                    that listens, 10.78.0.2 at the end that connects, 10.78.1.1 for a second cable
#   --kill-after-line TEXT
#                    power loss: end the guest at once when the command prints a line with TEXT
#
# Exit status: the command's; 124 after --timeout; 137 after --kill-after-line; 1, with a line that
# says so, when the guest died. Passed inside: PATH, HOME, LANG, TERM, CI, SEALFS_*, NODE_*; tests
# that append to $SEALFS_COUNTS are counted outside. /tmp is a tmpfs, /var/tmp an empty ext4.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

hosts='' driver=rxe memory=2048 timeout=600 out='' text='' pmem='' disks=() links=()
while [ $# -gt 0 ]; do
  case $1 in
    --hosts) hosts=$2 ;;
    --memory) memory=$2 ;;
    --timeout) timeout=$2 ;;
    --out) out=$2 ;;
    --pmem) pmem=$2 ;;
    --disk) disks+=("$2") ;;
    --link) links+=("$2") ;;
    --kill-after-line) text=$2 ;;
    --siw)
      driver=siw
      shift
      continue
      ;;
    --) shift && break ;;
    *) fail "unknown option $1; see the head of boot.sh" ;;
  esac
  shift 2
done
[ $# -gt 0 ] || fail 'no command: boot.sh [OPTIONS] -- COMMAND...'
[ -n "$hosts" ] || hosts=$((${#links[@]} > 0 ? 0 : 2))
bash "$(dirname "$0")/setup.sh" >&2
[ "$driver" = rxe ] || bash "$(dirname "$0")/siw.sh"

kernel=$machine_kernel
version=$(cat "$kernel/version")
run=$(mktemp -d "${TMPDIR:-/tmp}/sealfs-machine-XXXXXX")
qemu=''
cleanup() {
  exec 2> /dev/null # no word about the killed process from the shell
  [ -z "$qemu" ] || kill -KILL "$qemu" || true
  wait
  rm -rf "$run"
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
out=${out:-$run/out}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out/.status" "$out/.counts"

# Shell code for the guest's scripts: where things are, the environment, the command.
write_job() { # COMMAND...
  local name roles=''
  mkdir -p "$run/initramfs/job"
  cd "$run/initramfs"
  [ ${#links[@]} -eq 0 ] || roles=${links[*]##*:}
  printf '%s=%q\n' checkout "$checkout" modules "$kernel/lib/modules/$version" version "$version" \
    hostname "$(uname -n)" driver "$driver" hosts "$hosts" roles "$roles" pmem "$pmem" > job/vars
  for name in PATH HOME LANG TERM CI $(compgen -e | grep -E '^(SEALFS_|NODE_)' || true); do
    [ -z "${!name+set}" ] || printf 'export %s=%q\n' "$name" "${!name}"
  done > job/environment
  printf '%q ' "$@" > job/command
  install -m 755 "$checkout/ci/rdma/guest-boot.sh" init
  find . | cpio --quiet -o -H newc | cat "$kernel/base.cpio" - > "$run/initrd"
  cd "$checkout"
}

arguments=(
  -nodefaults -no-user-config -display none -no-reboot
  # Two cores, each a thread of the host. Without pclmulqdq rxe computes its checksums from a table,
  # which is half as fast again under emulation.
  -accel 'tcg,thread=multi' -cpu 'max,-pclmulqdq' -smp 2
  -kernel "$kernel/vmlinux" -initrd "$run/initrd"
  -append 'console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable clocksource=tsc'
  -chardev "file,id=console,path=$run/console" -serial chardev:console
  -virtfs 'local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap'
  -virtfs "local,path=$out,mount_tag=out,security_model=none,multidevs=remap"
  -device virtio-rng-pci -device virtio-serial-pci
  -chardev 'file,id=stdout,append=on,path=/dev/fd/3' -device 'virtserialport,chardev=stdout,nr=1'
  -chardev 'file,id=stderr,append=on,path=/dev/fd/4' -device 'virtserialport,chardev=stderr,nr=2'
)

add_storage() {
  local i
  if [ -n "$pmem" ]; then
    [ -e "$pmem" ] || truncate -s 512M "$pmem"
    arguments+=(-machine 'pc,nvdimm=on' -m "$memory,slots=2,maxmem=$((memory + 16384))M"
      -object "memory-backend-file,id=pmem,share=on,mem-path=$pmem,size=$(stat -Lc %s "$pmem")"
      -device 'nvdimm,memdev=pmem')
  else
    arguments+=(-machine pc -m "$memory")
  fi
  # A write that is done is in the host's page cache and outlives the guest; one that still is in
  # the guest's page cache does not. A flush goes through to the host's disk.
  for ((i = 0; i < ${#disks[@]}; i++)); do
    [ -e "${disks[i]}" ] || truncate -s 1G "${disks[i]}"
    arguments+=(-drive "if=none,id=disk$i,file=${disks[i]},format=raw,cache=writeback,discard=unmap"
      -device "virtio-blk-pci,drive=disk$i")
  done
  # Scratch space: what is under /var/tmp takes O_DIRECT, which an overlay on tmpfs does not.
  truncate -s 4G "$run/scratch"
  mkfs.ext4 -q -F -O ^has_journal "$run/scratch"
  arguments+=(-drive "if=none,id=scratch,file=$run/scratch,format=raw,cache=unsafe"
    -device 'virtio-blk-pci,drive=scratch,serial=scratch')
}

add_links() {
  local i server mac
  for ((i = 0; i < ${#links[@]}; i++)); do
    case ${links[i]##*:} in
      listen) server=on ;;
      connect) server=off ;;
      *) fail "--link ${links[i]}: say SOCKET:listen or SOCKET:connect" ;;
    esac
    mac=$(link_mac "$i" "${links[i]##*:}")
    arguments+=(
      -netdev "stream,id=link$i,server=$server,addr.type=unix,addr.path=${links[i]%:*}"
      -device "virtio-net-pci,netdev=link$i,mac=$mac,host_mtu=4200,romfile="
    )
  done
}

# Copies what the guest prints, and pulls the plug when a line says so.
copy_output() {
  if [ -z "$text" ]; then
    exec cat
  fi
  tee -p >(grep -q -m 1 -F -e "$text" && : > "$run/line-seen" && kill -KILL "$(cat "$run/pid")")
}

# timeout and QEMU each die with their parent, so that nothing is left when this script is killed.
start() {
  mkfifo "$run/stdout" "$run/stderr"
  copy_output < "$run/stdout" &
  readers=($!)
  copy_output < "$run/stderr" >&2 &
  readers+=($!)
  setpriv --pdeathsig KILL timeout --foreground -s KILL "$timeout" \
    setpriv --pdeathsig KILL qemu-system-x86_64 "${arguments[@]}" \
    < /dev/null > "$run/qemu" 2>&1 3> "$run/stdout" 4> "$run/stderr" &
  qemu=$!
  echo "$qemu" > "$run/pid"
}

report_death() {
  cat "$run/qemu" >&2
  if grep -q 'Kernel panic' "$run/console"; then
    grep -m 1 -B 3 -A 25 -E 'BUG:|Oops|Kernel panic' "$run/console" >&2
    fail 'the guest panicked; its console is above'
  fi
  tail -n 20 "$run/console" >&2 || true
  fail 'the guest ended without an exit status; its console is above'
}

write_job "$@"
add_storage
add_links
start
wait "$qemu" 2> /dev/null || true
qemu=''
wait "${readers[@]}" || true
# Tests that ran inside are counted with those outside.
if [ -n "${SEALFS_COUNTS:-}" ] && [ -f "$out/.counts" ]; then
  cat "$out/.counts" >> "$SEALFS_COUNTS"
  if [ -f "$out/.counts.failures" ]; then cat "$out/.counts.failures" >> "$SEALFS_COUNTS.failures"; fi
fi
if [ -e "$run/line-seen" ]; then
  exit 137
elif [ -s "$out/.status" ]; then
  exit "$(cat "$out/.status")"
elif [ "$SECONDS" -ge "$timeout" ]; then
  echo "rdma machine: ended, the command took longer than $timeout s" >&2
  exit 124
fi
report_death
