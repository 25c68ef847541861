#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What is lost under mpirun: ranks, their launchers, mpirun itself. Each rank has a host name of its
# own, so that it is a node. Here too, no test relies on mpirun's exit status where it has no meaning.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/loss_common.sh"

need mpirun openmpi-bin
need sqlite3 sqlite3
need pgrep procps
unshare -u true 2>/dev/null || skip "host names cannot be unshared here (no root?)"

as_node=(unshare -u sh -c 'hostname "n$PMIX_RANK" && exec "$@"' sh)
mpi() { # RANKS [OPTIONS OF MPIRUN] -- ARGS OF THE PILOT
    local ranks=$1 options=()
    shift
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    shift
    start "${struck[@]}" mpirun --oversubscribe -np "$ranks" "${options[@]}" "${as_node[@]}" "$PILOT" --cores $((2 * ranks)) "${LOSS_FLAGS[@]}" "$@"
}

test_an_agent_is_killed() {
    local tasks
    ticking 6
    mpi 4 --enable-recovery -- tasks.json
    must_wait_until 30 in_the_middle 6
    tasks=$(tasks_of 2)
    assert_eq "tasks on n2" 1 "$(echo "$tasks" | wc -w)"
    kill -9 "$(rank_pid 2)"
    # Its launcher kills them at once, not when somebody misses the agent.
    # shellcheck disable=SC2086
    must_wait_until 1 gone $tasks
    must_wait_until 10 said "node n2 is lost"
    assert_contains err "the process of rank 2 has died"
    must_wait_until 20 all_tick 7
    go
    finish 20
    assert_all_completed 6 1
    assert_no_overlap
    assert_nothing_left
}

# Without --enable-recovery mpirun ends them all.
test_an_agent_is_killed_and_mpirun_ends_the_job() {
    ticking 4
    mpi 3 -- tasks.json
    must_wait_until 30 in_the_middle 4
    kill -9 "$(rank_pid 1)"
    finish 20
    [ "$status" != 0 ] || fail "mpirun ended with status 0"
    assert_nothing_left
    go
    mpi 3 -- --resume
    finish 30
    assert_eq "exit status" 0 "$status"
    assert_eq statuses "completed 4" "$(statuses)"
    assert_eq "failures" 0 "$(sql 'select sum(failures) from tasks')"
}

# It is lost like a dead one, and its guardian kills its tasks before they start elsewhere. Woken, it
# leaves, and in such a way that mpirun, which never knew of its absence, thinks nothing of it.
test_an_agent_is_stopped() {
    local tasks agent
    ticking 6
    mpi 4 -- tasks.json
    must_wait_until 30 in_the_middle 6
    tasks=$(tasks_of 3)
    agent=$(rank_pid 3)
    kill -STOP "$agent"
    must_wait_until 20 said "node n3 is lost: nothing heard from it for 2 s"
    # shellcheck disable=SC2086
    gone $tasks || fail "its tasks still run when they are given to others"
    must_wait_until 20 all_tick 7
    kill -CONT "$agent"
    must_wait_until 10 ended "$agent"
    go
    finish 20
    assert_eq "exit status of mpirun" 0 "$status"
    assert_all_completed 6 1
    assert_no_overlap
    assert_nothing_left
}

# A job that is suspended as a whole (scontrol suspend) loses nothing, whoever wakes first: rank 0,
# which has not heard of anybody for long, or the others, which have not heard of it.
test_all_are_stopped_for_a_while() {
    local head pids first second
    ticking 4
    mpi 3 -- tasks.json
    must_wait_until 30 in_the_middle 4
    head=$(rank_pid 0)
    for first in head others; do
        pids=$(marked | grep -vx -e "$launcher_pid" -e "$head")
        # shellcheck disable=SC2086
        kill -STOP "$head" $pids 2>kill.log || true # the sleep of a tick may have ended
        sleep 2.5
        if [ $first = head ]; then second=$pids first=$head; else second=$head first=$pids; fi
        # shellcheck disable=SC2086
        kill -CONT $first 2>kill.log || true
        sleep 0.5 # whoever believes that the others were silent would say so now
        # shellcheck disable=SC2086
        kill -CONT $second 2>kill.log || true
        sleep 0.5
    done
    go
    finish 20
    assert_eq "exit status" 0 "$status"
    assert_all_completed 4 0
}

# The node is out, but its rank stays and finalises MPI with the others: mpirun does not mind.
test_a_launcher_is_killed() {
    local rank tasks
    for rank in 1 0; do
        rm -rf pilot_runs
        ticking 6
        mpi 3 -- tasks.json
        must_wait_until 30 in_the_middle 6
        tasks=$(tasks_of $rank)
        kill -9 "$(guardian_of $rank)"
        must_wait_until 10 said "node n$rank is lost: its launcher process has died"
        # shellcheck disable=SC2086
        gone $tasks || fail "its tasks still run when they are given to others"
        go
        finish 20
        assert_eq "exit status of mpirun" 0 "$status"
        assert_all_completed 6 2
        assert_no_overlap
        assert_nothing_left
    done
}

test_a_slot_is_killed() {
    local lost
    ticking 4
    mpi 2 -- tasks.json
    must_wait_until 30 in_the_middle 4
    kill -9 "$(children_named "$(guardian_of 1)" pilot-slot | head -n 1)"
    must_wait_until 10 all_tick 5 # it runs again
    lost=$(sql "select id from tasks where losses = 1")
    assert_eq "where it runs again" n1 "$(sql "select node from tasks where id = '$lost'")"
    assert_lacks err "node n1 is lost"
    go
    finish 20
    assert_eq "exit status of mpirun" 0 "$status"
    assert_all_completed 4 1
    assert_nothing_left
}

