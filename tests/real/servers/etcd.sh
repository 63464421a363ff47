#!/usr/bin/env bash
# One node of an etcd cluster on 127.0.0.1. Needs etcd 3.4 or newer (on Debian: apt-get install etcd-server).
#
#   etcd.sh serve N    serve node N, 1 to ETCD_SIZE, in the foreground until a signal ends it; its data stays
#
# Environment:
#   ETCD_PORTS    the first of two ports for each node, one after the other: node N answers clients at ETCD_PORTS + 2(N-1)
#   ETCD_STATE    a directory for the data and the logs of all nodes
#   ETCD_SIZE     how many nodes there are (default 3)
#
# `serve` prints nothing: wait until http://127.0.0.1:PORT/health answers 200. Elections take half a second, where
# etcd's own settings make it one: a test kills many leaders.
set -euo pipefail

usage() {
  sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

fail() {
  echo "etcd.sh: $*" >&2
  exit 1
}

[ $# -eq 2 ] && [ "$1" = serve ] || usage
number=$2
ports=${ETCD_PORTS:?}
state=${ETCD_STATE:?}
size=${ETCD_SIZE:-3}
[[ $number =~ ^[0-9]+$ ]] && [ "$number" -ge 1 ] && [ "$number" -le "$size" ] || fail "there is no node $number of $size"
etcd=$(command -v etcd) || fail "etcd is missing: apt-get install etcd-server"

peers=
for ((node = 1; node <= size; node++)); do
  peers+=${peers:+,}node$node=http://127.0.0.1:$((ports + 2 * node - 1))
done
clients=http://127.0.0.1:$((ports + 2 * number - 2))
peer=http://127.0.0.1:$((ports + 2 * number - 1))
mkdir -p "$state"
# Without the caller's environment: etcd reads settings from it. The signals must reach etcd: it takes this process over.
exec env -i "$etcd" --name "node$number" --data-dir "$state/node$number" \
  --listen-client-urls "$clients" --advertise-client-urls "$clients" \
  --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
  --initial-cluster "$peers" --initial-cluster-token "keyswap-$ports" --initial-cluster-state new \
  --heartbeat-interval 50 --election-timeout 500 --log-level warn \
  >>"$state/node$number.log" 2>&1 </dev/null
