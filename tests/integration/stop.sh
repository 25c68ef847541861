#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Being stopped from outside in all the ways that a person or a batch system has: what had completed
# stays completed, what ran is not counted as failed, --resume does the rest, and nothing is left.
. "$(dirname "$0")/lib.sh"

TASKS=12

make_file() {
    local i
    for i in $(seq $TASKS); do
        # The first ends at once; the others as soon as they may.
        echo "{\"id\": \"t$i\", \"priority\": $((i == 1)), \"command\": \"echo t$i >> ../ran; [ $i = 1 ] || while ! [ -e ../go ]; do sleep 0.1; done\"}"
    done >tasks.json
}

# So that a signal can go to rank 0 alone. (mpirun and srun say the rank in different words.)
with_pid=(sh -c '[ "${OMPI_COMM_WORLD_RANK:-${SLURM_PROCID:-0}}" != 0 ] || echo $$ >rank0.pid; exec "$@"' sh)

is_running() { # t1 is done, others run
    [ "$(task_status t1 2>/dev/null)" = completed ] && [ "$(sql "select count(*) from tasks where status = 'running'" 2>/dev/null)" -gt 0 ]
}

start() { # COMMAND... in the background
    make_file
    "$@" >out 2>err </dev/null &
    launcher_pid=$!
    must_wait_until 40 is_running
}

# STATUSES: the exit statuses that are right, separated by |
finish() { # STATUSES COMMAND... (with which to resume)
    local expected=$1
    shift
    wait_until 40 ended "$launcher_pid" || fail "it did not end within 40 s"
    status=0
    wait "$launcher_pid" || status=$?
    case "|$expected|" in *"|$status|"*) ;; *) fail "exit status $status, not $expected" ;; esac
    assert_nothing_left 20
    no_cluster_jobs
    assert_eq "failed" 0 "$(sql "select count(*) from tasks where status in ('failed', 'skipped')")"
    assert_eq "completed" 1 "$(sql "select count(*) from tasks where status = 'completed'")"
    touch pilot_runs/go
    timeout -k 5 120 "$@" --resume >out 2>err </dev/null || fail "--resume ended with $?"
    assert_eq statuses "completed $TASKS" "$(statuses)"
    assert_eq "runs of t1" 1 "$(grep -cx t1 pilot_runs/ran)"
    # Whatever happened was not the tasks' fault.
    assert_eq "failures counted" 0 "$(sql 'select sum(failures) from tasks')"
    assert_nothing_left
}

no_cluster_jobs() {
    [ -n "${CLUSTER_UP:-}" ] || return 0
    must_wait_until 60 no_jobs
}
no_jobs() { [ -z "$(cluster run squeue -h)" ]; }

mpirun3=(mpirun --oversubscribe -np 3)

test_singleton_by_each_signal() {
    local sig
    for sig in HUP INT TERM; do
        rm -rf pilot_runs
        # bash starts background jobs with INT ignored; a terminal would not.
        start env --default-signal=INT "$PILOT" tasks.json
        kill -$sig "$launcher_pid"
        finish 3 "$PILOT"
    done
}

# A task that does not care about TERM is killed after the grace time; a second signal does not wait.
test_a_second_signal_does_not_wait() {
    local begin
    echo '{"id": "deaf", "command": "trap \"\" TERM; touch ../up; while :; do sleep 1; done"}' >tasks.json
    pilot_start --grace 300 tasks.json
    must_wait_until 20 test -e pilot_runs/up
    kill -TERM "$pilot_pid"
    must_wait_until 10 grep -q 'once more' err
    begin=$SECONDS
    kill -TERM "$pilot_pid"
    pilot_wait 20
    assert_eq status 3 "$status"
    assert_between "seconds after the second signal" 0 10 $((SECONDS - begin))
    assert_nothing_left
}

# As Slurm ends a job that has lost a node: KILL to all processes in some order, here the worst one. The
# pilot has seen its tasks die, but not for long.
test_killed_with_its_tasks_and_after_them() {
    local pid
    start "$PILOT" tasks.json
    for pid in $(marked); do [ "/proc/$pid/exe" -ef "$PILOT" ] || kill -9 "$pid" 2>/dev/null || true; done
    sleep 0.2 # ten commits
    kill -9 "$launcher_pid"
    finish 137 "$PILOT"
}

