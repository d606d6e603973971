#!/usr/bin/env bash
# Inside one of two Soft-RoCE machines joined by a cable: runs the README's own lines for that host of
# its two-host cluster, so that they stay true, and on the client checks a tree of files besides.
#
#   bash ci/rdma/pair.sh -- bash test/rdma/two-hosts.sh node1 -- bash test/rdma/two-hosts.sh node2
set -euo pipefail
cd "$(dirname "$0")/../.."
readme=$PWD/README.md
program=$PWD/bin/sealfs.js
sealfs() { node "$program" "$@"; }
manager=10.78.0.1

# The README's block of shell lines that begins with "# on NODE".
lines_of() {
  awk -v first="# on $1:" '
    /^```/ { inside = !inside; wanted = 0; start = inside; next }
    start { wanted = index($0, first) == 1; start = 0 }
    inside && wanted { print }' "$readme" | grep . || {
    echo "README.md has no lines for $1" >&2
    return 1
  }
}

# What the manager answers; without a process of node, which would be dear here.
ask() { # PATH
  { exec 3<> "/dev/tcp/$manager/7300"; } 2> /dev/null || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3
  cat <&3
}
has_volume() { ask /v1/volumes | grep -q '"name":"scratch"'; }

node1() {
  # Room that takes O_DIRECT, where a server has its disk.
  mkdir -p /var/lib/sealfs
  mount --bind /var/tmp /var/lib/sealfs
  eval "$(lines_of node1)"
  until has_volume; do sleep 1; done
  while has_volume; do sleep 1; done
}

node2() {
  local checkout=$PWD
  # Membership is fixed by the first volume: the server must be there.
  until ask /v1/servers | grep -q '"state":"up"'; do sleep 1; done
  cd "$SEALFS_MACHINE_OUT"
  eval "$(lines_of node2)"
  grep TOTAL io500-results/*/result_summary.txt
  cd "$checkout"
  timeout 100 cp -r docs schema /mnt/scratch/
  timeout 100 diff -r docs /mnt/scratch/docs
  timeout 100 diff -r schema /mnt/scratch/schema
  sealfs umount /mnt/scratch
  sealfs volume delete scratch --recursive --manager "http://$manager:7300"
}

"$1"
