#!/usr/bin/env bash
# Installs, with apt-get, the Debian packages that are missing: what the build needs; --test: and the tests; --lint: and .ci/run.
set -euo pipefail

build=(
    g++ cmake ninja-build pkg-config
    liblzf-dev libasio-dev libcxxopts-dev libtomlplusplus-dev libxxhash-dev libspdlog-dev liburing-dev nlohmann-json3-dev
    libfuse3-dev fuse3                                        # the system's, and fusermount3
    meson dpkg-dev patch xz-utils ca-certificates libnuma-dev # and liburing: a newer libfuse, scripts/libfuse.sh
)
test=(catch2 acl attr e2fsprogs fio git iproute2 make mount nftables procps python3 rsync sqlite3 strace stress-ng util-linux)
lint=(clang clang-format clang-tidy)

fail() {
    echo "deps.sh: $*" >&2
    exit 1
}

wanted=("${build[@]}")
for option in "$@"; do
    case $option in
    --test) wanted+=("${test[@]}") ;;
    --lint) wanted+=("${lint[@]}") ;;
    *) fail "unknown option $option; usage: deps.sh [--test] [--lint]" ;;
    esac
done

command -v apt-get >/dev/null || fail "no apt-get here; this needs, under other names perhaps: ${wanted[*]}"

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || true
    [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

((EUID == 0)) || fail "run as root to install: ${missing[*]}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
    DEBIAN_FRONTEND=noninteractive "$@" </dev/null >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "failed: $*"
    }
}
echo "installing ${missing[*]}"
quietly apt-get update
quietly apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"
