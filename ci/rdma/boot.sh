#!/usr/bin/env bash
# Boots the Soft-RoCE machine (an emulated PC on Debian's kernel; the host's own root, read-only, with
# a tmpfs over it), runs a command in the checkout inside and exits as the command did.
#
#   bash ci/rdma/boot.sh [--hosts N] [--memory MB] [--timeout S] [--out DIR] [--kill-after-line TEXT]
#                        [--pmem FILE] [--disk FILE]... [--link SOCKET:listen|connect]... -- COMMAND...
#
# Exit status: the command's; 124 after --timeout; 137 when ended by --kill-after-line; 1 with a line
# that says so when the guest died. Files for the host: $SEALFS_MACHINE_OUT inside, DIR outside.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

hosts=2 memory=2048 timeout=600 out= text= pmem= disks=() links=()
while [ $# -gt 0 ]; do
  case $1 in
    --hosts) hosts=$2 ;;
    --memory) memory=$2 ;;
    --timeout) timeout=$2 ;;
    --out) out=$2 ;;
    --kill-after-line) text=$2 ;;
    --pmem) pmem=$2 ;;
    --disk) disks+=("$2") ;;
    --link) links+=("$2") ;;
    --) shift && break ;;
    *) fail "unknown option $1" ;;
  esac
  shift 2
done
[ $# -gt 0 ] || fail 'no command: boot.sh [OPTIONS] -- COMMAND...'
bash "$(dirname "$0")/setup.sh" >&2

kernel=$machine_cache/kernel
version=$(cat "$kernel/version")
run=$(mktemp -d "${TMPDIR:-/tmp}/sealfs-machine-XXXXXX")
qemu= watchdog=
cleanup() {
  [ -z "$watchdog" ] || kill "$watchdog" 2> /dev/null || true
  [ -z "$qemu" ] || kill -KILL "$qemu" 2> /dev/null || true
  rm -rf "$run"
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
out=${out:-$run/out}
mkdir -p "$out" "$run/job/job"
out=$(cd "$out" && pwd)
rm -f "$out/.status"

# The job: read by the guest's scripts as shell code.
{
  printf '%s=%q\n' checkout "$checkout" modules "$kernel/lib/modules/$version" version "$version"
  printf '%s=%q\n' hosts "$hosts"
} > "$run/job/job/vars"
for name in PATH HOME LANG TERM CI $(compgen -e | grep -E '^(SEALFS_|NODE_)' || true); do
  [ -z "${!name+set}" ] || printf 'export %s=%q\n' "$name" "${!name}"
done > "$run/job/job/environment"
printf '%q ' "$@" > "$run/job/job/command"
install -m 755 "$checkout/ci/rdma/guest-boot.sh" "$run/job/init"
(cd "$run/job" && find . | cpio --quiet -o -H newc) > "$run/job.cpio"
cat "$kernel/base.cpio" "$run/job.cpio" > "$run/initrd"

arguments=(
  # Two cores, each a thread of the host. Without pclmulqdq rxe computes its checksums from a table,
  # which is half as fast again under emulation.
  -machine pc -accel tcg,thread=multi -cpu max,-pclmulqdq -smp 2 -m "$memory"
  -nodefaults -no-user-config -display none -no-reboot
  -kernel "$kernel/vmlinux" -initrd "$run/initrd"
  -append 'console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable clocksource=tsc'
  -chardev "file,id=console,path=$run/console" -serial chardev:console
  -virtfs local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap
  -virtfs "local,path=$out,mount_tag=out,security_model=none,multidevs=remap"
  -device virtio-serial-pci
  -chardev "file,id=stdout,append=on,path=/dev/fd/3" -device virtserialport,chardev=stdout,nr=1
  -chardev "file,id=stderr,append=on,path=/dev/fd/4" -device virtserialport,chardev=stderr,nr=2
  -device virtio-rng-pci
)

mkfifo "$run/stdout" "$run/stderr"
end_machine() { # REASON: for the readers and the watchdog, which run beside this script
  echo "$1" > "$run/reason"
  kill -KILL "$(cat "$run/pid")"
}
if [ -n "$text" ]; then
  tee -p >(grep -q -m 1 -F -e "$text" && end_machine line) < "$run/stdout" &
else
  cat "$run/stdout" &
fi
readers=$!
cat "$run/stderr" >&2 &
readers="$readers $!"
setpriv --pdeathsig KILL qemu-system-x86_64 "${arguments[@]}" \
  < /dev/null > "$run/qemu" 2>&1 3> "$run/stdout" 4> "$run/stderr" &
qemu=$!
echo "$qemu" > "$run/pid"
(
  trap 'kill "$sleep"' TERM
  sleep "$timeout" &
  sleep=$!
  wait "$sleep" && end_machine timeout
) > /dev/null 2>&1 &
watchdog=$!
wait "$qemu" 2> /dev/null || true
qemu=
# shellcheck disable=SC2086 # two process ids
wait $readers || true

case $(cat "$run/reason" 2> /dev/null || true) in
  timeout)
    echo "rdma machine: ended, the command took longer than $timeout s" >&2
    exit 124
    ;;
  line) exit 137 ;;
esac
if [ ! -s "$out/.status" ]; then
  tail -n 30 "$run/qemu" "$run/console" >&2 || true
  if grep -q 'Kernel panic' "$run/console"; then
    fail 'the guest panicked; its console is above'
  fi
  fail 'the guest ended without an exit status; its console is above'
fi
status=$(cat "$out/.status")
rm -f "$out/.status"
exit "$status"
