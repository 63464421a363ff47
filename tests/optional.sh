# The packages and features of what is off by default, to be read by bash. All its tests are built as one set: what they need
# is then built once.
optional=(
  --locked -p keyswap-admin -p keyswap-store -p keyswap-cli -p keyswap-benches -p keyswap-real-tests
  --features "real-servers,age,aws,etcd"
)
