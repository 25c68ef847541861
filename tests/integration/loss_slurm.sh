#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What is lost under srun, on a virtual cluster: nodes crash, are cut off, and healed; ranks and their
# launchers are killed or stopped; srun itself dies. What another node's processes do is seen here in
# /proc, which all virtual nodes share.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/loss_common.sh"

need sqlite3 sqlite3
need pgrep procps

in_cluster=(env VCLUSTER_DIR="$CLUSTER_DIR" "$ROOT/tests/cluster/vcluster" run)
# $SRUN_FLAGS without what keeps a job alive when a node is lost.
FRAGILE="--ntasks-per-node=1 --cpus-per-task=2 --cpu-bind=none"

slurm() { # NODES ARGS OF THE PILOT
    local nodes=$1
    shift
    # shellcheck disable=SC2086
    start "${struck[@]}" "${in_cluster[@]}" srun -N "$nodes" $SRUN_FLAGS "$PILOT" "${LOSS_FLAGS[@]}" "$@"
}

no_jobs() { [ -z "$(cluster run squeue -h)" ]; }

# A node that has crashed is down for Slurm after SlurmdTimeout; an administrator's word, or a health
# check's, comes sooner and means the same.
crash() { # N
    cluster crash "$1"
    cluster run scontrol update "NodeName=vc$1" State=DOWN Reason=crashed
}
revive() { (unset TEST_MARKER && cluster revive "$1"); }

test_an_agent_is_killed() {
    local tasks
    ticking 6
    slurm 4 tasks.json
    must_wait_until 30 in_the_middle 6
    tasks=$(tasks_of 2)
    assert_eq "tasks on vc3" 1 "$(echo "$tasks" | wc -w)"
    kill -9 "$(rank_pid 2)"
    # shellcheck disable=SC2086
    must_wait_until 1 gone $tasks
    must_wait_until 10 said "node vc3 is lost: the process of rank 2 has died"
    must_wait_until 20 all_tick 7
    go
    finish 30
    # srun's own status is that of the worst rank: 128 + SIGKILL.
    assert_eq "exit status of srun" 137 "$status"
    assert_all_completed 6 1
    assert_no_overlap
    assert_nothing_left
    must_wait_until 30 no_jobs
}

completed() { # AT LEAST
    [ "$(sql "select count(*) from tasks where status = 'completed'" 2>/dev/null || echo 0)" -ge "$1" ]
}

test_a_node_crashes_amid_1000_tasks() {
    local i lost
    for i in $(seq 1000); do
        echo "{\"id\": \"t$i\", \"command\": \"echo t$i >>../ran; exec sleep 0.05\"}"
    done >tasks.json
    slurm 4 --cores 16 tasks.json
    must_wait_until 40 completed 200
    crash 4
    ! completed 1000 || fail "the crash came too late"
    finish 60
    assert_eq "exit status of srun" 0 "$status"
    lost=$(sql "select count(*) from attempts where reason = 'lost'")
    assert_between "attempts lost" 1 100 "$lost"
    assert_eq "where they ran" vc4 "$(sql "select distinct node from attempts where reason = 'lost'")"
    assert_all_completed 1000 "$lost"
    assert_eq "runs" 1000 "$(sort -u pilot_runs/ran | wc -l)"
    # What had completed on any node did not run again.
    assert_between "runs of all" 1000 $((1000 + lost)) "$(wc -l <pilot_runs/ran)"
    assert_nothing_left
    revive 4
}

# srun's defaults: the lost node takes the step with it, and nothing else is lost.
test_a_node_crashes_without_the_flags() {
    ticking 6
    # shellcheck disable=SC2086
    start "${in_cluster[@]}" srun -N 3 $FRAGILE "$PILOT" "${LOSS_FLAGS[@]}" tasks.json
    must_wait_until 30 in_the_middle 6
    crash 3
    finish 30
    [ "$status" != 0 ] || fail "srun ended with status 0"
    assert_nothing_left
    must_wait_until 30 no_jobs
    go
    slurm 2 --resume
    finish 30
    assert_eq "exit status" 0 "$status"
    assert_eq statuses "completed 6" "$(statuses)"
    assert_eq "failures" 0 "$(sql 'select sum(failures) from tasks')"
    revive 3
}

