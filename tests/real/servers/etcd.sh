#!/usr/bin/env bash
# One node of an etcd cluster on 127.0.0.1. Needs etcd 3.4 or newer (on Debian: apt-get install etcd-server).
#
#   etcd.sh serve N          serve node N, 1 to ETCD_SIZE, in the foreground until a signal ends it; its data stays
#   etcd.sh certificates     make a certificate authority in ETCD_TLS, and what it signs: server, client. Another one
#                            that nobody trusts, and what that signs: stranger. Needs openssl
#
# Environment:
#   ETCD_PORTS    the first of two ports for each node, one after the other: node N answers clients at ETCD_PORTS + 2(N-1)
#   ETCD_STATE    a directory for the data and the logs of all nodes
#   ETCD_SIZE     how many nodes there are (default 3)
#   ETCD_TLS      a directory with certificates: clients come by TLS, and with a certificate of their own
#
# `serve` prints nothing: wait until http://127.0.0.1:PORT/health answers 200. Elections take half a second, where
# etcd's own settings make it one: a test kills many leaders.
set -euo pipefail

usage() {
  sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

fail() {
  echo "etcd.sh: $*" >&2
  exit 1
}

certificates() {
  cd "$1"
  local key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
  for authority in ca other; do
    # shellcheck disable=SC2086
    openssl req -x509 $key -days 2 -subj "/CN=$authority" -keyout "$authority-key.pem" -out "$authority.pem"
  done
  while read -r authority name extension; do
    # shellcheck disable=SC2086
    openssl req $key -subj "/CN=$name" -keyout "$name-key.pem" -out "$name.csr"
    openssl x509 -req -in "$name.csr" -days 2 -CA "$authority.pem" -CAkey "$authority-key.pem" -CAcreateserial \
      -extfile <(echo "$extension") -out "$name.pem"
  done <<'END'
ca server subjectAltName=IP:127.0.0.1
ca client extendedKeyUsage=clientAuth
other stranger extendedKeyUsage=clientAuth
END
}

if [ $# -eq 1 ] && [ "$1" = certificates ]; then
  command -v openssl >/dev/null || fail "openssl is missing: apt-get install openssl"
  certificates "${ETCD_TLS:?}" 2>/dev/null </dev/null || fail "openssl makes no certificates"
  exit
fi
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
tls=()
if [ -n "${ETCD_TLS:-}" ]; then
  clients=https://${clients#http://}
  tls=(--cert-file "$ETCD_TLS/server.pem" --key-file "$ETCD_TLS/server-key.pem"
    --client-cert-auth --trusted-ca-file "$ETCD_TLS/ca.pem")
fi
mkdir -p "$state"
# Without the caller's environment: etcd reads settings from it. The signals must reach etcd: it takes this process over.
exec env -i "$etcd" --name "node$number" --data-dir "$state/node$number" \
  --listen-client-urls "$clients" --advertise-client-urls "$clients" \
  --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
  --initial-cluster "$peers" --initial-cluster-token "keyswap-$ports" --initial-cluster-state new \
  --heartbeat-interval 50 --election-timeout 500 --log-level warn "${tls[@]}" \
  >>"$state/node$number.log" 2>&1 </dev/null
