# The command `keyswap` alone, static, for a rotation in a container: see docs/install.md.
FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends libprotobuf-dev musl-tools protobuf-compiler \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /keyswap
COPY . .
RUN packaging/archive "$(uname -m)-unknown-linux-musl" \
 && mkdir /built /data \
 && tar -xzf target/archives/keyswap-*.tar.gz -C /built --strip-components=1

FROM scratch
# The authorities that certificates of authorization servers are checked against.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /built/keyswap /usr/local/bin/keyswap
COPY --from=build --chown=65532:65532 /data /data
ENV PATH=/usr/local/bin
# Whose files a mounted store has to be.
USER 65532:65532
WORKDIR /data
ENTRYPOINT ["keyswap"]
