#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Writes the task file of a parameter sweep: every rate with every seed, one task each, and one
# task that collects the results when all are there.
#
#   sh generate_sweep.sh [RATES [SEEDS]] > tasks.json
#   sh generate_sweep.sh "2.8 3.2 3.6" "1 2" > tasks.json
set -eu

rates=${1:-"2.6 2.8 3.0 3.2 3.4 3.6 3.8 4.0"}
seeds=${2:-"1 2 3"}
here=$(cd "$(dirname "$0")" && pwd)
# The path goes into a JSON string.
model=$(printf '%s' "$here/model.sh" | sed 's/[\\"]/\\&/g')

ids=
comma=
echo '['
for rate in $rates; do
    for seed in $seeds; do
        id=r$rate-s$seed
        # "tags" mean nothing to pilot-mpi; it keeps them for you.
        printf '%s  {"id": "%s", "command": ["sh", "%s", "%s", "%s"], "timeout": 60, "max_retries": 1,\n' \
            "$comma" "$id" "$model" "$rate" "$seed"
        printf '   "tags": {"rate": %s, "seed": %s}}' "$rate" "$seed"
        comma=',
'
        ids="$ids${ids:+, }\"$id\""
    done
done
# The directories of the tasks are neighbours: ../ID/stdout.txt is the output of task ID.
printf '%s  {"id": "collect", "depends_on": [%s],\n' "$comma" "$ids"
printf '   "command": "(echo rate seed mean; cat ../r*-s*/stdout.txt | sort -n) | tee sweep.txt"}\n]\n'