# The agent that is cut off kills its tasks before they start elsewhere, and leaves. One of them ended
# well before that: its end was reported into the cut, and comes when the link is healed. It is too
# late.
test_a_node_is_cut_off_and_healed() {
    local tasks agent ids begin
    ticking 8
    slurm 4 --cores 12 tasks.json
    must_wait_until 30 in_the_middle 8
    agent=$(rank_pid 3)
    tasks=$(tasks_of 3)
    ids=$(on_node vc4)
    assert_eq "tasks on vc4" 2 "$(echo "$ids" | wc -w)"
    cluster cut 4
    touch "pilot_runs/go-${ids%% *}-1"
    must_wait_until 20 said "node vc4 is lost: nothing heard from it for 2 s"
    # shellcheck disable=SC2086
    gone $tasks || fail "its tasks still run when they are given to others"
    must_wait_until 20 ended "$agent"
    must_wait_until 20 all_tick 10
    cluster heal 4
    must_wait_until 30 said "node vc4, which was lost, speaks again"
    sleep 0.3 # whoever believed it would do so now
    begin=$(now_ms)
    go
    finish 40
    assert_all_completed 8 2
    assert_eq "attempts of the one that ended in the cut" "lost exit" "$(sql "select reason from attempts where id = '${ids%% *}' order by attempt" | paste -sd' ')"
    assert_eq "attempts that ended after all were told to" 8 "$(sql "select count(*) from attempts where finished_at * 1000 >= $begin")"
    assert_no_overlap
    assert_nothing_left
    must_wait_until 30 no_jobs
}

test_an_agent_is_stopped() {
    local tasks agent
    ticking 6
    slurm 4 tasks.json
    must_wait_until 30 in_the_middle 6
    agent=$(rank_pid 3)
    tasks=$(tasks_of 3)
    kill -STOP "$agent"
    must_wait_until 20 said "node vc4 is lost: nothing heard from it for 2 s"
    # shellcheck disable=SC2086
    gone $tasks || fail "its tasks still run when they are given to others"
    must_wait_until 20 all_tick 7
    kill -CONT "$agent"
    must_wait_until 10 ended "$agent"
    go
    finish 30
    assert_eq "exit status of srun" 0 "$status"
    assert_all_completed 6 1
    assert_no_overlap
    assert_nothing_left
}

test_a_launcher_is_killed() {
    local tasks
    ticking 4
    slurm 3 tasks.json
    must_wait_until 30 in_the_middle 4
    tasks=$(tasks_of 1)
    kill -9 "$(guardian_of 1)"
    must_wait_until 10 said "node vc2 is lost: its launcher process has died"
    # shellcheck disable=SC2086
    gone $tasks || fail "its tasks still run when they are given to others"
    must_wait_until 20 all_tick 5
    go
    finish 30
    assert_eq "exit status of srun" 0 "$status"
    assert_all_completed 4 1
    assert_no_overlap
    assert_nothing_left
}

resume_the_rest() { # TASKS
    must_wait_until 30 no_jobs
    go
    slurm 3 --resume
    finish 30
    assert_eq "exit status" 0 "$status"
    assert_eq statuses "completed $1" "$(statuses)"
    assert_eq "losses, failures" "0 0" "$(sql "select sum(losses) || ' ' || sum(failures) from tasks")"
    assert_nothing_left
}

# Pilots and tasks; srun and what starts it are not waited for.
pilots_gone() {
    local pid
    for pid in $(marked); do
        case $(describe "$pid") in
            *"srun -N"*) ;;
            ?*) return 1 ;;
        esac
    done
}

test_rank_0_is_killed() {
    local tasks
    ticking 6
    slurm 3 tasks.json
    must_wait_until 30 in_the_middle 6
    tasks=$(tasks_of 1 && tasks_of 2)
    kill -9 "$(rank_pid 0)"
    # shellcheck disable=SC2086
    must_wait_until 2 gone $tasks
    must_wait_until 5 pilots_gone
    finish 30
    [ "$status" != 0 ] || fail "srun ended with status 0"
    assert_nothing_left
    resume_the_rest 6
}

# Before it has welcomed the others; in MPI_Init, which is bounded (20 s here).
test_rank_0_is_killed_at_its_start() {
    local moment
    ticking 4
    for moment in init enter; do
        strike "0 $moment die"
        slurm 3 tasks.json
        finish $([ $moment = enter ] && echo 40 || echo 15)
        [ "$status" != 0 ] || fail "srun ended with status 0"
        assert_nothing_left
        must_wait_until 30 no_jobs
    done
    assert_contains err "MPI_Init does not end"
}

# The node of rank 0 crashes: no closed port, no word, only silence.
test_the_node_of_rank_0_crashes() {
    ticking 6
    slurm 3 tasks.json
    must_wait_until 30 in_the_middle 6
    cluster crash 1
    must_wait_until 5 pilots_gone
    cluster run scontrol update NodeName=vc1 State=DOWN Reason=crashed
    finish 30
    assert_nothing_left
    revive 1
    resume_the_rest 6
}

# srun, and slurmd's processes for the step on every node.
test_all_of_srun_is_killed() {
    local pid
    ticking 6
    slurm 3 tasks.json
    must_wait_until 30 in_the_middle 6
    for pid in $(cluster_pids); do
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
            srun | slurmstepd*) kill -9 "$pid" 2>/dev/null || true ;;
        esac
    done
    finish 20
    assert_nothing_left 5
    cluster run scancel --user=root
    resume_the_rest 6
}

