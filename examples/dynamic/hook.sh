#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Refines the sweep: where the peak is above 0.5, the points half a step to both sides as well.
#
#   pilot-mpi --on-complete "sh hook.sh" tasks.jsonl
#
# Each line of JSON that comes in is one task that has ended; each is answered with one line. Of the
# line only three fields are needed, which the shell can cut out of it by itself as long as there is
# no quote in the path of the work directory. (awk or sed as the loop would not do: they read ahead,
# and would answer when it is too late.)
set -u
here=$(cd "$(dirname "$0")" && pwd)
max_tasks=20
known=" 0 1 2 3 4 5 6 7 8 9 10 " count=11

# Sets $value to the text, or the number, that $line has for "NAME".
text() { value=${line##*\""$1"\":} value=${value#*\"} value=${value%%\"*}; }
number() { value=${line#*\""$1"\":} value=${value%%[,\}]*}; }

while IFS= read -r line; do
    case $line in
        *'"event":'*'"ended"'*) ;;
        *'"event":'*'"error"'*) echo "hook.sh: $line" >&2 && continue ;;
        *) continue ;; # "hello" and "end" want no answer
    esac
    number seq && seq=$value
    text status && status=$value
    text stdout_file && file=$value

    new=
    if [ "$status" = completed ]; then
        for x in $(awk '$2 > 0.5 { if ($1 >= 0.5) print $1 - 0.5; if ($1 <= 9.5) print $1 + 0.5 }' "$file"); do
            case $known in *" $x "*) continue ;; esac
            [ $count -lt $max_tasks ] || continue
            known="$known$x " count=$((count + 1)) new="$new $x"
        done
    fi
    # shellcheck disable=SC2086
    printf '{"ack": %s, "tasks": [%s]}\n' "$seq" "${new:+$(sh "$here/generate.sh" $new | paste -s -d , -)}"
done