# The tasks end first; leaving may take the 2 s more for which the daemon's answer is waited for.
test_rank_0_is_killed() {
    local tasks
    ticking 6
    mpi 3 --enable-recovery -- tasks.json
    must_wait_until 30 in_the_middle 6
    tasks=$(tasks_of 1 && tasks_of 2)
    kill -9 "$(rank_pid 0)"
    # shellcheck disable=SC2086
    must_wait_until 2 gone $tasks
    assert_nothing_left_of_the_pilot 5
    finish 10
    assert_nothing_left
    go
    mpi 3 -- --resume
    finish 30
    assert_eq "exit status" 0 "$status"
    assert_eq statuses "completed 6" "$(statuses)"
    # What ran when the pilot died counts as nobody's fault.
    assert_eq "losses, failures" "0 0" "$(sql "select sum(losses) || ' ' || sum(failures) from tasks")"
}

only_mpirun_left() {
    local pid
    # No pipe: its other end has the marker, too, and would be found.
    for pid in $(marked); do [ "$pid" = "$launcher_pid" ] || return 1; done
}
assert_nothing_left_of_the_pilot() { # SECONDS
    if ! wait_until "$1" only_mpirun_left; then
        # shellcheck disable=SC2046
        describe $(marked) >&2
        fail "still there after $1 s (above)"
    fi
}

# It dies before it has welcomed the others: they leave all the same, as soon as they miss it. In
# MPI_Init nobody can; that one is bounded (20 s here), for mpirun does not end it.
test_rank_0_is_killed_at_its_start() {
    local moment
    ticking 4
    for moment in init heard enter; do
        strike "0 $moment die"
        mpi 3 --enable-recovery -- tasks.json
        finish $([ $moment = enter ] && echo 30 || echo 10)
        assert_nothing_left
        assert_absent pilot_runs/ticks
    done
    assert_contains err "MPI_Init does not end"
}

# It lives as long as it reads its tasks, however long that takes; and then it dies.
test_rank_0_is_killed_while_it_reads_its_tasks() {
    mkfifo tasks.fifo
    mpi 3 --enable-recovery -- tasks.fifo
    exec 3>tasks.fifo # returns when it begins to read
    echo '{"id": "a", "command": "true"}' >&3
    sleep 4 # twice --lost-after
    assert_eq "what others say of it" "" "$(cat err)"
    kill -9 "$(rank_pid 0)"
    exec 3>&-
    assert_nothing_left_of_the_pilot 6
    finish 10
    assert_nothing_left
}

# Who has said HELLO waits for the last to do so, longer than --lost-after, because it hears of rank 0;
# and who dies meanwhile is missed at once, not when all have come.
test_an_agent_is_late_and_another_dies() {
    ticking 4
    strike "3 init 4,2 said die"
    mpi 4 --enable-recovery -- tasks.json
    must_wait_until 15 said "rank 2, which ran nothing, is lost: the process of rank 2 has died"
    assert_eq "what was shown before all had come" "" "$(cat out)"
    must_wait_until 15 all_tick 4
    go
    finish 20
    assert_contains out "3 nodes"
    assert_lacks err "from the head"
    assert_all_completed 4 0
    assert_nothing_left
}

test_mpirun_is_killed() {
    ticking 6
    mpi 3 -- tasks.json
    must_wait_until 30 in_the_middle 6
    kill -9 "$launcher_pid"
    wait "$launcher_pid" || true
    assert_nothing_left 5
    go
    mpi 3 -- --resume
    finish 30
    assert_eq "exit status" 0 "$status"
    assert_eq statuses "completed 6" "$(statuses)"
}

# A callback that takes longer than --lost-after holds up the head's loop: nobody takes that for its
# death, and the head does not take its own absence for others' silence.
test_a_long_callback_is_no_loss() {
    need cc gcc
    local lib
    lib=$(find "${PILOT_BUILD:-$ROOT/build}/src/lib" -name 'libpilot.so')
    cat >prog.c <<'END'
#include <pilot.h>
#include <stdio.h>
#include <unistd.h>

static void slow(struct pilot *p, const struct pilot_result *result, void *arg)
{
    static int calls;

    (void)p, (void)result, (void)arg;
    if (calls++ == 0)
        sleep(4);
}

int main(void)
{
    struct pilot_options opt = PILOT_OPTIONS_INIT;
    struct pilot_error err;
    struct pilot *p;
    int rc;

    opt.heartbeat_ms = 200;
    opt.lost_after_ms = 2000;
    if (pilot_create(&p, &opt, &err) < 0 || pilot_load_file(p, "tasks.json", &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        pilot_exit(-1);
    }
    pilot_on_complete(p, slow, NULL);
    rc = pilot_run(p, &err);
    pilot_exit(rc);
}
END
    cc -I "$ROOT/include" -o prog prog.c "$lib" -Wl,-rpath,"$(dirname "$lib")" >cc.log 2>&1 || fail "cc (see cc.log)"
    echo '{"id": "first", "command": "true", "priority": 1}' >tasks.json
    for i in 1 2 3 4 5; do echo "{\"id\": \"t$i\", \"command\": \"exec sleep 1\"}"; done >>tasks.json
    start mpirun --oversubscribe -np 3 "${as_node[@]}" ./prog
    finish 30
    assert_eq "exit status" 0 "$status"
    assert_all_completed 6 0
    assert_nothing_left
}

run_tests "$@"
