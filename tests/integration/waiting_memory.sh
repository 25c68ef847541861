#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What a task that waits costs rank 0 in memory, beyond its text (id and command): a run in which
# many wait for cores, less one in which few do, once the state has them all.
#
# PILOT_TEST_WAITING (600000)
. "$(dirname "$0")/lib.sh"

MANY=${PILOT_TEST_WAITING:-600000}
TEXT=$((8 + 12)) # "t0000001", "true 0000001"
MAX=200

anonymous_kib() { awk '/^RssAnon/ { print $2 }' "/proc/$pilot_pid/status"; }
state_has() { [ "$(sqlite3 "$1/state.db" 'SELECT count(*) FROM tasks' 2>/dev/null)" = "$2" ]; }

start_with_waiting() { # DIR TASKS
    {
        echo "touch ../up; exec sleep 300"
        seq -f 'true %07.0f' "$2"
    } | awk '{ printf "{\"id\": \"t%07d\", \"command\": \"%s\"}\n", NR, $0 }' >"$1.jsonl"
    pilot_start --quiet --cores 1 --grace 1 --workdir "$1" "$1.jsonl"
    must_wait_until 60 test -e "$1/up"
    must_wait_until 60 state_has "$1" $(($2 + 1))
}

stop_waiting() {
    kill -TERM "$pilot_pid"
    pilot_wait 60
}

# The memory of what was read goes back just after the commit that the state was asked for.
each_is_small() {
    each=$(($(anonymous_kib) - few))
    each=$((each * 1024 / MANY - TEXT))
    [ "$each" -lt "$MAX" ]
}

test_waiting_tasks_are_small() {
    local few each=
    start_with_waiting few 1
    few=$(anonymous_kib)
    stop_waiting
    start_with_waiting many "$MANY"
    wait_until 10 each_is_small || fail "$each bytes for each of $MANY waiting tasks beyond their text, $MAX at most are allowed"
    echo "  $each bytes for each of $MANY waiting tasks, beyond their text"
    stop_waiting
}

run_tests "$@"
