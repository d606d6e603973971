#!/usr/bin/env bash
# Boots two Soft-RoCE machines joined by a cable and runs one command in each: truly separate
# kernels, addresses 10.78.0.1 (guest 0) and 10.78.0.2 (guest 1), rxe0 in each. Exits 0 only if both
# do; when one fails the other has ten seconds more.
#
#   bash ci/rdma/pair.sh [OPTIONS] -- COMMAND0... -- COMMAND1...
#
#   --siw, --timeout S, --memory MB, --out DIR: as of boot.sh
#
# Lines are prefixed [0] and [1]. With --out, DIR/0 and DIR/1 are the guests' $SEALFS_MACHINE_OUT.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

options=() out=''
while [ $# -gt 0 ]; do
  case $1 in
    --timeout | --memory) options+=("$1" "$2") ;;
    --out) out=$2 ;;
    --siw)
      options+=(--siw)
      shift
      continue
      ;;
    --) shift && break ;;
    *) fail "unknown option $1; see the head of pair.sh" ;;
  esac
  shift 2
done
first=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  first+=("$1")
  shift
done
shift || true
if [ ${#first[@]} -eq 0 ] || [ $# -eq 0 ]; then
  fail 'two commands: pair.sh [OPTIONS] -- COMMAND0... -- COMMAND1...'
fi

case " ${options[*]} " in
  *' --siw '*) bash "$checkout/ci/rdma/siw.sh" ;;
  *) bash "$checkout/ci/rdma/setup.sh" >&2 ;;
esac
run=$(mktemp -d "${TMPDIR:-/tmp}/sealfs-machine-XXXXXX")
guests=()
cleanup() {
  kill "${guests[@]}" 2> /dev/null || true
  wait
  rm -rf "$run"
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
out=${out:-$run/out}

guest() { # NUMBER ROLE COMMAND...
  local number=$1 role=$2
  shift 2
  exec bash "$checkout/ci/rdma/boot.sh" "${options[@]}" --out "$out/$number" \
    --link "$run/cable:$role" -- "$@" > >(sed -u "s/^/[$number] /") 2>&1
}

guest 0 listen "${first[@]}" &
guests=($!)
until [ -S "$run/cable" ] || ! kill -0 "${guests[0]}" 2> /dev/null; do sleep 0.05; done
guest 1 connect "$@" &
guests+=($!)
status=0
wait -n || status=$?
if [ "$status" -ne 0 ]; then
  (sleep 10 && kill "${guests[@]}") > /dev/null 2>&1 &
fi
for guest in "${guests[@]}"; do
  wait "$guest" || status=$((status ? status : $?))
done
exit "$status"
