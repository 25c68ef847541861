#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# When a launcher is killed, its tasks are lost; they have not failed. In a namespace of process
# numbers of its own, so that a task can have a smaller one than the slot that runs it, as it has when
# the numbers have wrapped around.
if [ "${1:-}" != --inside ]; then
    . "$(dirname "$0")/lib.sh"
    need unshare util-linux
    need sqlite3 sqlite3
    [ "$(id -u)" = 0 ] || skip "namespaces need root"
    unshare -m -p -f --mount-proc sh -c 'echo 9000 >/proc/sys/kernel/ns_last_pid' 2>/dev/null ||
        skip "the next process number cannot be chosen here"
    (unset TEST_MARKER && exec unshare -m -p -f --kill-child --mount-proc bash "$0" --inside "$@") &
    wait $!
    exit $?
fi
shift
. "$(dirname "$0")/lib.sh"

named() { # NAME: pids
    local file
    for file in /proc/[0-9]*/comm; do
        if [ "$(cat "$file" 2>/dev/null)" = "$1" ]; then basename "$(dirname "$file")"; fi
    done
}
all_run() { [ "$(cat pilot_runs/pids 2>/dev/null | wc -l)" = 3 ]; }

# Ten times: what is wrong shows only if the slot runs between two signals.
test_tasks_are_lost_whatever_their_numbers() {
    local i slots
    for i in 1 2 3; do
        # The first wait makes the slots; the second part is a process that is forked by the pilot later.
        echo "{\"id\": \"first$i\", \"command\": \"until [ -e ../go ]; do sleep 0.02; done\"}"
        echo "{\"id\": \"t$i\", \"depends_on\": [\"first1\", \"first2\", \"first3\"], \"command\": \"echo \$\$ >>../pids; exec sleep 600\"}"
    done >tasks.json
    for i in $(seq 10); do
        rm -rf pilot_runs
        echo 9000 >/proc/sys/kernel/ns_last_pid
        pilot_start --cores 3 tasks.json
        must_wait_until 20 eval '[ "$(named pilot-slot | wc -l)" = 3 ]'
        slots=$(named pilot-slot | sort -n | head -n 1)
        echo 400 >/proc/sys/kernel/ns_last_pid
        touch pilot_runs/go
        must_wait_until 20 all_run
        [ "$(sort -n pilot_runs/pids | tail -n 1)" -lt "$slots" ] || fail "the tasks' numbers are not below those of the slots"
        kill -9 "$(named pilot-guardian)"
        pilot_wait 20
        assert_eq "reasons of the attempts" "3 lost" \
            "$(sql "select count(*) || ' ' || reason from attempts where id like 't_' group by reason" | paste -sd,)"
        assert_nothing_left
    done
}

run_tests "$@"
