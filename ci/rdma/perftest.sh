#!/usr/bin/env bash
# Runs perftest between the first two RDMA devices of the guest and prints one JSON line: what plain
# verbs reach in this very run, for other measurements to be compared with.
#
#   bash ci/rdma/perftest.sh
#
# {"device": "rxe0", "sendLatency64Us": median of half a round trip, "sendRate64PerSecond": …,
#  "readMiBPerSecond": …, "writeMiBPerSecond": … with messages of 1 MiB}
set -euo pipefail
cd /sys/class/infiniband
devices=(*)
[ ${#devices[@]} -ge 2 ] || { echo 'perftest needs two RDMA devices' >&2 && exit 1; }
client=${devices[0]} server=${devices[1]} address=10.77.0.2
# RoCE is told its address by GID 1, IPv4; iWARP has but one GID and connects by RDMA CM.
route=(-x 1)
[[ $(cat "$client/node_type") != *RNIC ]] || route=(-R)
port=18515
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# perftest's own exchange is over TCP; a listener of RDMA CM shows only among RDMA resources.
listening() {
  ss -Hltn "sport = :$port" | grep -q . || rdma resource show cm_id | grep -q "LISTEN.*:$port"
}

# Prints the result line of the client.
measure() { # PROGRAM ARGUMENTS...
  local program=$1
  shift
  "$program" -d "$server" "${route[@]}" -F -p "$port" "$@" > "$folder/server" 2>&1 &
  until listening; do sleep 0.05; done
  if ! "$program" -d "$client" "${route[@]}" -F -p "$port" "$@" "$address" \
    > "$folder/client" 2>&1; then
    cat "$folder/server" "$folder/client" >&2
    exit 1
  fi
  wait $!
  awk '$1 ~ /^[0-9]+$/ && NF >= 5 { line = $0 } END { print line }' "$folder/client"
}

# Columns of the result: for latency bytes, iterations, minimum, maximum, typical; for bandwidth
# bytes, iterations, peak, average, million messages per second.
latency=$(measure ib_send_lat -s 64 -n 1000)
rate=$(measure ib_send_bw -s 64 -n 5000)
read=$(measure ib_read_bw -s 1048576 -n 48 -t 8)
write=$(measure ib_write_bw -s 1048576 -n 48 -t 8)
awk -v device="$client" '
  NR == 1 { printf "{\"device\":\"%s\",\"sendLatency64Us\":%.2f,", device, $5 }
  NR == 2 { printf "\"sendRate64PerSecond\":%d,", $5 * 1e6 }
  NR == 3 { printf "\"readMiBPerSecond\":%.2f,", $4 }
  NR == 4 { printf "\"writeMiBPerSecond\":%.2f}\n", $4 }
' <<< "$latency
$rate
$read
$write"
