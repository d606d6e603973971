#!/usr/bin/env bash
# Type-checked lint, formatting of TypeScript and C++, and the direction of dependencies.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
npx eslint --cache --cache-location build/.eslintcache --max-warnings 0 . || status=1
npx prettier --log-level warn --cache --cache-location build/.prettiercache --check \
  'src/**/*.ts' 'test/**/*.ts' 'bench/**/*.ts' 'io500/**/*.ts' 'schema/*.ts' '*.js' 'bin/*.js' 'ci/*.cjs' ||
  status=1
npx depcruise --config .dependency-cruiser.cjs --output-type err src io500 bench || status=1
find native -name '*.cc' -o -name '*.h' | grep -v generated | xargs clang-format --dry-run --Werror || status=1
exit $status
