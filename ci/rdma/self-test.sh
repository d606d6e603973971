#!/usr/bin/env bash
# Tests the Soft-RoCE machine itself: exit status, output byte for byte, timeout, power loss on a
# line, storage that survives it, packets that really cross between two hosts, a broken cable, two
# guests on a cable. About a minute on an idle machine.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
bash "$checkout/ci/rdma/setup.sh" || exit 1
boot() { bash "$checkout/ci/rdma/boot.sh" --timeout 120 "$@"; }
folder=$(mktemp -d "${TMPDIR:-/tmp}/sealfs-machine-XXXXXX")
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0

check() { # NAME EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1))
    echo "  ok: $1"
  else
    failed=$((failed + 1))
    printf '  FAILED: %s\n    expected: %s\n    actual: %s\n' "$1" "$2" "$3"
  fi
}

boot --hosts 0 --out "$folder/out" -- bash -c '
  head -c 1000000 /dev/urandom | tee "$SEALFS_MACHINE_OUT/sent"; echo aside >&2; exit 7' \
  > "$folder/stdout" 2> "$folder/stderr"
check 'exit status of the command' 7 $?
check 'stdout byte for byte' "$(sha256sum < "$folder/out/sent")" "$(sha256sum < "$folder/stdout")"
check 'stderr apart' aside "$(cat "$folder/stderr")"

boot --hosts 0 --timeout 6 -- sleep 1000 2> "$folder/stderr"
check 'exit status after the timeout' 124 $?
boot --hosts 0 -- sh -c 'echo c > /proc/sysrq-trigger' 2> "$folder/stderr"
check 'a panic is told' 'rdma machine: the guest panicked; its console is above' \
  "$(tail -n 1 "$folder/stderr")"

# Power loss: what was flushed is there in the next guest.
storage=(--hosts 0 --pmem "$folder/pmem" --disk "$folder/disk")
boot "${storage[@]}" --kill-after-line 'pull the plug' -- bash -ec '
  bash ci/rdma/guest-pmem.sh /mnt/pmem
  mkfs.ext4 -q /dev/vda; mkdir /mnt/disk; mount /dev/vda /mnt/disk
  echo kept > /mnt/pmem/a; echo kept > /mnt/disk/a; sync /mnt/pmem/a /mnt/disk/a
  echo pull the plug; sleep 1000' > /dev/null
check 'exit status after power loss' 137 $?
check 'pmem and disk after power loss' 'kept kept' "$(boot "${storage[@]}" -- bash -ec '
  bash ci/rdma/guest-pmem.sh /mnt/pmem; mkdir /mnt/disk; mount /dev/vda /mnt/disk
  echo $(cat /mnt/pmem/a /mnt/disk/a)')"

# One guest, two hosts: RDMA CM between them goes over the veths, and stops when a cable is out.
check 'RDMA CM crosses the switch, with a source and without; a host without carrier is down' \
  'crossed crossed ACTIVE DOWN ACTIVE' "$(boot -- bash -c '
  sent() { cat /sys/class/net/net0/statistics/tx_packets; }
  state() { rdma link show rxe0/1 | cut -d " " -f 4; }
  for source in "-I 10.77.0.1" ""; do
    rping -s -a 10.77.0.2 -C 20 > /dev/null 2>&1 & sleep 1
    before=$(sent)
    timeout 30 rping -c -a 10.77.0.2 $source -C 20 > /dev/null 2>&1
    [ $(($(sent) - before)) -ge 60 ] && echo crossed
  done
  state; bash ci/rdma/guest-link.sh 0 down; state; bash ci/rdma/guest-link.sh 0 up; state' | xargs)"

bash "$checkout/ci/rdma/pair.sh" --timeout 120 -- timeout 100 rping -s -a 10.78.0.1 -C 5 -- \
  sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do
    timeout 20 rping -c -a 10.78.0.1 -C 5 && exit 0; sleep 1; done; exit 1' > "$folder/stdout" 2>&1
check 'two guests on a cable' 0 $?

[ -z "${SEALFS_COUNTS:-}" ] || echo "$passed $failed 0" >> "$SEALFS_COUNTS"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