# All processes in the cluster's namespaces.
cluster_pids() {
    local tag space
    tag=vc$(printf %s "$CLUSTER_DIR" | cksum | cut -d' ' -f1)
    for space in /run/netns/"$tag"-*; do ip netns pids "${space##*/}"; done
}

# The submit script's status is the pilot's, not that of the worst rank.
test_the_submit_script_with_a_killed_agent() {
    printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$PILOT" "${LOSS_FLAGS[*]}" >pilot.sh
    chmod +x pilot.sh
    ticking 4
    export PILOT=$PWD/pilot.sh
    start "${in_cluster[@]}" sbatch --wait --nodes=3 --output=job.log "$ROOT/slurm/many-nodes.sh" tasks.json
    must_wait_until 30 in_the_middle 4
    kill -9 "$(rank_pid 1)"
    must_wait_until 20 all_tick 5
    go
    finish 30
    assert_eq "exit status of the job" 0 "$status"
    assert_all_completed 4 1
    assert_nothing_left
    must_wait_until 30 no_jobs
}

# It kills the agent above it, wherever it runs.
test_a_task_that_takes_its_node_down() {
    local i
    cat >deadly.sh <<'END'
echo "$PILOT_NODE" >>../victims
pid=$$
while [ "$(cat /proc/$pid/comm)" != pilot-mpi ]; do
    pid=$(sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f2)
done
kill -9 "$pid"
sleep 100
END
    cat >tasks.json <<'END'
{"id": "deadly", "command": "sh ../../deadly.sh", "cores": 2, "retries": 5}
{"id": "after", "command": "true", "depends_on": ["deadly"]}
{"id": "last", "command": "true", "depends_on": ["after"]}
END
    for i in 1 2 3 4; do echo "{\"id\": \"other$i\", \"command\": \"exec sleep 0.2\", \"priority\": -1}"; done >>tasks.json
    slurm 4 --head-only --max-lost 2 tasks.json
    finish 40
    assert_eq statuses "completed 4|failed 1|skipped 2" "$(statuses)"
    assert_eq "exit status of the pilot" 1 "$(json pilot_runs/summary.json "d['exit_status']")"
    assert_eq "nodes that it took down" 2 "$(sort -u pilot_runs/victims | wc -l)"
    assert_eq "how it ended" "lost 2 0" "$(sql "select reason || ' ' || losses || ' ' || failures from tasks where id = 'deadly'")"
    assert_contains out "deadly" "Attempts lost: "
    assert_nothing_left
    must_wait_until 30 no_jobs
}

# Losses are kept: what the pilot has seen before it was killed counts after --resume.
# And when no node is left, that is said.
test_losses_survive_a_resume_and_no_node_is_left() {
    ticking 1
    slurm 2 --head-only tasks.json
    must_wait_until 30 in_the_middle 1
    kill -9 "$(rank_pid 1)"
    finish 30
    assert_contains err "no node is left to run tasks"
    assert_eq "exit status of the pilot" 4 "$(json pilot_runs/summary.json "d['exit_status']")"
    assert_eq "losses" "pending 1" "$(sql "select status || ' ' || losses from tasks")"
    must_wait_until 30 no_jobs
    slurm 2 --head-only --max-lost 2 --resume
    must_wait_until 30 in_the_middle 2
    kill -9 "$(rank_pid 1)"
    finish 30
    assert_eq "losses" "failed 2" "$(sql "select status || ' ' || losses from tasks")"
    assert_eq "exit status of the pilot" 1 "$(json pilot_runs/summary.json "d['exit_status']")"
    assert_nothing_left
    must_wait_until 30 no_jobs
}

# The only node that is large enough is lost.
test_the_large_node_is_lost() {
    cat >tasks.json <<'END'
{"id": "wide", "command": "echo x >>../ticks; exec sleep 100", "cores": 2}
{"id": "small", "command": "until [ -e ../go ]; do sleep 0.1; done"}
END
    # shellcheck disable=SC2086,SC2016
    start "${in_cluster[@]}" srun -N 2 $SRUN_FLAGS sh -c '[ $SLURM_PROCID = 1 ] || set -- taskset -c 0 "$@"; exec "$@"' sh \
        "$PILOT" "${LOSS_FLAGS[@]}" tasks.json
    must_wait_until 30 all_run 2
    must_wait_until 30 test -e pilot_runs/ticks
    kill -9 "$(rank_pid 1)"
    must_wait_until 20 said "node vc2 is lost"
    go
    finish 30
    assert_contains err "task 'wide' needs 2 cores, but the largest node that is left, vc1, has 1 (vc2, which was lost, had 2)"
    assert_eq "exit status of the pilot" 4 "$(json pilot_runs/summary.json "d['exit_status']")"
    assert_eq statuses "completed 1|pending 1" "$(statuses)"
    assert_nothing_left
    must_wait_until 30 no_jobs
}

cluster_up 4 2
run_tests "$@"
