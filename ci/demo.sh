#!/usr/bin/env bash
# The main job, for a newcomer: set up, build, start a cluster of a manager and two servers over
# TCP, mount it, run a smoke IO500 on it, show the table, take everything down.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh
bash ci/build.sh
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
node bin/sealfs.js up --servers 2 --transport tcp -- \
  sh -c 'node bin/sealfs.js bench io500 --dir "$SEALFS_MOUNT" --np 2 --scale smoke --out "$0"' "$out"
