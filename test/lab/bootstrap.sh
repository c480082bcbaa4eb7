#!/bin/sh
# bootstrap.sh [PROGRAM ARGUMENT...]
# Gives a bare Debian what the repo's TypeScript needs: npm, and node_modules with Node 26 in it. Then runs PROGRAM with
# that Node first in its path. Costs milliseconds when nothing is to do.
set -eu

if [ "$(id -u)" -ne 0 ]; then
  echo 'underbridge: this starts a Docker engine and network namespaces: run it as root (sudo)' >&2
  exit 1
fi

cd "$(dirname "$0")/../.."
modules=$PWD/node_modules

packages=
command -v npm >/dev/null || packages='ca-certificates nodejs npm'
# The Node of the npm package "node" is linked with it, and a bare Debian has it not.
/sbin/ldconfig -p | grep -q 'libatomic\.so\.1 ' || packages="$packages libatomic1"
if [ -n "$packages" ]; then
  echo "lab: install $packages" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet=2
  # shellcheck disable=SC2086 # a list of names
  install() { apt-get install --yes --quiet=2 --no-install-recommends -o DPkg::Lock::Timeout=300 $packages >/dev/null; }
  # An install that was killed leaves dpkg so that it refuses every other one.
  install || { dpkg --force-confold --configure -a && install; }
fi

# npm writes .package-lock.json last, so it is there, and new, only after an install that went through.
if [ ! -x "$modules/.bin/node" ] || [ -z "$(find "$modules/.package-lock.json" -newer package-lock.json 2>/dev/null)" ]; then
  echo 'lab: install the npm packages' >&2
  npm ci --no-audit --no-fund --loglevel=error
  touch "$modules/.package-lock.json"
  # The package "node" gets its binary by an install script, and npm may be told not to run any.
  if ! "$modules/.bin/node" --version >/dev/null 2>&1; then
    npm rebuild --ignore-scripts=false --loglevel=error node
  fi
fi

if [ $# -gt 0 ]; then
  PATH=$modules/.bin:$PATH exec "$@"
fi
