#!/bin/sh
# enter-tree.sh TREE FOLDER... -- PROGRAM [ARGUMENT...]
# Runs PROGRAM with TREE as its root and the machine's FOLDERs in it, in a mount namespace of its own that ends with it.
# Not chroot: the engine remounts /, which the kernel refuses (EINVAL) where / is no mount point of its namespace.
# Every step is an exec, so the pid that the caller got is the program's.
set -eu

if [ "$1" != --inside ]; then
  exec unshare --mount --propagation private -- "$0" --inside "$@"
fi
shift

tree=$1
shift
mount --bind "$tree" "$tree"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$tree$1"; else : >>"$tree$1"; fi
  mount --rbind "$1" "$tree$1"
  shift
done
shift

cd "$tree"
mkdir -p .machine
pivot_root . .machine
umount -l /.machine
exec "$@"
