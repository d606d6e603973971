#!/usr/bin/env bash
# Inside the Soft-RoCE machine: the tests of the rdma engine and of the transport, with memory
# windows and without. Expects build/tests and dist/ to be built on the host.
#
#   bash ci/rdma/boot.sh [--siw] -- bash ci/rdma/guest-transport.sh
set -uo pipefail
cd "$(dirname "$0")/../.."
status=0
export SEALFS_COUNTS=$SEALFS_MACHINE_OUT/counts # on the host's side

programs=(rdma_engine_test)
# The lying peer judges by completions as RoCE reports them; siw ends such connections too, but
# tells its peers less.
[ ! -e /sys/class/infiniband/rxe0 ] || programs+=(rdma_liar_test)
for name in "${programs[@]}"; do
  log=$(mktemp)
  "build/tests/native/tests/$name" --gtest_brief=1 2>&1 | tee "$log" || status=1
  # For the closing counts: passed, failed, skipped.
  awk '/^\[==========\].* ran\./ { ran = $2 } /^\[  PASSED  \]/ { passed = $4 }
       /^\[  SKIPPED \] [0-9]+ test/ { skipped = $4 }
       END { print passed + 0, ran - passed - skipped, skipped + 0 }' "$log" >> "$SEALFS_COUNTS"
done
# The guest computes some ten times slower than its host.
export SEALFS_TEST_TIME_SCALE=${SEALFS_TEST_TIME_SCALE:-8}
for windows in 1 0; do
  echo "memory windows: $windows"
  SEALFS_RDMA_WINDOWS=$windows node node_modules/mocha/bin/mocha.js --exit \
    --reporter ci/mocha-reporter.cjs --timeout $((60000 * SEALFS_TEST_TIME_SCALE)) \
    dist/test/rdma/transport.test.js || status=1
done
exit $status
