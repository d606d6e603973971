# Shared by the CI scripts: one step after the other, all of them run, failures remembered, and a
# closing line of counts. Each step is a command that can be run alone.
failed_steps=()
export SEALFS_COUNTS=${SEALFS_COUNTS:-$(mktemp)}

step() { # NAME COMMAND...
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  if "$@"; then
    echo "== $name: ok, $((SECONDS - began)) s"
  else
    echo "== $name: FAILED, $((SECONDS - began)) s"
    failed_steps+=("$name")
    # A step that counts no tests still shows in the closing counts.
    echo "0 1 0" >> "$SEALFS_COUNTS"
  fi
}

# SEALFS_TEST_JOBS: so many files at a time, for tests without real time, ports or mounts.
mocha_suite() { # FOLDER...: the compiled tests below these folders of dist/test
  local files jobs=()
  mapfile -t files < <(find "${@/#/dist/test/}" -name '*.test.js' | sort)
  if [ "${SEALFS_TEST_JOBS:-1}" -gt 1 ]; then jobs=(--parallel --jobs "$SEALFS_TEST_JOBS"); fi
  npx mocha --reporter ci/mocha-reporter.cjs --exit --timeout 60000 "${jobs[@]}" "${files[@]}"
}

closing_counts() { # Also what failed, as far as one screen: the steps' own output may be far above.
  if [ -e "$SEALFS_COUNTS.failures" ]; then
    head -c 6000 "$SEALFS_COUNTS.failures"
  fi
  awk '{ p += $1; f += $2; s += $3 }
       END { printf "%d passed, %d failed", p, f; if (s) printf ", %d skipped", s; print "" }' \
    "$SEALFS_COUNTS"
  if [ ${#failed_steps[@]} -gt 0 ]; then
    echo "failed steps: ${failed_steps[*]}" >&2
    return 1
  fi
}
