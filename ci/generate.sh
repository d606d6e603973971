#!/usr/bin/env bash
# Writes the generated code from schema/. With --check: into a scratch folder, and compares.
set -euo pipefail
cd "$(dirname "$0")/.."
npx tsc schema/generate.ts --ignoreConfig --target es2023 --module nodenext --moduleResolution nodenext \
  --types node --skipLibCheck --strict --outDir dist-generate
if [ "${1:-}" = --check ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  node dist-generate/generate.js "$scratch"
  npx prettier --log-level warn --config .prettierrc.json --write "$scratch/src"
  (cd "$scratch" && find . -type f) | while read -r file; do
    diff -u "$file" "$scratch/$file"
  done
  echo "generated code is up to date"
else
  node dist-generate/generate.js
  npx prettier --log-level warn --write 'src/*/*.generated.ts'
fi
