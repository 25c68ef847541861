#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A task that adds two more, down to a depth: task b adds b0 and b1, task b0 adds b00 and b01, ...
#
#   sh branch.sh DEPTH
#
# pilot-mpi must be on the PATH; which pilot is meant it knows from PILOT_SOCKET, which every task has.
# Killed before the two were added, the task runs again; killed after that, it adds the same two again,
# which changes nothing.
set -eu
depth=$1
id=$PILOT_TASK_ID # b and one bit for each level below the first
if [ -n "${BRANCH_LOG:-}" ]; then echo "$id" >>"$BRANCH_LOG"; fi # who ran, how often
if [ ${#id} -ge "$depth" ]; then exit 0; fi

here=$(cd "$(dirname "$0")" && pwd)
case $here in *[\\\"]*) here=$(printf %s "$here" | sed 's/[\\"]/\\&/g') ;; esac
task='{"id": "%s", "command": ["sh", "%s/branch.sh", "%s"]}\n'
# shellcheck disable=SC2059
printf "$task$task" "${id}0" "$here" "$depth" "${id}1" "$here" "$depth" | pilot-mpi add - >/dev/null
