# To be read by bash. What comes from elsewhere may fail once, and be there a moment later.
retry() { # command, arguments...
  local tries=1
  until "$@"; do
    if [ "$tries" -eq 3 ]; then return 1; fi
    echo "failed, and is tried again in $((5 * tries)) s: $*" >&2
    sleep $((5 * tries))
    tries=$((tries + 1))
  done
}

apt_get() { # command, arguments...
  # Something else on the machine may be installing at that moment.
  DEBIAN_FRONTEND=noninteractive retry apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"
}