test_mpirun_signal_to_rank_0() {
    need mpirun openmpi-bin
    start "${mpirun3[@]}" "${with_pid[@]}" "$PILOT" tasks.json
    kill -TERM "$(cat rank0.pid)"
    finish 3 "${mpirun3[@]}" "$PILOT"
}

# mpirun passes TERM on, waits a second and kills; its own status says nothing about the pilot.
test_mpirun_itself() {
    local sig
    need mpirun openmpi-bin
    for sig in TERM INT; do
        rm -rf pilot_runs
        start env --default-signal=INT "${mpirun3[@]}" "$PILOT" tasks.json
        kill -$sig "$launcher_pid"
        finish "1|3|130|143|137" "${mpirun3[@]}" "$PILOT"
    done
}

on_cluster() {
    # shellcheck disable=SC2086
    with=(env VCLUSTER_DIR="$CLUSTER_DIR" "$ROOT/tests/cluster/vcluster" run srun -N 2 $SRUN_FLAGS)
}

test_srun_signal_to_rank_0() {
    [ -z "$no_cluster" ] || { echo "SKIP: $no_cluster" && exit 77; }
    on_cluster
    start "${with[@]}" "${with_pid[@]}" "$PILOT" tasks.json
    kill -TERM "$(cat rank0.pid)"
    finish 3 "${with[@]}" "$PILOT"
}

job() { cluster run squeue -h -o %A; }

# Every process of the step gets the signal, the tasks too, in no order. USR1: what Slurm does by
# --signal=USR1@60.
test_scancel_signal_to_the_step() {
    local sig
    [ -z "$no_cluster" ] || { echo "SKIP: $no_cluster" && exit 77; }
    on_cluster
    for sig in TERM USR1; do
        rm -rf pilot_runs
        start "${with[@]}" "$PILOT" tasks.json
        cluster run scancel --signal=$sig "$(job).0"
        finish "3|143" "${with[@]}" "$PILOT"
    done
}

# As at the end of the walltime: TERM to everything, KILL some seconds later.
test_scancel_of_the_job() {
    [ -z "$no_cluster" ] || { echo "SKIP: $no_cluster" && exit 77; }
    on_cluster
    start "${with[@]}" "$PILOT" tasks.json
    cluster run scancel "$(job)"
    finish "3|143|137|15|9" "${with[@]}" "$PILOT"
}

# The scripts of slurm/: a warning before the walltime stops the pilot alone, and submitting the same
# script again goes on.
test_submit_scripts() {
    local script
    [ -z "$no_cluster" ] || { echo "SKIP: $no_cluster" && exit 77; }
    export PILOT
    for script in one-node many-nodes; do
        rm -rf pilot_runs
        make_file
        cluster run sbatch --nodes=$([ $script = one-node ] && echo 1 || echo 2) --output="$script.log" "$ROOT/slurm/$script.sh" tasks.json
        must_wait_until 40 is_running
        # What Slurm does by --signal=B:TERM@45.
        cluster run scancel --batch --signal=TERM "$(job)"
        no_cluster_jobs
        assert_contains "$script.log" "Stopped before the end"
        assert_eq statuses "completed 1|pending $((TASKS - 1))" "$(statuses)"
        touch pilot_runs/go
        cluster run sbatch --wait --nodes=$([ $script = one-node ] && echo 1 || echo 2) --output="$script.log" "$ROOT/slurm/$script.sh" tasks.json
        assert_eq statuses "completed $TASKS" "$(statuses)"
        assert_eq "runs of t1" 1 "$(grep -cx t1 pilot_runs/ran)"
        if [ $script = many-nodes ]; then
            assert_eq "nodes" 2 "$(sql 'select count(distinct node) from attempts')"
        fi
        assert_absent pilot_runs/rank0.*.pid
    done
    assert_nothing_left
}

no_cluster=$(cluster check)
[ -n "$no_cluster" ] || cluster_up 2 2
run_tests "$@"
