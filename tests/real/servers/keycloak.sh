#!/usr/bin/env bash
# A real Keycloak on 127.0.0.1, from its distribution as packaged for Maven. Needs Java 17 or newer, mvn and python3.
#
#   keycloak.sh install    fetch the server and set it up, once; it is kept and found again
#   keycloak.sh serve      serve with an empty database in memory until standard input ends, or a signal comes
#   keycloak.sh version    print the version
#
# Environment:
#   KEYCLOAK_HOME   where the server is kept (default: real/keycloak below the cargo target directory)
#   KEYCLOAK_PORT   the port (default 24454); everything is served under /auth
#   KEYCLOAK_LOG    where `serve` writes what the server says (default: log in KEYCLOAK_HOME)
#   KEYCLOAK_ADMIN_PASSWORD   of the user `admin` of the realm `master` (default: keyswap-real-tests)
#   JAVA_HOME       else java on PATH, else one installed under /usr/lib/jvm
#
# `serve` prints nothing: wait until http://127.0.0.1:PORT/auth/realms/master answers 200.
set -euo pipefail

version=26.7.3
sha256=27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f
# What is decided when the server is set up: in memory, alone, and with the policy that is a preview.
build=(--db=dev-mem --cache=local --features=client-secret-rotation --http-relative-path=/auth)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
. "$root/tests/real/retry.sh"
target=${CARGO_TARGET_DIR:-target}
# Cargo reads a relative target directory from where it is called: here, the root of the repository.
case $target in /*) ;; *) target=$root/$target ;; esac
home=${KEYCLOAK_HOME:-$target/real/keycloak}
port=${KEYCLOAK_PORT:-24454}
log=${KEYCLOAK_LOG:-$home/log}
kc=$home/keycloak-$version/bin/kc.sh

usage() {
  sed -n '2,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

fail() {
  echo "keycloak.sh: $*" >&2
  exit 1
}

find_java() {
  local java major
  for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [ -x "$java" ] || continue
    major=$("$java" -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')
    if [ "${major:-0}" -ge 17 ]; then
      java=$(readlink -f "$java")
      echo "${java%/bin/java}"
      return 0
    fi
  done
  fail "no Java 17 or newer: install one (on Debian: apt-get install default-jre-headless), or set JAVA_HOME"
}

# Without the caller's variables: it takes each KC_* of them as a setting, and JAVA_OPTS*.
keycloak() {
  env -i PATH="$PATH" HOME="$home" LANG=C.UTF-8 JAVA_HOME="$java_home" JAVA_OPTS_KC_HEAP="-Xms64m -Xmx512m" \
    KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD="${KEYCLOAK_ADMIN_PASSWORD:-keyswap-real-tests}" \
    "$kc" "$@"
}

fetch() {
  # A caller's `if` switches errexit off in here: each line says itself that it must succeed.
  local zip=keycloak-quarkus-dist-$version.zip
  cd "$home" || return
  JAVA_HOME=$java_home retry mvn -B -q -U dependency:copy -DoutputDirectory=. \
    -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:zip" </dev/null &&
    echo "$sha256  $zip" | sha256sum -c --quiet &&
    python3 -m zipfile -e "$zip" . &&
    rm "$zip" &&
    chmod +x "$kc" &&
    keycloak build "${build[@]}" </dev/null
}

install() {
  # The stamp names all that the server is made of, so that a changed pin is fetched again.
  local stamp="$version $sha256 ${build[*]}"
  if [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ]; then return 0; fi
  command -v mvn >/dev/null || fail "mvn is missing: install Maven (on Debian: apt-get install maven)"
  java_home=$(find_java)
  rm -rf "$home"
  mkdir -p "$home"
  if ! (fetch) >"$home/install.log" 2>&1; then
    tail -20 "$home/install.log" >&2
    fail "Keycloak $version could not be installed: all of it is in $home/install.log"
  fi
  echo "$stamp" >"$home/stamp"
}

serve() {
  [ -f "$home/stamp" ] || fail "not installed: run ${BASH_SOURCE[0]} install"
  java_home=$(find_java)
  # A group of its own: its script may stay before the server, and a signal has to reach both.
  set -m
  keycloak start --optimized --cache=local --http-enabled=true --http-host=127.0.0.1 --http-port="$port" \
    --hostname-strict=false >>"$log" 2>&1 </dev/null &
  local server=$!
  # shellcheck disable=SC2064
  trap "kill -KILL -- -$server 2>/dev/null || true" EXIT
  trap 'exit 0' TERM INT HUP
  # Whoever started it may be gone without a word: then this ends.
  exec 3<&0
  cat <&3 >/dev/null &
  wait -n "$server" $! || true
}

[ $# -eq 1 ] || usage
case $1 in
  install) install ;;
  serve) serve ;;
  version) echo "$version" ;;
  *) usage ;;
esac
