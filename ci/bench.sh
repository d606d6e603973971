#!/usr/bin/env bash
# npm run bench: every layer beside its limit, in one run. Arguments go to bench/main.ts.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -f dist/bench/main.js ]; then
  bash ci/setup.sh test
  bash ci/build.sh
fi
exec node dist/bench/main.js "$@"
