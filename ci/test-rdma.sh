#!/usr/bin/env bash
# npm run test:rdma: everything that needs RDMA devices or persistent memory, in the Soft-RoCE machine
# (docs/rdma-machine.md). Expects nothing but a checkout. Each step is a command that can be run alone;
# what a guest leaves behind (logs, the IO500's result files) is below build/rdma.
set -uo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test || exit 1
bash ci/rdma/setup.sh || exit 1
. ci/lib.sh
out=build/rdma
mkdir -p "$out"

boot() { # NAME TIMEOUT [BOOT OPTIONS...] -- COMMAND...
  local status=0
  rm -rf "${out:?}/$1"
  bash ci/rdma/boot.sh --out "$out/$1" --timeout "$2" "${@:3}" || status=$?
  # Counts of tests that the guest has left, and what failed.
  if [ -f "$out/$1/counts" ]; then cat "$out/$1/counts" >> "$SEALFS_COUNTS"; fi
  if [ -f "$out/$1/counts.failures" ]; then cat "$out/$1/counts.failures" >> "$SEALFS_COUNTS.failures"; fi
  return $status
}

step build bash ci/build.sh
step 'native tests, built' bash ci/test-native.sh -R RdmaProtocol
[ ${#failed_steps[@]} -eq 0 ] || exit 1
step 'transport over rxe' boot transport 900 -- bash ci/rdma/guest-transport.sh
step 'transport over siw' boot transport-siw 900 --siw -- bash ci/rdma/guest-transport.sh
step 'cluster over rxe' boot cluster 1200 -- bash test/rdma/guest.sh rdma/cluster.test.js rdma/intercept.test.js
step 'faults over rxe' boot faults 1200 -- bash test/rdma/guest.sh rdma/faults.test.js
step 'processes killed over rxe' boot kill 900 -- bash test/rdma/guest.sh rdma/kill.test.js
step 'rdma that is not to be had' boot bad-input 900 -- bash test/rdma/guest.sh rdma/bad-input.test.js
step "two machines, by the README's lines" bash ci/rdma/pair.sh --timeout 900 --out "$out/pair" -- \
  bash test/rdma/two-hosts.sh node1 -- bash test/rdma/two-hosts.sh node2
# A few cuts; more with --rounds and --disk-rounds.
step 'power loss' bash ci/rdma/power-loss.sh --rounds 2 --disk-rounds 1
step 'benchmark beside perftest, tiny' boot bench 400 -- node bin/sealfs.js bench rdma --tiny
closing_counts
