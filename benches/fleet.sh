#!/bin/sh
# What a fleet costs a store: the tables of docs/scale.md, to standard output, or with --into FILE into that page.
# Needs etcd and protoc (on Debian: apt-get install etcd-server protobuf-compiler libprotobuf-dev). Without an argument, it
# says what it can do.
set -eu
cd "$(dirname "$0")/.."
export KEYSWAP_ETCD="$PWD/tests/real/servers/etcd.sh"
# Each of 10,000 followers has a connection.
ulimit -n "$(ulimit -H -n)"
# `tests/real/run` has it built, if not for speed.
[ -z "${FLEET:-}" ] || exec "$FLEET" "$@"
exec cargo run --quiet --profile bench -p keyswap-benches --features etcd --bin fleet -- "$@"
