#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Writes the task file: pi with growing numbers of intervals, RANKS ranks a task.
#   sh generate.sh [RANKS] > tasks.json
set -eu
ranks=${1:-2}
here=$(cd "$(dirname "$0")" && pwd | sed 's/[\\"]/\\&/g')

# workdir: where ./pi is. (Without it a task starts in a directory of its own.)
echo "{\"defaults\": {\"cores\": $ranks, \"timeout\": 300, \"workdir\": \"$here\"}, \"tasks\": ["
comma=
for n in 1000000 10000000 100000000; do
    printf '%s  {"id": "pi-%s", "command": "mpirun -np %s ./pi %s"}' "$comma" "$n" "$ranks" "$n"
    comma=',
'
done
printf '\n]}\n'
