#!/usr/bin/env bash
# Builds tdfs, then shows it at work on this machine: a master, two slaves, a source tree written through the mount, and the proof
# that the replicas are identical. Installs with apt-get what the build needs. Apart from that and build/ it leaves nothing behind.
# usage: examples/quickstart.sh          (as root, on Debian 12 or 13)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

say() { printf '\n== %s\n' "$*"; }
fail() {
    echo "quickstart.sh: $*" >&2
    exit 1
}

[[ ${1-} != -h && ${1-} != --help ]] || { sed -n '2,4s/^# //p' "$0" && exit 0; }
(($# == 0)) || fail "not understood: $1; usage: examples/quickstart.sh"
((EUID == 0)) || fail "run as root: it installs packages and mounts a file system"
[[ -c /dev/fuse ]] || fail "no /dev/fuse here: the kernel has no FUSE, or this container may not use it"

say "Building in build/release (the first time takes some minutes)"
scripts/deps.sh
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
    cmake --preset release -DTDFS_TESTS=OFF
    cmake --build --preset release -j "$(nproc)"
} </dev/null >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    fail "the build failed"
}
rm -f "$log"
bin=$root/build/release/bin
echo "$("$bin/tdfs" --version | head -n 1), after $SECONDS s"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/tdfs-quickstart-XXXXXX")
clean_up() {
    cd /
    "$bin/tdfsctl" -m "$work/master" stop >/dev/null 2>&1 || true
    "$bin/tdfsctl" -m "$work/replica1" stop >/dev/null 2>&1 || true
    "$bin/tdfsctl" -m "$work/replica2" stop >/dev/null 2>&1 || true
    ! grep -qF " $work/mount " /proc/self/mounts || umount -l "$work/mount" || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

free_port() {
    local port
    for port in $(shuf -i 20000-32000 -n 50); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
    done
    fail "no free port on 127.0.0.1"
}

mkdir "$work"/{master,mount,replica1,replica2}
one=127.0.0.1:$(free_port)
two=127.0.0.1:$(free_port)

say "Two slaves; each keeps a replica in an ordinary directory"
for slave in "replica1 -l $one" "replica2 -l $two"; do
    read -r name options <<<"$slave"
    echo "+ tdfs_slave -m $name $options"
    # shellcheck disable=SC2086
    (cd "$work" && "$bin/tdfs_slave" -m "$name" $options)
done

say "The master: an ordinary directory, its slaves, and where to mount it"
echo "+ tdfs -m master -c $one -c $two -z 1 mount"
(cd "$work" && "$bin/tdfs" -m master -c "$one" -c "$two" -z 1 mount)

say "A real source tree goes through the mount: this project, and /usr/include"
begin=$SECONDS
mkdir "$work/mount/tdfs"
tar -C "$root" --exclude=./build --exclude=./.git -cf - . | tar -C "$work/mount/tdfs" -xpf -
cp -a /usr/include "$work/mount/include"
mv "$work/mount/include" "$work/mount/headers"
rm -r "$work/mount/tdfs/tests"
echo "$(find "$work/mount" | wc -l) files and directories, $(du -sh --apparent-size "$work/mount" | cut -f 1), in $((SECONDS - begin)) s"

say "What the master says"
"$bin/tdfsctl" -m "$work/master" status

say "Waiting until all slaves have everything"
"$bin/tdfsctl" -m "$work/master" drain
"$bin/tdfsctl" -m "$work/master" status

say "Are the replicas identical?"
g++ -std=c++20 -O1 -I "$root" -o "$work/tree_diff" tests/support/tree_diff.cpp tests/support/tree_compare.cpp
for replica in replica1 replica2; do
    diff -r --no-dereference --exclude=.tdfs "$work/master" "$work/$replica" || fail "$replica differs"
    "$work/tree_diff" "$work/master" "$work/$replica" || fail "$replica differs"
    echo "$replica: identical in names, content, owners, modes, times, links, attributes"
done

say "umount ends the master, and the slaves are told to stop"
umount "$work/mount"
"$bin/tdfsctl" -m "$work/replica1" stop
"$bin/tdfsctl" -m "$work/replica2" stop
say "Done after $SECONDS s. The programs are in build/release/bin; README.md says how to use them on two machines."
