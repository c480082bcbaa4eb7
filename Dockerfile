# Plain Dockerfile syntax: the classic builder of Docker 20.10 builds it, and BuildKit does too.
# Both bases can be pinned, say --build-arg DEBIAN_IMAGE=debian:trixie-slim@sha256:…
ARG NODE_IMAGE=node:26-trixie-slim
ARG DEBIAN_IMAGE=debian:trixie-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /build
# Node's symbols are a fifth of its size, and nothing here loads a native addon that would need them.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && strip --output-file=/build/node /usr/local/bin/node
COPY package.json package-lock.json ./
COPY src/node-openvpn-mgmt/package.json src/node-openvpn-mgmt/
# No install script runs: the base image is the Node, and esbuild finds its binary without one.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY src/ src/
RUN npm run build
# The public authorities that DNS over TLS believes: Node's own.
RUN node -p 'require("node:tls").rootCertificates.join("\n")' > dist/authorities.pem

FROM ${DEBIAN_IMAGE}
# libatomic1 is Node's only library that the slim image lacks; netbase has /etc/protocols, without which nft lists `tcp` as
# 6, and what is read back is not what was applied. unbound is linked with Python, and starts none. The lists, the documentation and what belongs to an init
# system go in the same layer: a file that is deleted in a later one still counts.
RUN groupadd --system --gid 975 openvpn \
 && useradd --system --uid 975 --gid 975 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin openvpn \
 && export DEBIAN_FRONTEND=noninteractive \
 && apt-get update \
 && apt-get install --yes --no-install-recommends \
      conntrack iproute2 iptables libatomic1 netbase nftables openvpn tini unbound \
 && apt-get clean \
 && rm -rf \
      /etc/default/openvpn /etc/init.d /etc/network /etc/openvpn /etc/python3* /etc/rc?.d /etc/unbound /usr/lib/python3* \
      /usr/sbin/unbound-* /usr/lib/systemd /usr/lib/tmpfiles.d \
      /usr/share/bash-completion /usr/share/doc /usr/share/lintian /usr/share/locale /usr/share/man /usr/share/openvpn \
      /var/cache/apt /var/cache/debconf /var/lib/apt /var/log \
      /etc/*- /var/lib/dpkg/*-old /usr/lib/*/openvpn/plugins \
 && mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/cache/debconf /var/log
COPY --from=build /build/node /usr/local/bin/node
COPY rootfs/ /
COPY --from=build /build/dist/ /usr/lib/underbridge/
ENV NODE_ENV=production
# Bytecode of a run, for every later start; this one ends by saying what it lacks.
RUN UNDERBRIDGE_CACHE=write IP_ADDR=10.0.0.1/24 /usr/lib/underbridge/entrypoint 2>/dev/null \
  ; test -s /usr/lib/underbridge/underbridge.cache

LABEL org.opencontainers.image.title="Underbridge" \
      org.opencontainers.image.description="VPN gateway for Docker networks: everything a container sends leaves through the tunnel, or not at all." \
      org.opencontainers.image.licenses="MIT"
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=3s --timeout=3s --start-period=10s --retries=1 CMD ["/usr/lib/underbridge/healthcheck"]
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/lib/underbridge/entrypoint"]
