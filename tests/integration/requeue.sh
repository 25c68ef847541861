#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# slurm/requeue.sh: a limit shorter than the work, submitted once. Slurm's own limits are whole minutes;
# so that a round takes seconds the pilot is told of a shorter one, and the drain is the same.
. "$(dirname "$0")/lib.sh"

export PILOT
export VCLUSTER_HASTY=1
# Slurm's warning must not come in between: it is sent at once when the limit is nearer than that.
limit=(--time=10 --signal=B:USR1@10)

submit() { # SBATCH-OPTIONS... -- ARGS...
    local options=()
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    job=$(cluster run sbatch --parsable "${limit[@]}" "${options[@]}" --output=slurm.log "$ROOT/slurm/requeue.sh" "${@:2}")
}

no_jobs() { local jobs; jobs=$(cluster run squeue -h) && [ -z "$jobs" ]; }
rounds() { grep -c 'back into the queue' slurm.log || true; }
field() { cluster run scontrol show job "$job" | tr ' ' '\n' | sed -n "s/^$1=//p"; }

# On two nodes: 12 tasks, of which 4 end in a round.
test_several_rounds_and_one_sbatch() {
    local i
    for i in $(seq 12); do echo "echo t$i >>../begun; sleep 2.5; echo t$i >>../ended"; done >tasks
    submit --nodes=2 -- tasks --walltime 6 --drain-margin 2 --grace 1
    must_wait_until 120 no_jobs
    assert_between "rounds" 3 6 $(($(rounds) + 1))
    assert_eq "restarts by Slurm" "$(rounds)" "$(field Restarts)"
    assert_eq "exit status" "COMPLETED 0:0" "$(field JobState) $(field ExitCode)"
    assert_eq statuses "completed 12" "$(statuses)"
    assert_eq "tasks that completed" "$(seq -f t%g 12 | sort)" "$(sort pilot_runs/ended)"
    assert_eq "losses and failures" "0|0" "$(sql 'select sum(losses), sum(failures) from tasks')"
    assert_eq "nodes" 2 "$(sql 'select count(distinct node) from attempts')"
    assert_nothing_left
}

job_is() { [ "$(field JobState)" = "$1" ]; }

# The node fails in the first round: no drain, no last words. Slurm requeues the job itself, and it goes on on
# the other node. The second round gets Slurm's warning. In the third only a task is left that needs
# more time than any round has.
test_node_failure_then_warning_then_no_progress() {
    local node
    for i in 1 2 3 4; do
        echo "{\"id\": \"t$i\", \"command\": \"echo t$i >>../begun; while ! [ -e ../go$i ]; do sleep 0.1; done; echo t$i >>../ended\"}"
    done >tasks
    echo '{"id": "long", "command": "touch ../never", "time_estimate": 100000}' >>tasks
    submit --nodes=1 -- tasks --walltime 3600 --grace 1
    must_wait_until 60 grep -qs t2 pilot_runs/begun
    touch pilot_runs/go1
    must_wait_until 20 grep -qs t3 pilot_runs/begun
    node=$(field BatchHost)
    cluster crash "${node#vc}"
    cluster run scontrol update "NodeName=$node" State=DOWN Reason=crashed # rather than to wait until Slurm notices
    touch pilot_runs/go2
    must_wait_until 60 grep -qs t4 pilot_runs/begun
    assert_eq "restarts by Slurm" 1 "$(field Restarts)"
    # The warning: the round ends and another begins, in which the rest ends but for the late one.
    cluster run scancel --batch --signal=USR1 "$job"
    must_wait_until 30 grep -q 'back into the queue' slurm.log
    touch pilot_runs/go3 pilot_runs/go4
    must_wait_until 90 no_jobs
    assert_contains slurm.log "No task has ended in this round" "Stopped: 1 task needs more time than is left"
    assert_eq statuses "completed 4|pending 1" "$(statuses)"
    assert_eq "tasks that completed" "t1 t2 t3 t4" "$(sort pilot_runs/ended | xargs)"
    assert_eq "exit status" 3:0 "$(field ExitCode)"
    (unset TEST_MARKER && cluster revive "${node#vc}") # its slurmd is none of the test's processes
    assert_nothing_left
}

# Where a person does not want it to go on, and where there is nothing to go on with.
test_not_requeued() {
    echo '{"id": "a", "command": "touch ../up; sleep 1000"}' >tasks
    submit --nodes=1 -- tasks --grace 1
    must_wait_until 60 test -e pilot_runs/up
    cluster run scancel --batch --signal=TERM "$job"
    must_wait_until 60 no_jobs
    assert_contains slurm.log "Told to end. To go on"
    assert_eq statuses "pending 1" "$(statuses)"
    rm -r pilot_runs slurm.log
    echo "exit 7" >tasks
    submit --nodes=1 -- tasks
    must_wait_until 60 no_jobs
    assert_eq "exit status and restarts" "1:0 0" "$(field ExitCode) $(field Restarts)"
    rm -r pilot_runs slurm.log
    echo '{"id": "a", "cores": 9999, "command": "true"}' >tasks
    submit --nodes=1 -- tasks
    must_wait_until 60 no_jobs
    assert_eq "exit status and restarts" "2:0 0" "$(field ExitCode) $(field Restarts)"
}

# A site that does not requeue: a fake scontrol says so, and the script submits itself.
test_resubmits_itself_where_slurm_does_not_requeue() {
    local i
    mkdir bin
    printf '#!/bin/sh\nexit 1\n' >bin/scontrol
    chmod +x bin/scontrol
    for i in $(seq 4); do echo "sleep 1; echo t$i >>../ended"; done >tasks
    (PATH=$T/bin:$PATH && submit --nodes=1 -- tasks --walltime 4 --drain-margin 2 --grace 1 --max-workers 1)
    must_wait_until 120 no_jobs
    assert_eq statuses "completed 4" "$(statuses)"
    assert_eq "tasks that completed" "t1 t2 t3 t4" "$(sort pilot_runs/ended | xargs)"
    assert_contains slurm.log "submitting it again"
}

# Without a cluster: what a requeued job finds when its earlier rounds were killed, and when tasks may take
# several rounds.
test_rounds_that_came_to_nothing() {
    round() { # EXPECTED-STATUS FAKE-SCONTROL'S-STATUS ARGS...
        local expected=$1 got=0
        printf '#!/bin/sh\nexit %d\n' "$2" >bin/scontrol
        PATH=$T/bin:$PATH SLURM_JOB_ID=1 SLURM_JOB_NUM_NODES=1 SLURM_RESTART_COUNT=3 \
            bash "$ROOT/slurm/requeue.sh" "${@:3}" --walltime 3600 >slurm.log 2>&1 || got=$?
        assert_eq "exit status" "$expected" "$got"
    }
    mkdir bin pilot_runs
    touch bin/scontrol bin/squeue
    chmod +x bin/*
    echo '{"id": "late", "command": "true", "time_estimate": 100000}' >tasks
    echo "7 8" >pilot_runs/rounds
    round 3 0 tasks
    assert_contains slurm.log "The last 8 rounds were all cut off"
    assert_absent pilot_runs/state.db
    echo "0 0" >pilot_runs/rounds
    export PILOT_IDLE_ROUNDS=2
    round 3 0 tasks
    assert_contains slurm.log "back into the queue"
    assert_file pilot_runs/rounds "0 1"
    round 3 0 tasks
    assert_contains slurm.log "No task has ended in this round"
}

cluster_up 2 2
run_tests "$@"
