#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The same tree through a hook: for each task that completed, two more, down to a depth.
#
#   pilot-mpi --on-complete "sh hook.sh DEPTH [COMMAND]" root.json
#
# COMMAND is what the new tasks run, as it stands in JSON (default: true). The shell does all of it
# without starting a process, but reads byte by byte: some two thousand lines a second.
set -eu
depth=$1 command=${2:-true}

# Sets $value to the text, or the number, that $line has for "NAME". (Good enough for lines whose
# texts have no quotes.)
text() { value=${line##*\""$1"\":} value=${value#*\"} value=${value%%\"*}; }
number() { value=${line#*\""$1"\":} value=${value%%[,\}]*}; }

task='{"id": "%s", "command": "%s"}'
while IFS= read -r line; do
    case $line in
        *'"event":'*'"ended"'*) ;;
        *'"event":'*'"error"'*) echo "hook.sh: $line" >&2 && continue ;;
        *) continue ;; # "hello" and "end" want no answer
    esac
    number seq && seq=$value
    text status && status=$value
    text task_id && id=$value
    if [ "$status" = completed ] && [ ${#id} -lt "$depth" ]; then
        # shellcheck disable=SC2059
        printf "{\"ack\": %s, \"tasks\": [$task, $task]}\n" "$seq" "${id}0" "$command" "${id}1" "$command"
    else
        printf '{"ack": %s}\n' "$seq"
    fi
done
