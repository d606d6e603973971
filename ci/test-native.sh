#!/usr/bin/env bash
# Builds and runs the C++ tests: plain, or with --sanitize under ASan and UBSan. Other arguments go
# to ctest (for instance: -R socket).
set -euo pipefail
cd "$(dirname "$0")/.."
folder=build/tests
flags=()
if [ "${1:-}" = --sanitize ]; then
  shift
  folder=build/tests-sanitize
  flags=(-DSEALFS_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo)
  export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
fi
mkdir -p "$folder"
(
  flock 9
  cmake -S . -B "$folder" -G Ninja -DSEALFS_TESTS=ON "${flags[@]}" > "$folder/configure.log" ||
    { cat "$folder/configure.log"; exit 1; }
  cmake --build "$folder" --parallel "$(nproc)"
) 9> "$folder/.lock"
report=$folder/report.xml
status=0
ctest --test-dir "$folder" --output-on-failure --no-tests=error --parallel "$(nproc)" \
  --timeout 120 --output-junit report.xml "$@" || status=1
# One more line for the closing counts, if someone keeps them: passed, failed, skipped.
if [ -n "${SEALFS_COUNTS:-}" ] && [ -f "$report" ]; then
  count() { grep -o "<testsuite [^>]*" "$report" | grep -o "$1=\"[0-9]*\"" | grep -o '[0-9]*'; }
  awk -v t="$(count tests)" -v f="$(count failures)" -v s="$(count skipped)" \
    'BEGIN { print t - f - s, f + 0, s + 0 }' >> "$SEALFS_COUNTS"
fi
exit $status
