#!/usr/bin/env bash
# Builds everything: the native addons and programs into build/, TypeScript into dist/. Both are
# incremental.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/build-native.sh
npx tsc -p tsconfig.json
