#!/usr/bin/env bash
# Builds each known fault into the simulated daemons (README.md) and wants to see it found. Prints at which seed. Those that only rare
# turns of events show begin shortly before the seed that is known to show them; from 1 on they take minutes.
# usage: mutations.sh SIM [SEEDS]
set -euo pipefail
sim=${1:?"usage: mutations.sh SIM [SEEDS]"}
seeds=${2:-10000}

declare -A failing=([failed-fsync-taken-for-done]=1) # needs disks that fail
declare -A begin=([note-forgotten]=500)
status=0
for mutation in $("$sim" --mutations); do
    disks=--no-disk-trouble
    [[ -v failing[$mutation] ]] && disks=
    if out=$("$sim" --mutation "$mutation" --seed "${begin[$mutation]:-1}" --count "$seeds" $disks); then
        echo "$mutation: NOT FOUND in $seeds seeds"
        status=1
    elif found=$(grep -m 1 '^seed .* failed' <<<"$out"); then
        echo "$mutation: $found"
    else # the simulator itself did not run
        echo "$mutation: $out"
        status=1
    fi
done
exit $status
