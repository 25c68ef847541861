#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Writes the one task that all begins with.
#   sh generate.sh [DEPTH] > root.json      DEPTH: levels (default: 16, which makes 65,535 tasks)
set -eu
here=$(cd "$(dirname "$0")" && pwd | sed 's/[\\"]/\\&/g')
printf '[{"id": "b", "command": ["sh", "%s/branch.sh", "%s"]}]\n' "$here" "${1:-16}"
