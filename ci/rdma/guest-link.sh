#!/usr/bin/env bash
# Disturbs the cable of one host of the guest, by its number.
#
#   bash ci/rdma/guest-link.sh HOST down         the switch's end goes down: no carrier
#   bash ci/rdma/guest-link.sh HOST up
#   bash ci/rdma/guest-link.sh HOST netem ARGS   for instance: netem loss 1%, netem delay 5ms
#   bash ci/rdma/guest-link.sh HOST clear        no more netem
#
# The switch's end is what goes down, because a device that is set down itself forgets its routes
# and its neighbours. netem acts on both directions.
set -euo pipefail
host=$1 verb=$2
shift 2
case $verb in
  down | up) ip link set "port$host" "$verb" ;;
  netem)
    tc qdisc replace dev "net$host" root netem limit 20000 "$@"
    tc qdisc replace dev "port$host" root netem limit 20000 "$@"
    ;;
  clear)
    tc qdisc del dev "net$host" root
    tc qdisc del dev "port$host" root
    ;;
  *)
    echo "guest-link.sh: down, up, netem or clear, not $verb" >&2
    exit 2
    ;;
esac
