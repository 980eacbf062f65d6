#!/usr/bin/env bash
# Builds tdfs and runs its tests, after installing what both need (as root, by apt-get).
# usage: tests/run.sh [--preset release|debug|asan|tsan|clang] [arguments of ctest, such as -L unit or -R NAME]
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release
selection=()
while (($#)); do
    case $1 in
    --preset) preset=${2:?"--preset needs a name"} && shift ;;
    -h | --help) sed -n '2,3s/^# //p' "$0" && exit 0 ;;
    *) selection+=("$1") ;;
    esac
    shift
done

needs=(--test)
[[ $preset != clang ]] || needs+=(--lint)
scripts/deps.sh "${needs[@]}"

# Warnings are errors in every preset but release: gcc 12 optimising sees overflows in its own string that are not there.
cmake --preset "$preset" -DTDFS_TESTS=ON
cmake --build --preset "$preset" -j "$(nproc)"
echo "built in build/$preset after $SECONDS s"

# gcc's thread sanitizer does not start where the kernel spreads addresses wider than this.
run=()
if [[ $preset == tsan && $(cat /proc/sys/vm/mmap_rnd_bits) -gt 28 ]]; then
    run=(setarch --addr-no-randomize)
fi
"${run[@]}" ctest --preset "$preset" -j 2 "${selection[@]}"
