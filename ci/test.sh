#!/usr/bin/env bash
# npm test: set up, build, then every check that fits into ten minutes on two cores.
set -uo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test || exit 1
. ci/lib.sh
step build bash ci/build.sh
[ ${#failed_steps[@]} -eq 0 ] || exit 1
step lint bash ci/lint.sh
step 'generated code' bash ci/generate.sh --check
step 'native tests' bash ci/test-native.sh
rm -rf coverage
step 'unit, simulation, fuzz, fault, conformance, end to end' \
  npx c8 --reporter text-summary --exclude 'dist/test/**' --exclude-after-remap=false \
  bash ci/mocha.sh unit sim fuzz fault posix e2e
step 'benchmarks, tiny' bash ci/bench.sh --tiny
echo "not part of this run: long simulations, fuzzing, kill loops and sanitizer builds (npm run test:full)"
echo "not part of this run: RDMA and persistent memory, in the Soft-RoCE machine (npm run test:rdma)"
closing_counts
