#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The state on a file system whose locks do not work: a preloaded library makes them fail. A pilot
# runs all the same, a second one is refused by name, and nobody has to tidy up after a dead one.
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3
[ -n "${NOLOCK:-}" ] && [ -e "$NOLOCK" ] || skip "no library that makes locks fail (NOLOCK)"
if ldd "$PILOT" 2>/dev/null | grep -q libasan; then skip "a sanitizer does not stand a preloaded library"; fi

one_task() { # NAME
    echo "{\"id\": \"$1\", \"command\": \"echo \$\$ >>../started; until [ -e ../go ]; do sleep 0.05; done\"}"
}
started() { [ -s pilot_runs/started ]; }
claims() { find pilot_runs -name 'state.db.claim.*' | wc -l; }

test_a_pilot_runs_where_locks_do_not_work() {
    local errno
    for errno in 37 38 95; do # ENOLCK, ENOSYS, EOPNOTSUPP
        rm -rf pilot_runs
        echo 'echo hello' >tasks.txt
        LD_PRELOAD=$NOLOCK NOLOCK_ERRNO=$errno expect 0 tasks.txt
        assert_contains err "no working locks"
        assert_eq statuses "completed 1" "$(statuses)"
        assert_eq "claims left" 0 "$(claims)"
    done
}

test_of_two_kinds_of_locks_both_must_work() {
    echo 'echo hello' >tasks.txt
    LD_PRELOAD=$NOLOCK NOLOCK_PROCESS=1 expect 0 tasks.txt
    assert_contains err "no working locks"
    assert_eq statuses "completed 1" "$(statuses)"
}

# The probes succeed, and what SQLite does first; its first write does not.
test_locks_that_fail_at_the_first_write_are_told() {
    echo 'echo hello' >tasks.txt
    LD_PRELOAD=$NOLOCK NOLOCK_AFTER=2 pilot tasks.txt
    if [ "$status" = 0 ]; then fail "it went on without a lock"; fi
    assert_contains err "state.db" "locks"
}

test_a_second_pilot_is_refused_by_name_and_a_dead_one_is_not_waited_for() {
    export LD_PRELOAD=$NOLOCK
    one_task a >tasks.json
    pilot_start tasks.json
    first=$pilot_pid
    must_wait_until 20 started
    mkdir other && cd other
    for args in --resume "--fresh ../tasks.json" ../tasks.json; do
        # shellcheck disable=SC2086
        expect 2 --workdir ../pilot_runs $args
        assert_contains err "in use by another pilot: host $(uname -n), pid $first, since 20"
    done
    cd ..
    kill -9 "$first"
    wait "$first" || true
    touch pilot_runs/go
    assert_eq "claims of the dead" 1 "$(claims)"
    PILOT_DEADLINE=10 expect 0 --resume
    assert_eq statuses "completed 1" "$(statuses)"
    assert_eq "claims left" 0 "$(claims)"
}

# Of many that start at the same moment, one gets it; again after that one was killed.
test_one_of_many_wins() {
    export LD_PRELOAD=$NOLOCK
    local i round pids winners
    one_task a >tasks.json
    mkdir pilot_runs
    for round in 1 2 3; do
        pids=
        : >pilot_runs/started
        for i in 1 2 3 4; do
            if [ $round = 1 ]; then args=tasks.json; else args=--resume; fi
            "$PILOT" $args >out.$i 2>err.$i &
            pids="$pids $!"
        done
        must_wait_until 60 three_refused
        must_wait_until 20 started
        winners=
        for i in $pids; do
            ended "$i" || winners="$winners $i"
        done
        # shellcheck disable=SC2086
        set -- $winners
        assert_eq "winners of round $round" 1 $#
        assert_eq "starts of the task in round $round" 1 "$(wc -l <pilot_runs/started)"
        kill -9 "$1"
        # shellcheck disable=SC2086
        wait $pids || true
        assert_nothing_left
    done
}
three_refused() { [ "$(grep -lF "in use by another pilot" err.? | wc -l)" = 3 ]; }

# Another host (by name): no process to look for, only the heartbeat.
elsewhere() { unshare -u sh -c 'hostname elsewhere && exec "$@"' sh "$@"; }
test_on_another_host_the_heartbeat_decides() {
    unshare -u true 2>/dev/null || { echo "SKIP: no other host name can be had" && exit 77; }
    export LD_PRELOAD=$NOLOCK
    one_task a >tasks.json
    pilot_start tasks.json
    first=$pilot_pid
    must_wait_until 20 started
    status=0
    elsewhere timeout 30 "$PILOT" --resume >out2 2>err2 || status=$?
    assert_eq "exit status while it lives" 2 "$status"
    assert_contains err2 "in use by another pilot: host $(uname -n), pid $first"
    # It is only stopped. When it goes on, it must not write any more.
    kill -STOP "$first"
    task=$(cat pilot_runs/started)
    : >pilot_runs/started
    elsewhere timeout 60 "$PILOT" --resume >out2 2>err2 &
    second=$!
    must_wait_until 40 started
    assert_contains err2 "gives no sign of life"
    kill -9 "$task" # an end to be committed
    kill -CONT "$first"
    pilot_wait 20
    assert_eq "exit status of the first" 4 "$status"
    assert_contains err "another pilot has taken over"
    # Nor does it tidy up what is the other's.
    [ -s pilot_runs/state.db-wal ] || fail "the log of the second is gone"
    assert_contains pilot_runs/state.db.lock "host elsewhere"
    assert_eq "claims of the second" 1 "$(claims)"
    touch pilot_runs/go
    wait "$second" || fail "the second ended with $?"
    assert_eq statuses "completed 1" "$(statuses)"
    assert_eq attempts 2 "$(sql 'select attempts from tasks')"
    assert_eq "claims left" 0 "$(claims)"
}

# Not sqlite3's.
sql() { LD_PRELOAD='' sqlite3 -readonly "${2:-pilot_runs/state.db}" "$1"; }

run_tests "$@"
