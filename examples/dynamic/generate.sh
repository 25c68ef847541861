#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Writes the tasks for some points, one a line; without points those of the coarse grid.
#   sh generate.sh [X...] > tasks.jsonl
set -eu
here=$(cd "$(dirname "$0")" && pwd | sed 's/[\\"]/\\&/g')
[ $# -gt 0 ] || set -- 0 1 2 3 4 5 6 7 8 9 10
for x; do
    printf '{"id": "x%s", "command": ["sh", "%s/model.sh", "%s"], "tags": {"x": %s}}\n' "$x" "$here" "$x" "$x"
done
