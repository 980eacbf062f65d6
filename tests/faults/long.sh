#!/usr/bin/env bash
# tests/faults/long.sh COUNT [TEST [FILTER]]: the fault tests in their long form, as root, with the programs of build/release
# (or TDFS_BIN). COUNT is how often each fault is tried; TEST one of the programs (kill_test, crash_point_test, link_fault_test,
# netns_fault_test, full_disk_test, power_cut_test), all if not given; FILTER the beginning of a test case's name. TDFS_SEED=N repeats a run,
# TDFS_FAULTS_SECONDS=N is how long a disk stays full under load (60).
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)

if [[ ! ${1-} =~ ^[0-9]+$ ]]; then
    echo "long.sh: COUNT is missing: how often is each fault to be tried? (long.sh 1000 kill_test)" >&2
    exit 2
fi
export TDFS_FAULTS_COUNT=$1 TDFS_FAULTS_SECONDS=${TDFS_FAULTS_SECONDS:-60} TDFS_BIN=${TDFS_BIN:-$here/build/release/bin}
programs=(kill_test crash_point_test link_fault_test netns_fault_test full_disk_test power_cut_test)
[[ -n ${2-} ]] && programs=("$2")

failed=()
for program in "${programs[@]}"; do
    if [[ ! -x $TDFS_BIN/tests/$program ]]; then
        echo "long.sh: $TDFS_BIN/tests/$program is missing: build it, or name the directory of the programs in TDFS_BIN" >&2
        exit 2
    fi
    "$TDFS_BIN/tests/$program" ${3:+"$3*"} --durations yes || failed+=("$program")
done
if ((${#failed[@]})); then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
