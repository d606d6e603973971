#!/usr/bin/env bash
# npm run test:full: what takes longer than npm test allows. More seeds, minutes of fuzzing, long kill
# loops, sanitizer builds, the Soft-RoCE machine. Expects nothing but a checkout.
set -uo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test || exit 1
. ci/lib.sh
step build bash ci/build.sh
[ ${#failed_steps[@]} -eq 0 ] || exit 1
step 'native tests under sanitizers' bash ci/test-native.sh --sanitize
export SEALFS_SIM_SEEDS=${SEALFS_SIM_SEEDS:-700}
export SEALFS_SIM_BATCH_SEEDS=${SEALFS_SIM_BATCH_SEEDS:-300}
export SEALFS_DIRECTORY_ENTRIES=${SEALFS_DIRECTORY_ENTRIES:-1000000}
export SEALFS_FUZZ_SECONDS=${SEALFS_FUZZ_SECONDS:-15}
export SEALFS_KILL_ROUNDS=${SEALFS_KILL_ROUNDS:-2}
export SEALFS_SHARING_ROUNDS=${SEALFS_SHARING_ROUNDS:-600}
export SEALFS_PROGRAM_ROUNDS=${SEALFS_PROGRAM_ROUNDS:-1}
SEALFS_TEST_JOBS=2 step 'long simulation' bash ci/mocha.sh sim
step 'long fuzzing' bash ci/mocha.sh fuzz
step 'long kill loops' bash ci/mocha.sh fault
SEALFS_POSIX_FULL=1 step 'conformance, in full' bash ci/mocha.sh posix
# AddressSanitizer goes first. Its own start sets limits, by the library that it watches, too early.
sanitized=$(gcc -print-file-name=libasan.so):$PWD/build/tests-sanitize/Release/libsealfs_intercept.so
SEALFS_TEST_PRELOAD=$sanitized ASAN_OPTIONS=detect_leaks=0:disable_coredump=0 \
  step 'preload library under sanitizers' \
  bash ci/mocha.sh e2e/intercept{,-attributes,-directories,-names,-remembered,-trouble,-xattrs}.test.js fuzz/intercept.test.js
SEALFS_TEST_PRELOAD=$sanitized ASAN_OPTIONS=detect_leaks=0:disable_coredump=0 \
  SEALFS_POSIX_INTERCEPT=1 step 'conformance under the preload library' bash ci/mocha.sh posix
# Of the end-to-end tests those that have more to do here; npm test has run them all.
SEALFS_LOCKS_FULL=1 step 'locks and sharing, long' \
  bash ci/mocha.sh e2e/{locks,sharing}.test.js
SEALFS_PROGRAMS_INTERCEPT=1 SEALFS_PROGRAM_ROUNDS=1 step 'programs under the preload library' \
  bash ci/mocha.sh e2e/programs{,-databases,-replace,-stress}.test.js e2e/fsx.test.js
step 'Soft-RoCE machine' bash ci/test-rdma.sh
closing_counts
