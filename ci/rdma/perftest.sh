#!/usr/bin/env bash
# Runs perftest between two rxe devices of the guest and prints one JSON line: what plain verbs reach
# in this very run, for other measurements to be compared with.
#
#   bash ci/rdma/perftest.sh [CLIENT_DEVICE SERVER_DEVICE SERVER_ADDRESS]
#
# {"sendLatency64Us": median of half a round trip, "sendRate64PerSecond": …,
#  "readMiBPerSecond": …, "writeMiBPerSecond": … with messages of 1 MiB}
set -euo pipefail
client=${1:-rxe0} server=${2:-rxe1} address=${3:-10.77.0.2}
port=18515
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Prints the result line of the client. GID 1 is the IPv4 address.
measure() { # PROGRAM ARGUMENTS...
  local program=$1
  shift
  port=$((port + 1))
  "$program" -d "$server" -x 1 -F -p "$port" "$@" > "$folder/server" 2>&1 &
  # The server listens as soon as it has its queue pair.
  until ss -Hltn "sport = :$port" | grep -q .; do sleep 0.05; done
  if ! "$program" -d "$client" -x 1 -F -p "$port" "$@" "$address" > "$folder/client" 2>&1; then
    cat "$folder/server" "$folder/client" >&2
    exit 1
  fi
  wait $!
  awk '$1 ~ /^[0-9]+$/ && NF >= 5 { line = $0 } END { print line }' "$folder/client"
}

read -r _ _ _ _ latency _ <<< "$(measure ib_send_lat -s 64 -n 1000)"
read -r _ _ _ _ rate <<< "$(measure ib_send_bw -s 64 -n 5000)"
read -r _ _ _ read _ <<< "$(measure ib_read_bw -s 1048576 -n 64 -t 8)"
read -r _ _ _ write _ <<< "$(measure ib_write_bw -s 1048576 -n 64 -t 8)"
awk -v latency="$latency" -v rate="$rate" -v read="$read" -v write="$write" 'BEGIN {
  printf "{\"sendLatency64Us\":%.2f,\"sendRate64PerSecond\":%d,\"readMiBPerSecond\":%.2f,", \
    latency, rate * 1e6, read
  printf "\"writeMiBPerSecond\":%.2f}\n", write
}'
