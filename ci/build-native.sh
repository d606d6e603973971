#!/usr/bin/env bash
# Builds the native addons and programs into build/. Extra arguments go to cmake --build
# (for instance: --target sealfs_socket).
set -euo pipefail
cd "$(dirname "$0")/.."
# Node's own headers, where they lie beside the node that runs (as Debian packages and tarballs of
# Node have them); otherwise cmake-js fetches them.
prefix=$(dirname "$(dirname "$(node -p process.execPath)")")
if [ -f "$prefix/include/node/node.h" ]; then
  export npm_config_nodedir="$prefix"
fi
mkdir -p build
(
  flock 9
  if [ ! -f build/CMakeCache.txt ]; then
    npx cmake-js configure --out build --log-level error
  fi
  cmake --build build --parallel "$(nproc)" "$@"
) 9> build/.lock
