# The network of the guest, for guest-run.sh: hosts on one switch, all in the initial network
# namespace (rxe on 6.1 does not work in others).
#
#   net0 10.77.0.1 rxe0 ── port0 ┐
#   net1 10.77.0.2 rxe1 ── port1 ┴ bridge switch0
#
# Linux answers traffic between two of its own addresses inside itself. So that it crosses the
# veths, the table of local addresses is asked first only for what comes in on a net device, and
# what a host sends (told by its source address) goes out by its own device. Who names no source
# address is on host 0.
machine_mtu=4200 # the smallest round number that gives the rxe port its largest MTU, 4096

mac() { printf '02:00:0a:4d:00:%02x' "$1"; }

# Lines for ip -batch; one process for all, as processes are dear in an emulated machine.
hosts_batch() { # COUNT
  local i
  echo "link add switch0 mtu $machine_mtu type bridge forward_delay 0"
  echo 'link set switch0 up'
  for ((i = 0; i < $1; i++)); do
    echo "link add net$i address $(mac $((i + 1))) type veth peer name port$i"
    echo "link set net$i mtu $machine_mtu"
    echo "link set port$i mtu $machine_mtu master switch0 up"
    echo "link set net$i up"
    echo "address add 10.77.0.$((i + 1))/24 dev net$i"
    echo "rule add pref 10 iif net$i lookup local"
    echo "rule add pref 20 from 10.77.0.$((i + 1)) lookup $((101 + i))"
    [ "$i" -eq 0 ] || echo "rule add pref 25 to 10.77.0.$((i + 1)) iif lo lookup 101"
    host_routes "$i" "$1"
  done
  echo 'rule add pref 30 lookup local'
  echo 'rule del pref 0'
}

# Neighbours are told, since rxe loses acknowledgements while they are asked for.
host_routes() { # HOST COUNT
  local j table=$((101 + $1)) address=10.77.0.$(($1 + 1))
  echo "route replace local $address dev net$1 src $address table $table"
  echo "route replace 10.77.0.0/24 dev net$1 src $address table $table"
  for ((j = 0; j < $2; j++)); do
    [ "$j" -eq "$1" ] ||
      echo "neigh replace 10.77.0.$((j + 1)) lladdr $(mac $((j + 1))) dev net$1 nud permanent"
  done
}

make_hosts() { # COUNT
  local i
  [ "$1" -gt 0 ] || return 0
  echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
  echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter
  echo 1 > /proc/sys/net/ipv4/conf/all/accept_local
  echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
  echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce
  hosts_batch "$1" | ip -batch -
  for ((i = 0; i < $1; i++)); do
    echo "link add $driver$i type $driver netdev net$i"
  done | rdma --batch -
}

# Cables to other guests: netdev linkN, RDMA device after those of the hosts.
make_links() { # HOSTS ROLE...
  local hosts=$1 count=$(($# - 1)) i role other netdev
  [ "$count" -gt 0 ] || return 0
  shift
  for ((i = 0; i < count; i++)); do
    role=${*:i + 1:1}
    other=connect
    [ "$role" = listen ] || other=listen
    netdev=$(grep -l "$(link_mac "$i" "$role")" /sys/class/net/*/address)
    netdev=${netdev%/address}
    echo "link set ${netdev##*/} name link$i"
    echo "link set link$i mtu $machine_mtu up"
    echo "address add 10.78.$i.$(link_end "$role")/24 dev link$i"
    echo "neigh replace 10.78.$i.$(link_end "$other") lladdr $(link_mac "$i" "$other") dev link$i" \
      'nud permanent'
  done | ip -batch -
  for ((i = 0; i < count; i++)); do
    echo "link add $driver$((hosts + i)) type $driver netdev link$i"
  done | rdma --batch -
}
