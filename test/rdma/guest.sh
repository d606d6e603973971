#!/usr/bin/env bash
# Runs compiled mocha tests inside the Soft-RoCE machine, all files in one process, and leaves their
# counts in $SEALFS_MACHINE_OUT/counts.
#
#   bash ci/rdma/boot.sh -- bash test/rdma/guest.sh rdma/cluster.test.js
set -euo pipefail
cd "$(dirname "$0")/../.."
files=("${@/#/${SEALFS_TEST_DIST:-dist}/test/}")
# The machine computes some ten times slower than its host, which may be busy too.
export SEALFS_TEST_TIME_SCALE=${SEALFS_TEST_TIME_SCALE:-8}
# Tests wait for many file operations at a time.
export UV_THREADPOOL_SIZE=32
export SEALFS_COUNTS=$SEALFS_MACHINE_OUT/counts
exec node node_modules/mocha/bin/mocha.js --reporter ci/mocha-reporter.cjs --exit \
  --timeout $((60000 * SEALFS_TEST_TIME_SCALE)) "${files[@]}"
