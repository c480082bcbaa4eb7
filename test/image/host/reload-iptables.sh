#!/bin/sh
# reload-iptables.sh FOLDER: what docker_iptables expects of iptables.service: flush all, then load the folder.
set -eu
for table in filter nat; do
  iptables --table $table --flush
  iptables --table $table --delete-chain
done
for file in "$1"/*; do iptables-restore --noflush <"$file"; done
