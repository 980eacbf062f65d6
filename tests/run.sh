#!/usr/bin/env bash
# Builds tdfs and runs its tests, after installing what both need (as root, by apt-get).
# usage: tests/run.sh [--preset release|debug|asan|tsan] [--unit | --only NAME,NAME...] [--programs asan|tsan]
#                     [arguments of ctest, such as -R NAME]
#   --unit: builds the programs and the unit tests, and runs those (quicker than -L unit)
#   --only: builds the programs and these tests, and runs those
#   --programs: the end-to-end tests with the programs of that preset, which are built already
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release
selection=()
targets=()
while (($#)); do
    case $1 in
    --preset) preset=${2:?"--preset needs a name"} && shift ;;
    --unit) targets=(--target programs unit_tests) && selection+=(-L unit) ;;
    --only)
        IFS=, read -ra names <<<"${2:?"--only needs names of tests"}"
        targets=(--target programs "${names[@]}") && selection+=(-R "^(${2//,/|})\$")
        shift
        ;;
    --programs)
        export TDFS_PROGRAMS=$PWD/build/${2:?"--programs needs a preset"}/bin TDFS_SANITIZED=1
        export UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
        selection+=(-L e2e -LE 'heavy|programs')
        shift
        ;;
    -h | --help) sed -n '2,7s/^# //p' "$0" && exit 0 ;;
    *) selection+=("$1") ;;
    esac
    shift
done

needs=(--test)
[[ $preset != asan ]] || needs+=(--lint) # built by clang++
scripts/deps.sh "${needs[@]}"

# Warnings are errors in every preset but release: gcc 12 optimising sees overflows in its own string that are not there.
cmake --preset "$preset" -DTDFS_TESTS=ON
cmake --build --preset "$preset" -j "$(nproc)" "${targets[@]}"
echo "built in build/$preset after $SECONDS s"

# gcc's thread sanitizer does not start where the kernel spreads addresses wider than this.
run=()
if [[ "$preset ${TDFS_PROGRAMS-}" == *tsan* && $(cat /proc/sys/vm/mmap_rnd_bits) -gt 28 ]]; then
    run=(setarch --addr-no-randomize)
fi
# Most of them wait for daemons, disks and links more than they compute.
"${run[@]}" ctest --preset "$preset" -j "$((2 * $(nproc)))" "${selection[@]}"
