#!/usr/bin/env bash
# Runs the compiled mocha tests below the named folders of dist/test, for instance: ci/mocha.sh unit sim
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/lib.sh
mocha_suite "$@"
