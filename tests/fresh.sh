#!/usr/bin/env bash
# Tries what a stranger tries first, on a freshly made minimal Debian: clones HEAD into it and runs the README's commands there.
# usage: tests/fresh.sh [--tests] [--cmd COMMAND] [bookworm] [trixie]     (both, if neither is named)
#   --tests: also the test command; --cmd: this command instead of the README's
# Needs root and /dev/fuse. The machine is a folder with mount and process namespaces of its own: with its first process all others
# in it end and all its mounts are gone, whatever happened; then the folder is removed.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

fail() {
    echo "fresh.sh: $*" >&2
    exit 1
}

suites=()
commands=(examples/quickstart.sh)
while (($#)); do
    case $1 in
    --tests) commands+=(tests/run.sh) ;;
    --cmd) commands=("${2:?"--cmd needs a command"}") && shift ;;
    bookworm | trixie) suites+=("$1") ;;
    *) fail "not understood: $1; usage: tests/fresh.sh [--tests] [--cmd COMMAND] [bookworm] [trixie]" ;;
    esac
    shift
done
((${#suites[@]})) || suites=(bookworm trixie)

((EUID == 0)) || fail "run as root"
[[ -c /dev/fuse ]] || fail "no /dev/fuse here"
if ! command -v debootstrap >/dev/null; then
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap; } \
        </dev/null >/dev/null || fail "cannot install debootstrap"
fi
read -r mirror _ <<<"$("$repository/scripts/mirror.sh")" || fail "apt's sources name no Debian mirror"

# Runs as first process of the new namespaces.
inside() { # FOLDER COMMAND
    # No copies of FUSE mounts that others have here: theirs do not end while one is left.
    awk '$3 ~ /^fuse/ { print $2 }' /proc/self/mounts | while read -r at; do umount -l "$at" || true; done
    mount --bind "$1" "$1" # a root is a mount point, as on any machine
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    mount --rbind /sys "$1/sys"
    mount -t tmpfs tmpfs "$1/run"
    mount -t tmpfs tmpfs "$1/tmp"
    chroot "$1" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        bash -c "cd /root/tdfs && $2" </dev/null
}
export -f inside

machine=
job=
clean_up() {
    if [[ -n $job ]]; then
        pkill -KILL -P "$job" || true # the first process in there; unshare ends when it and all others have
        wait "$job" || true
        job=
    fi
    [[ -n $machine ]] || return 0
    if grep -qF " $machine/" /proc/self/mountinfo; then
        fail "something is mounted below $machine: left as it is"
    fi
    rm -rf --one-file-system "$machine"
    machine=
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

for suite in "${suites[@]}"; do
    machine=$(mktemp -d "${TMPDIR:-/tmp}/tdfs-fresh-XXXXXX")
    log=$machine.log
    options=(--variant=minbase)
    [[ $mirror != https:* ]] || options+=(--include=ca-certificates)
    begin=$SECONDS
    debootstrap "${options[@]}" "$suite" "$machine" "$mirror" </dev/null >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        fail "debootstrap failed, see $log"
    }
    rm "$log"
    chmod 755 "$machine"
    cp -L /etc/resolv.conf /etc/hosts "$machine/etc/"
    git -c safe.directory='*' clone -q --no-hardlinks "$repository" "$machine/root/tdfs"
    echo "=== $suite: made in $((SECONDS - begin)) s"

    for command in "${commands[@]}"; do
        echo "=== $suite: $command"
        begin=$SECONDS
        unshare --mount --pid --fork --kill-child bash -euc 'inside "$@"' inside "$machine" "$command" &
        job=$!
        wait "$job" || fail "$suite: '$command' failed with $? after $((SECONDS - begin)) s"
        job=
        echo "=== $suite: $command: fine, $((SECONDS - begin)) s"
    done
    clean_up
done
