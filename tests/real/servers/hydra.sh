#!/usr/bin/env bash
# A real Ory Hydra on 127.0.0.1, built from its Go module. Needs Go 1.23 or newer and a C compiler.
#
#   hydra.sh install    build the server, once; the binary is kept and found again
#   hydra.sh serve      create an empty database and serve in the foreground until a signal ends it
#   hydra.sh version    print the version
#
# Environment:
#   HYDRA_HOME        where the built server is kept (default: real/hydra below the cargo target directory)
#   HYDRA_STATE       a directory for configuration, database and log of one server; `serve` empties it first
#                     (default: real/state/hydra-PORT below the cargo target directory)
#   HYDRA_PORT        port of the token endpoint (default 24444); the administration port is one above
#   HYDRA_ITERATIONS  rounds of PBKDF2 a secret is hashed with (default 25000, as Hydra's own)
#
# `serve` prints nothing: wait until http://127.0.0.1:(PORT + 1)/health/ready answers 200.
set -euo pipefail

version=v2.3.0
# Hydra's own go.mod replaces this module, and a replacement does not reach whoever requires Hydra.
pop='github.com/gobuffalo/pop/v6=github.com/ory/pop/v6@v6.2.1-0.20241121111754-e5dfc0f3344b'

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
. "$root/tests/real/retry.sh"
target=${CARGO_TARGET_DIR:-target}
# Cargo reads a relative target directory from where it is called: here, the root of the repository.
case $target in /*) ;; *) target=$root/$target ;; esac
home=${HYDRA_HOME:-$target/real/hydra}
port=${HYDRA_PORT:-24444}
admin=$((port + 1))
state=${HYDRA_STATE:-$target/real/state/hydra-$port}

usage() {
  sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

fail() {
  echo "hydra.sh: $*" >&2
  exit 1
}

build() {
  # A caller's `if` switches errexit off in here: each line says itself that it must succeed.
  cd "$home/src" || return
  export GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=1
  go mod init keyswap.invalid/hydra &&
    go mod edit -replace "$pop" &&
    retry go get "github.com/ory/hydra/v2@$version" &&
    retry go build -tags sqlite,sqlite_omit_load_extension -o "$home/hydra" github.com/ory/hydra/v2
}

install() {
  # The stamp names all that goes into the binary, so that a changed pin builds again.
  local stamp="$version $pop"
  if [ -x "$home/hydra" ] && [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ]; then return 0; fi
  command -v go >/dev/null || fail "go is missing: install Go 1.23 or newer"
  rm -rf "$home"
  mkdir -p "$home/src"
  # Go names every module it downloads, hundreds of them: of interest only when the build fails.
  if ! (build) >"$home/build.log" 2>&1; then
    tail -20 "$home/build.log" >&2
    fail "Hydra $version could not be built: all of it is in $home/build.log"
  fi
  echo "$stamp" >"$home/stamp"
}

serve() {
  [ -x "$home/hydra" ] || fail "not built: run ${BASH_SOURCE[0]} install"
  rm -rf "$state"
  mkdir -p "$state"
  cat >"$state/hydra.yml" <<YML
dsn: "sqlite://$state/hydra.sqlite?_fk=true&_busy_timeout=60000"
urls: {self: {issuer: "http://127.0.0.1:$port"}}
serve:
  public: {host: 127.0.0.1, port: $port}
  admin: {host: 127.0.0.1, port: $admin}
secrets: {system: ["a-secret-of-this-test-server-alone"]}
oauth2: {hashers: {algorithm: pbkdf2, pbkdf2: {iterations: ${HYDRA_ITERATIONS:-25000}}}}
log: {level: error}
sqa: {opt_out: true}
YML
  "$home/hydra" migrate sql -e --yes -c "$state/hydra.yml" >>"$state/log" 2>&1 </dev/null ||
    fail "the database could not be created: see $state/log"
  # The signal that ends this script must reach the server: it takes this process over.
  exec "$home/hydra" serve all --dev -c "$state/hydra.yml" >>"$state/log" 2>&1 </dev/null
}

[ $# -eq 1 ] || usage
case $1 in
  install) install ;;
  serve) serve ;;
  version) echo "$version" ;;
  *) usage ;;
esac
