#!/usr/bin/env bash
# libfuse.sh DIR: sees to a libfuse of at least 3.18. Prints the prefix where it lies, or nothing when the system's own is to be used:
# because it is new enough, or because no newer one can be had (which is said in one line).
#
# Builds Debian's source package of the suite testing, else unstable, into DIR/libfuse-VERSION: static, so that it stays out of the
# system's way. It comes from the mirror this machine installs from, through directories of its own: the system's apt notices nothing.
# Done once; safe to run twice at a time and to interrupt. Custom I/O gives each thread of ours its own channel to the kernel.
set -euo pipefail

least=3.18
scripts=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
deps=$(cd "$1" && pwd)
work=$deps/work # of whoever holds the lock
log=$deps/libfuse.log

settle_for_system() {
    local version
    version=$(pkg-config --modversion fuse3 2>/dev/null) || version=none
    echo "libfuse: $1; using the system's ($version), without io_uring" >&2
    rm -rf "$work"
    exit 0
}

newest_built() {
    local stamp
    stamp=$(find "$deps" -maxdepth 2 -path "$deps/libfuse-*/with-custom-io" | sort -V | tail -n 1)
    [[ -z $stamp ]] || dirname "$stamp"
}

# The Signed-By of an entry of apt's sources: an option of a line of a .list, or a field (perhaps with a whole key) of a paragraph of a .sources.
signed_by() {
    local file=${1%:*} entry=${1##*:}
    if [[ $file == *.sources ]]; then
        awk -v RS= -v want="$entry" 'NR == want' "$file" | awk '/^[^ \t]/ { on = tolower($0) ~ /^signed-by:/ } on'
    else
        sed -n "${entry}p" "$file" | sed -nE 's/.*\[[^]]*signed-by=([^] ]+).*/Signed-By: \1/p'
    fi
}

# The mirror may be a frozen one, whose indexes have run out; signed they still are.
private_apt() { # SUITE COMMAND...
    local suite=$1
    shift
    mkdir -p "$work/$suite"/{parts,lists/partial,cache/archives/partial}
    printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\n%s\n' "$repository" "$suite" "$signature" \
        >"$work/$suite/parts/$suite.sources"
    apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/$suite/parts" \
        -o Dir::State::Lists="$work/$suite/lists" -o Dir::Cache="$work/$suite/cache" \
        -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false -o Acquire::http::Timeout=20 -o Acquire::Retries=2 "$@"
}

download() { # SUITE: leaves one .dsc in $work/SUITE
    private_apt "$1" -o APT::Update::Error-Mode=any update &&
        (cd "$work/$1" && private_apt "$1" source --download-only fuse3)
}

build() { # DSC PREFIX
    dpkg-source --no-check -x "$1" "$work/source" && # apt has checked it
        meson setup "$work/build" "$work/source" --prefix="$2" --libdir=lib --sysconfdir="$2/etc" --buildtype=release \
            -Ddefault_library=static -Dpkgconfig.relocatable=true -Dutils=false -Dexamples=false -Dtests=false \
            -Duseroot=false -Denable-custom-io=true -Dudevrulesdir="$2/udev" -Dinitscriptdir= &&
        ninja -C "$work/build" -j2 &&
        DESTDIR="$work/root" ninja -C "$work/build" install &&
        touch "$work/root$2/with-custom-io" &&
        rm -rf "$2" && mv "$work/root$2" "$2"
}

if pkg-config --atleast-version=$least fuse3 2>/dev/null; then
    exit 0
fi

exec 9>"$deps/lock"
flock 9
prefix=$(newest_built)
if [[ -z $prefix ]]; then
    for tool in apt-get dpkg-source meson ninja patch xz; do
        command -v $tool >/dev/null || settle_for_system "no $tool to build $least with (scripts/deps.sh installs it)"
    done
    rm -rf "$work"
    read -r repository entry <<<"$("$scripts/mirror.sh")" || settle_for_system "this machine's apt sources name no Debian mirror"
    signature=$(signed_by "$entry")

    for suite in testing unstable; do
        download $suite >"$log" 2>&1 || continue
        dsc=$(echo "$work/$suite"/fuse3_*.dsc)
        version=${dsc##*/fuse3_}
        version=${version%-*.dsc}
        dpkg --compare-versions "$version" ge $least && break
        version=
    done
    [[ -n ${version:-} ]] || settle_for_system "no source of $least or newer can be fetched now (see $log)"

    echo "libfuse: building $version, once (half a minute)" >&2
    build "$dsc" "$deps/libfuse-$version" >"$log" 2>&1 9>&- || settle_for_system "$version does not build (see $log)"
    prefix=$deps/libfuse-$version
    rm -rf "$work"
fi
echo "$prefix"
