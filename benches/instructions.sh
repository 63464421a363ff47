#!/bin/sh
# Instructions a call of each variant: two runs under callgrind, subtracted, so that start and end cancel out.
# usage: benches/instructions.sh [VARIANT...]
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --profile bench -p keyswap-benches --bin instructions
program="${CARGO_TARGET_DIR:-target}/release/instructions"
few=4000
many=14000

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : *\([0-9]*\).*/\1/p'
}

[ $# -gt 0 ] || set -- $("$program")
echo "| variant | instructions a call |"
echo "| --- | --- |"
for variant in "$@"; do
    echo "| $variant | $((($(count "$variant" $many) - $(count "$variant" $few)) / (many - few))) |"
done
