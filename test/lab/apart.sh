#!/bin/sh
# apart.sh PROGRAM [ARGUMENT...]
# Runs PROGRAM as if no engine had ever run here: processes, network, /run and the engines' data of its own, in memory or
# under /var/lib/underbridge-lab/apart. Everything it started ends with it. There is no way out of its network.
# UNDERBRIDGE_APART names another place than apart: two runs at once need two.
set -eu

if [ "$1" != --inside ]; then
  exec unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private -- "$0" --inside "$@"
fi
shift

data=/var/lib/underbridge-lab/${UNDERBRIDGE_APART:-apart}
mkdir -p "$data/docker" "$data/lab" /var/lib/docker
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$data/docker" /var/lib/docker
mount --bind "$data/lab" /var/lib/underbridge-lab
mkdir -p /var/log/underbridge-lab
mount -t tmpfs tmpfs /var/log/underbridge-lab
ip link set lo up
# A child, not exec: the first process of a PID namespace has no default signal handlers, and has orphans to reap.
"$@"
