#!/usr/bin/env bash
# Installs what is missing: Debian packages, then the project's npm packages. Safe to repeat; does
# nothing when everything is there. `ci/setup.sh test` adds what tests and benchmarks need.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-build}

packages=(g++ make cmake ninja-build pkg-config util-linux fuse3 libfuse3-dev liburing-dev
  libibverbs-dev librdmacm-dev)
if [ "$purpose" != build ]; then
  packages+=(acl attr git rsync sqlite3 stress-ng postgresql)
  packages+=(libgtest-dev flatbuffers-compiler clang-format procps fio openmpi-bin python3 python3-mpi4py)
fi

missing=()
for package in "${packages[@]}"; do
  # A status line, since a removed package can still be known to dpkg.
  if ! dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q 'ok installed'; then
    missing+=("$package")
  fi
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "sealfs needs Debian packages that are not installed. Install them with:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number);
              process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
  echo "sealfs needs Node.js 20.19 or newer; this is $(node --version)" >&2
  exit 1
fi
# No package of ours needs an install script: lmdb's binary is built with the addons (native/lmdb).
if ! cmp -s package-lock.json node_modules/.sealfs-installed-lock; then
  npm ci --ignore-scripts --no-audit --no-fund
  cp package-lock.json node_modules/.sealfs-installed-lock
fi
