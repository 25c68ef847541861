#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Writes the task file: the same program with growing resolution, CORES cores a task.
#   sh generate.sh [CORES] > tasks.json
set -eu
cores=${1:-2}
here=$(cd "$(dirname "$0")" && pwd)
program=$(printf '%s' "$here/mandelbrot" | sed 's/[\\"]/\\&/g')

echo "{\"defaults\": {\"cores\": $cores, \"timeout\": 300}, \"tasks\": ["
comma=
for side in 500 1000 2000 3000; do
    # The longest first: a long task that starts last is waited for by idle cores.
    printf '%s  {"id": "side-%s", "priority": %s, "command": ["%s", "%s"]}' "$comma" "$side" "$side" "$program" "$side"
    comma=',
'
done
printf '\n]}\n'
