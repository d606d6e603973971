#!/usr/bin/env bash
# Formats TypeScript and C++ in place.
set -euo pipefail
cd "$(dirname "$0")/.."
npx prettier --log-level warn --write 'src/**/*.ts' 'test/**/*.ts' 'bench/**/*.ts' 'io500/**/*.ts' \
  'schema/*.ts' '*.js' 'bin/*.js' 'ci/*.cjs'
find native -name '*.cc' -o -name '*.h' | grep -v generated | xargs clang-format -i
