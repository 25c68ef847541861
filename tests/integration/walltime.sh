#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The end of the allocation: what is not started because it could not end in time, what is ended
# because it still runs, what is said of both, and that the next allocation does the rest.
. "$(dirname "$0")/lib.sh"

# "long" cannot end in time, by its estimate or its timeout; "short" can; "open" says nothing and runs
# until somebody ends it or lets it go on.
make_tasks() {
    cat >tasks.json <<'JSON'
[{"id": "long1", "priority": 9, "command": "echo long1 >>../ran", "time_estimate": 60},
 {"id": "long2", "priority": 9, "command": "echo long2 >>../ran", "timeout": 60},
 {"id": "short1", "command": "echo short1 >>../ran; echo $PILOT_TIME_LEFT", "timeout": 2},
 {"id": "short2", "command": "echo short2 >>../ran", "timeout": 60, "time_estimate": 1},
 {"id": "open", "command": "echo open >>../ran; echo $PILOT_TIME_LEFT; while ! [ -e ../go ]; do sleep 0.05; done"}]
JSON
}

ended_before_the_end() {
    assert_eq "the last line" "Completed: 2 | Failed: 0 | Unfinished: 3 | To go on: pilot-mpi --resume" \
        "$(tail -n 1 out | sed 's/Wall time.*speedup) | //')"
    assert_eq statuses "completed 2|pending 3" "$(statuses)"
    assert_eq "started, failed, lost" "3|0|0" "$(sql 'select count(*), sum(failures), sum(losses) from tasks where attempts > 0')"
    assert_eq "of open" "stop" "$(sql "select reason from attempts where id = 'open'")"
    assert_between "PILOT_TIME_LEFT of short1" 1 3 "$(cat pilot_runs/short1/stdout.txt)"
    assert_between "PILOT_TIME_LEFT of open" 1 3 "$(cat pilot_runs/open/stdout.txt)"
    assert_contains err "the allocation ends in"
    assert_nothing_left
}

finishes() { # COMMAND...
    touch pilot_runs/go
    timeout -k 5 60 "$@" --resume >out 2>err </dev/null || fail "--resume ended with $?"
    assert_eq statuses "completed 5" "$(statuses)"
    assert_eq ran "long1 long2 open open short1 short2" "$(sort pilot_runs/ran | xargs)"
    assert_file pilot_runs/open/stdout.txt ""
    assert_lacks out "Unfinished"
    assert_nothing_left
}

test_what_does_not_end_in_time_waits() {
    make_tasks
    expect 3 --walltime 5 --drain-margin 2 --grace 1 tasks.json
    ended_before_the_end
    assert_between "wall time" 2.5 5 "$(json pilot_runs/summary.json 'd["wall_time"]')"
    finishes "$PILOT"
}

test_mpirun() {
    need mpirun openmpi-bin
    make_tasks
    mpirun_pilot 2 --walltime 5 --drain-margin 2 --grace 1 tasks.json
    assert_eq "exit status" 3 "$status"
    # mpirun has a word of its own about an exit status that is not 0.
    grep -m1 '^Completed' out >last && mv last out
    ended_before_the_end
    finishes mpirun --oversubscribe -np 2 "$PILOT"
}

# Rather than to keep the nodes until the margin.
test_only_late_tasks_end_the_run_at_once() {
    echo '{"id": "a", "command": "true"}
        {"id": "b", "command": "true", "time_estimate": 3600}
        {"id": "c", "command": "true", "depends_on": ["b"]}' >tasks.json
    PILOT_DEADLINE=20 expect 3 --walltime 1000 tasks.json
    assert_contains out "Stopped: 1 task needs more time than is left (the allocation ends in 0:16:40)" "Unfinished: 2 | To go on"
    assert_eq statuses "completed 1|pending 2" "$(statuses)"
    expect 3 --resume --walltime 1000
    expect 0 --resume --walltime 2:00:00
    assert_eq statuses "completed 3" "$(statuses)"
}

test_words() {
    expect 2 --walltime 30 <(echo true)
    assert_contains err "--walltime leaves no time for tasks" "--drain-margin (60 s)"
    expect 0 --quiet - <<<'test -z "$PILOT_TIME_LEFT"'
    assert_lacks err "allocation"
}

test_batch_systems_are_asked() {
    mkdir bin
    printf '#!/bin/sh\n[ "$*" = "-h -j 77 -o %%L" ] && echo 1-00:00:00\n' >bin/squeue
    printf '#!/bin/sh\necho 5:00 L\n' >bin/bjobs
    chmod +x bin/*
    echo 'echo $PILOT_TIME_LEFT >&2' >tasks
    PATH=$T/bin:$PATH
    left() { # LOW HIGH VARIABLE=VALUE ARGS...: seconds less the margin of 60
        local low=$1 high=$2
        shift 2
        env "$1" "$PILOT" --fresh tasks "${@:2}" >out 2>err || fail "$1: exit status $?"
        assert_between "time left by $1" "$low" "$high" "$(cat pilot_runs/*/stderr.txt)"
    }
    left 530 540 "SLURM_JOB_END_TIME=$(($(date +%s) + 600))"
    left 86330 86340 SLURM_JOB_ID=77
    left 230 240 SLURM_JOB_ID=77 --walltime 5:00
    left 530 540 PBS_WALLTIME=600
    left 17930 17940 LSB_JOBID=7
}

