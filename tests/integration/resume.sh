#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Going on with a database: what runs again, what does not, what is refused.
. "$(dirname "$0")/lib.sh"

# Each task adds a line to ../ran when it runs.
runs_of() { grep -cx "$1" pilot_runs/ran || true; }
all_runs() { sort pilot_runs/ran | uniq -c | awk '{print $2 ":" $1}' | tr '\n' ' ' | sed 's/ $//'; }

make_tasks() { # NAME:EXIT...
    local spec
    for spec; do
        echo "{\"id\": \"${spec%%:*}\", \"command\": \"echo ${spec%%:*} >> ../ran; exit ${spec##*:}\"}"
    done
}

test_work_in_the_database_is_refused_with_the_two_ways_on() {
    make_tasks a:0 b:1 >tasks.json
    expect 1 tasks.json
    for args in tasks.json "--workdir pilot_runs tasks.json"; do
        # shellcheck disable=SC2086
        expect 2 $args
        assert_contains err --resume --fresh
    done
    assert_eq runs "a:1 b:1" "$(all_runs)"
}

test_fresh_forgets() {
    make_tasks a:0 >tasks.json
    expect 0 tasks.json
    make_tasks b:0 >tasks.json
    expect 0 --fresh tasks.json
    assert_eq statuses "completed 1" "$(statuses)"
    assert_eq b completed "$(task_status b)"
    expect 0 --fresh tasks.json
    assert_eq "runs of b" 2 "$(runs_of b)"
}

test_resume_without_a_database_is_refused() {
    expect 2 --resume
    assert_contains err state.db
    assert_absent pilot_runs/state.db
}

test_resume_of_finished_work_runs_nothing() {
    make_tasks a:0 b:0 >tasks.json
    expect 0 tasks.json
    expect 0 --resume
    expect 0 --resume tasks.json
    assert_eq runs "a:1 b:1" "$(all_runs)"
    make_tasks a:0 b:1 >tasks.json
    expect 1 --fresh tasks.json
    expect 1 --resume
    assert_eq "runs of b" 2 "$(runs_of b)"
}

test_retry_failed() {
    cat >tasks.json <<'END'
[{"id": "a", "command": "echo a >> ../ran"},
 {"id": "b", "command": "echo b >> ../ran; test -e ../mended"},
 {"id": "c", "depends_on": ["b"], "command": "echo c >> ../ran"}]
END
    expect 1 tasks.json
    assert_eq statuses "completed 1|failed 1|skipped 1" "$(statuses)"
    expect 1 --resume
    assert_eq runs "a:1 b:1" "$(all_runs)"
    touch pilot_runs/mended
    expect 0 --resume --retry-failed
    assert_eq runs "a:1 b:2 c:1" "$(all_runs)"
    assert_eq statuses "completed 3" "$(statuses)"
    assert_eq "attempts of b" "1:1 2:0" "$(sql "select attempt || ':' || exit_code from attempts where id = 'b' order by attempt" | tr '\n' ' ' | sed 's/ $//')"
}

test_grown_file() {
    make_tasks a:0 b:0 >tasks.json
    expect 0 tasks.json
    make_tasks a:0 b:0 c:0 >tasks.json
    echo '{"id": "d", "command": "echo d >> ../ran", "depends_on": ["a", "c"]}' >>tasks.json
    expect 0 --resume tasks.json
    grep -qE '(^|[^0-9])2([^0-9]|$).*already|already.*[^0-9]2([^0-9]|$)' out err ||
        fail "it does not say that 2 tasks were already there: $(cat out err)"
    assert_eq runs "a:1 b:1 c:1 d:1" "$(all_runs)"
}

test_changed_content_is_refused_by_id() {
    make_tasks a:0 b:0 c:0 >tasks.json
    expect 0 tasks.json
    make_tasks a:0 new:0 >tasks.json
    echo '{"id": "c", "command": "echo changed >> ../ran"}' >>tasks.json
    expect 2 --resume tasks.json
    assert_contains err "'c'" --rerun-changed
    assert_lacks err "'a'"
    assert_eq "nothing ran, not even the new one" "a:1 b:1 c:1" "$(all_runs)"
    expect 0 --resume --rerun-changed tasks.json
    assert_eq runs "a:1 b:1 c:1 changed:1 new:1" "$(all_runs)"
    assert_eq statuses "completed 4" "$(statuses)"
    # And it is settled: the file and the state agree now.
    expect 0 --resume tasks.json
    assert_eq runs "a:1 b:1 c:1 changed:1 new:1" "$(all_runs)"
}

