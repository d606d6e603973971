#!/usr/bin/env bash
# Inside one of two Soft-RoCE machines joined by a cable: a cluster on guest 0, a mount on guest 1,
# both over rdma. The client says that it is done by making a volume of that name.
#
#   bash ci/rdma/pair.sh -- bash ci/rdma/guest-pair.sh server -- bash ci/rdma/guest-pair.sh client
set -euo pipefail
cd "$(dirname "$0")/../.."
export SEALFS_MANAGER=http://10.78.0.1:7300
sealfs() { node bin/sealfs.js "$@"; }

serve() {
  mkdir -p /var/tmp/meta
  sealfs manager --listen 10.78.0.1:7300 --store lmdb:/var/tmp/manager &
  sealfs server --listen 10.78.0.1:0 --meta-dir /var/tmp/meta --data /var/tmp/data:512M \
    --targets 1 --transport rdma &
  until sealfs volume show done > /dev/null 2>&1; do sleep 1; done
}

use() {
  local mount=/mnt/sealfs
  until sealfs volume create pair > /dev/null 2>&1; do sleep 1; done
  mkdir -p "$mount"
  sealfs mount pair "$mount" --transport rdma
  head -c 20000000 /dev/urandom > /tmp/sent
  timeout 120 cp /tmp/sent "$mount/one"
  timeout 60 mkdir "$mount/folder"
  for i in $(seq 50); do echo "$i" > "$mount/folder/$i"; done
  timeout 120 cmp /tmp/sent "$mount/one"
  [ "$(timeout 60 cat "$mount"/folder/* | sort -n | tail -n 1)" = 50 ]
  timeout 60 mv "$mount/folder" "$mount/renamed"
  [ "$(timeout 60 ls "$mount/renamed" | wc -l)" = 50 ]
  sealfs umount "$mount"
  sealfs volume create done > /dev/null
  echo 'two machines: 20 MB and 50 small files came back over rdma'
}

case $1 in
  server) serve ;;
  client) use ;;
esac
