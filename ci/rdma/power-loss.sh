#!/usr/bin/env bash
# Pulls the power: boots the Soft-RoCE machine with persistent memory and a disk, ends it at a random
# moment under load, boots it again on the same images, and looks for every acknowledged change; so
# several times, then once more with metadata on the disk and --durability commit.
#
#   bash ci/rdma/power-loss.sh [--rounds N] [--disk-rounds N] [--seed N] [--keep DIR]
#
# Rounds: power cuts, 4 on persistent memory and 2 on the disk by default. --keep leaves images,
# journals and logs in DIR. What the test does: test/rdma/power-loss.ts.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

rounds=4 disk_rounds=2 seed=$((RANDOM * 32768 + RANDOM)) keep=''
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2 ;;
    --disk-rounds) disk_rounds=$2 ;;
    --seed) seed=$2 ;;
    --keep) keep=$2 ;;
    *) fail "unknown option $1; see the head of power-loss.sh" ;;
  esac
  shift 2
done
dist=${SEALFS_TEST_DIST:-dist}
[ -e "$checkout/$dist/test/rdma/power-loss.js" ] || fail "$dist/ is not built: npm run build"

folder=$keep
if [ -z "$folder" ]; then
  folder=$(mktemp -d "${TMPDIR:-/tmp}/sealfs-power-XXXXXX")
  trap 'rm -rf "$folder"' EXIT
fi
mkdir -p "$folder"
echo "power loss: seed $seed"

# Inside: mounts what the images hold (made when blank), and lives.
# shellcheck disable=SC2016 # expanded by the guest's shell
inside='
place=$1 dist=$2
shift 2
blkid /dev/vda > /dev/null || mkfs.ext4 -q /dev/vda
mkdir -p /mnt/disk
mount /dev/vda /mnt/disk
meta=/mnt/disk/meta durability=commit
if [ "$place" = pmem ]; then
  bash ci/rdma/guest-pmem.sh /mnt/pmem
  meta=/mnt/pmem/meta durability=default
fi
exec node "$dist/test/rdma/power-loss.js" "$@" "$meta" /mnt/disk/data "$durability"
'

lives() { # pmem|disk ROUNDS
  local place=$1 count=$2 round status expected images
  local at=$folder/$place
  rm -rf "$at"
  mkdir -p "$at"
  images=(--disk "$at/disk")
  [ "$place" = disk ] || images+=(--pmem "$at/pmem")
  for ((round = 1; round <= count + 1; round++)); do
    expected=137
    [ "$round" -le "$count" ] || expected=0
    status=0
    bash "$checkout/ci/rdma/boot.sh" --hosts 0 --timeout 300 --out "$at/out" "${images[@]}" \
      --kill-after-line 'power off' -- \
      bash -euc "$inside" power-loss "$place" "$dist" "$round" "$count" "$seed" || status=$?
    [ "$status" -eq "$expected" ] ||
      fail "metadata on $place, life $round: status $status, not $expected (seed $seed)"
  done
  echo "power loss: metadata on $place: nothing acknowledged was lost in $count power cuts"
}

[ "$rounds" -eq 0 ] || lives pmem "$rounds"
[ "$disk_rounds" -eq 0 ] || lives disk "$disk_rounds"
