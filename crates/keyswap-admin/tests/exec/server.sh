#!/bin/sh
# A server in a directory, and the program that administers it: each secret is a file that is named as its slot.
#
#   server.sh DIRECTORY KIND
#
# KIND is one or two (secrets), and own or generated (values): one-own, two-generated. A file `crash` in the directory
# that holds `REQUEST before` or `REQUEST after` ends the process once, before or after what that request does.
set -eu
state=$1 kind=$2

IFS= read -r request_line
# The text of one field; those that are asked for here hold nothing that is escaped.
field() { # name
  rest=${request_line#*\"$1\":\"}
  if [ "$rest" = "$request_line" ]; then rest=; fi
  rest=${rest%%\"*}
}
field request && request=$rest
field value && value=$rest
field id && id=$rest
field slot && slot=$rest

say() { printf '{"keyswap":1,"outcome":"%s"%s}\n' "$1" "${2:-}"; }
crash() {
  if [ ! -e "$state/crash" ]; then return 0; fi
  if [ "$(cat "$state/crash")" = "$request $1" ]; then
    rm "$state/crash"
    kill -KILL $$
  fi
}
generate() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

echo "$request" >>"$state/log"
echo "asked to $request $value" >&2
crash before
case $request in
describe)
  case $kind in one-*) secrets=1 read_back=true deactivation=false ;; two-*) secrets=2 read_back=false deactivation=true ;; esac
  case $kind in *-own) chooser=caller ;; *-generated) chooser=server ;; esac
  answer=$(say ok ",\"capabilities\":{\"secrets\":$secrets,\"value_chosen_by\":\"$chooser\",\"read_back\":$read_back,\
\"deactivation\":$deactivation,\"propagation_window_seconds\":0.05,\
\"value\":{\"shortest\":20,\"longest\":50,\"characters\":\"abcdefghijklmnopqrstuvwxyz0123456789-\"}}")
  ;;
check) answer=$(say ok) ;;
probe)
  answer=$(say refused)
  for file in "$state"/slots/*; do
    IFS= read -r held <"$file" || true
    if [ "$held" = "$value" ]; then answer=$(say accepted); fi
  done
  ;;
read_back) answer=$(say ok ",\"value\":\"$(cat "$state/slots/only")\"") ;;
set_secret)
  printf '%s' "$value" >"$state/slots/only"
  answer=$(say applied)
  ;;
regenerate_secret)
  generate >"$state/slots/only"
  answer=$(say applied ",\"value\":\"$(cat "$state/slots/only")\"")
  ;;
list_secrets)
  list=
  for file in "$state"/slots/* "$state"/inactive/*; do
    if [ ! -e "$file" ]; then continue; fi
    case $file in */inactive/*) active=false ;; *) active=true ;; esac
    name=${file##*/}
    # A generated value is shown once.
    case $kind in *-own) shown=",\"value\":\"$(cat "$file")\"" ;; *) shown= ;; esac
    list="$list,{\"slot\":\"$name\",\"active\":$active,\"made_for\":\"${name%.*}\"$shown}"
  done
  answer=$(say ok ",\"secrets\":[${list#,}]")
  ;;
add_secret)
  name=$id.$(date +%s%N)
  if [ -z "$value" ]; then value=$(generate); fi
  printf '%s' "$value" >"$state/slots/$name"
  answer=$(say applied ",\"slot\":\"$name\",\"value\":\"$value\"")
  ;;
set_active)
  case $request_line in
  *'"active":true'*) from=inactive to=slots ;;
  *) from=slots to=inactive ;;
  esac
  if [ -e "$state/$from/$slot" ]; then mv "$state/$from/$slot" "$state/$to/$slot"; fi
  answer=$(say applied)
  ;;
remove_secret)
  rm -f "$state/slots/$slot" "$state/inactive/$slot"
  answer=$(say applied)
  ;;
*) answer=$(say error ",\"error\":\"unsupported\",\"reason\":\"no such request\"") ;;
esac
crash after
printf '%s\n' "$answer"