# With a grace time that is longer than what is left, KILL comes early enough all the same.
test_grace_ends_with_the_allocation() {
    echo '{"id": "deaf", "command": "trap \"\" TERM; while :; do sleep 1; done"}' >tasks.json
    PILOT_DEADLINE=30 expect 3 --walltime 3 --drain-margin 2 --grace 300 tasks.json
    assert_contains err "--grace is not shorter than --drain-margin"
    assert_eq task "pending|0|0" "$(sql 'select status, failures, losses from tasks')"
    assert_between "wall time" 1 3.5 "$(json pilot_runs/summary.json 'd["wall_time"]')"
    assert_nothing_left
}

# Saves what it has when it is told to end, which takes a moment; ends by itself when it may.
saver='{"id": "saver", "command": "trap \"while ! [ -e ../may ]; do sleep 0.05; done; touch ../saved; exit 0\" TERM; touch ../up; while ! [ -e ../go ]; do sleep 0.05; done"}'

# The walltime and the batch system's warning of it are one wish; a second signal is another.
test_one_signal_drains_two_kill() {
    local sig
    echo "$saver" >tasks.json
    for sig in USR1 INT TERM; do
        rm -rf pilot_runs
        # bash starts background jobs with INT ignored; a terminal would not.
        env --default-signal=INT "$PILOT" --grace 60 tasks.json >out 2>err &
        pilot_pid=$!
        must_wait_until 20 test -e pilot_runs/up
        kill -$sig "$pilot_pid"
        must_wait_until 10 grep -q 'once more kills' err
        touch pilot_runs/may
        pilot_wait 20
        assert_eq "status after $sig" 3 "$status"
        assert_eq saved yes "$([ -e pilot_runs/saved ] && echo yes)"
    done
    rm -rf pilot_runs err # what it says is waited for, not what the one before said
    pilot_start --walltime 61 --drain-margin 60 --grace 50 tasks.json
    must_wait_until 20 grep -q 'ending the running tasks' err
    kill -USR1 "$pilot_pid"
    must_wait_until 10 grep -q 'are being ended (once more kills them at once)' err
    touch pilot_runs/may
    pilot_wait 20
    assert_eq "saved after the margin and a warning" yes "$([ -e pilot_runs/saved ] && echo yes)"
    rm -rf pilot_runs err # what it says is waited for, not what the one before said
    pilot_start --walltime 61 --drain-margin 60 --grace 50 tasks.json
    must_wait_until 20 grep -q 'ending the running tasks' err
    kill -USR1 "$pilot_pid"
    must_wait_until 10 grep -q 'are being ended (once more kills them at once)' err
    kill -TERM "$pilot_pid"
    sleep 0.6 # INT, TERM and the like together are one wish
    kill -TERM "$pilot_pid"
    pilot_wait 20
    assert_eq "status after two" 3 "$status"
    assert_absent pilot_runs/saved
    assert_eq task "pending|0|0" "$(sql 'select status, failures, losses from tasks')"
    assert_nothing_left
}

# mpirun passes USR1 on to every rank; only the first acts on it.
test_mpirun_signal() {
    need mpirun openmpi-bin
    echo "$saver" >tasks.json
    mpirun --oversubscribe -np 2 "$PILOT" --grace 60 tasks.json >out 2>err </dev/null &
    pilot_pid=$!
    must_wait_until 20 test -e pilot_runs/up
    kill -USR1 "$pilot_pid"
    must_wait_until 10 grep -q 'once more kills' err
    touch pilot_runs/may
    pilot_wait 20
    assert_eq "status" 3 "$status"
    assert_eq saved yes "$([ -e pilot_runs/saved ] && echo yes)"
    assert_nothing_left
}

# sbatch --signal=USR1@60, without the B:, reaches the tasks as well as the pilot.
test_a_signal_to_everybody_is_no_failure() {
    echo '{"id": "a", "command": "echo $$ >../pid; exec sleep 1000"}' >tasks.json
    pilot_start --grace 1 tasks.json
    must_wait_until 20 test -s pilot_runs/pid
    kill -USR1 "$(cat pilot_runs/pid)"
    must_wait_until 10 ended "$(cat pilot_runs/pid)"
    kill -USR1 "$pilot_pid"
    pilot_wait 20
    assert_eq status 3 "$status"
    assert_eq task "pending|0|0" "$(sql 'select status, failures, losses from tasks')"
    assert_nothing_left
}

run_tests "$@"