test_same_content_written_otherwise_is_no_change() {
    echo '[{"id": "a", "command": "true", "cores": 1, "env": {"X": "1"}}]' >tasks.json
    expect 0 tasks.json
    printf '{"env":{"X":"1"},\n"command":"true","id":"a", "max_retries": 0, "priority": 0}' >tasks.json
    expect 0 --resume tasks.json
}

test_interrupted_run_goes_on() {
    cat >tasks.json <<'END'
[{"id": "done", "command": "echo done >> ../ran", "priority": 1},
 {"id": "cut", "command": "echo cut >> ../ran; test -e ../again || exec sleep 300"},
 {"id": "after", "depends_on": ["cut"], "command": "echo after >> ../ran"}]
END
    pilot_start --cores 1 tasks.json
    must_wait_until 20 grep -qsx cut pilot_runs/ran
    must_wait_until 20 is_completed done
    kill -TERM "$pilot_pid"
    pilot_wait 20
    assert_eq status 3 "$status"
    assert_nothing_left
    touch pilot_runs/again
    expect 0 --resume
    assert_eq runs "after:1 cut:2 done:1" "$(all_runs)"
    # It was not the task's fault: no retry was used up, and the record shows what happened.
    assert_eq "attempts of cut" "1:stop|2:exit" "$(sql "select attempt || ':' || reason from attempts where id = 'cut' order by attempt" | paste -sd'|')"
}
is_completed() { [ "$(task_status "$1" 2>/dev/null)" = completed ]; }

test_a_second_pilot_is_refused_and_told_who_holds_it() {
    printf 'touch ../up; while ! test -e ../go; do sleep 0.1; done\n' >tasks.txt
    pilot_start tasks.txt
    local holder=$pilot_pid
    must_wait_until 20 test -e pilot_runs/up
    for args in --resume "--fresh tasks.txt" tasks.txt; do
        status=0
        # shellcheck disable=SC2086
        "$PILOT" $args >out2 2>err2 || status=$?
        case $status in 2 | 4) ;; *) fail "'$args' got status $status" ;; esac
    done
    "$PILOT" --resume >out2 2>err2 && fail "not refused"
    assert_contains err2 "$holder" "$(hostname)"
    touch pilot_runs/go
    pilot_wait 20
    assert_eq status 0 "$status"
    assert_eq statuses "completed 1" "$(statuses)"
}

test_the_state_can_be_read_while_it_runs() {
    {
        for i in $(seq 30); do echo true; done
        echo 'touch ../up; while ! test -e ../go; do sleep 0.1; done'
    } >tasks.txt
    pilot_start --cores 1 tasks.txt
    must_wait_until 20 test -e pilot_runs/up
    must_wait_until 10 state_is "completed 30|running 1"
    touch pilot_runs/go
    pilot_wait 20
    assert_eq status 0 "$status"
}
state_is() { [ "$(statuses 2>/dev/null)" = "$1" ]; }

test_shown_as_done_means_committed() {
    for i in $(seq 400); do echo "true"; done >tasks.txt
    "$PILOT" --verbose tasks.txt >out 2>err &
    pilot_pid=$!
    must_wait_until 20 enough_shown
    kill -9 "$pilot_pid"
    wait "$pilot_pid" || true
    # What was shown, whole lines only.
    sed -n 's/.*✓ \([0-9]*\) (.*s)$/\1/p' out | sort >shown
    sql "select id from tasks where status = 'completed'" | sort >committed
    [ -z "$(comm -23 shown committed)" ] || fail "shown, not committed: $(comm -23 shown committed | tr '\n' ' ')"
    assert_nothing_left
    expect 0 --resume
    assert_eq statuses "completed 400" "$(statuses)"
}
enough_shown() { [ "$(grep -c '✓' out)" -gt 50 ]; }

run_tests "$@"
