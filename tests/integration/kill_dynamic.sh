#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A tree of tasks that make tasks is killed (kill -9, everything) at random moments, and each time
# goes on with --resume: in the end every task is there, once, and completed; none ran again after
# its completion was committed. Once with a hook that makes the tasks, once with `pilot-mpi add`; and
# both again with three ranks under mpirun, with half the kills.
#
# PILOT_TEST_KILLS (5), or the first argument: kills in each of the two.
# PILOT_TEST_DEPTH (9), or the second: levels of the tree; 9 are 511 tasks, 12 are 4,095.
# PILOT_TEST_SEED: the moments (printed; give it to see the same ones again, as far as possible).
. "$(dirname "$0")/lib.sh"
examples=$ROOT/examples

need sqlite3 sqlite3
case ${1:-} in [0-9]*) KILLS=$1 && shift ;; *) KILLS=${PILOT_TEST_KILLS:-5} ;; esac
case ${1:-} in [0-9]*) DEPTH=$1 && shift ;; *) DEPTH=${PILOT_TEST_DEPTH:-9} ;; esac
SEED=${PILOT_TEST_SEED:-$RANDOM}
TASKS=$(((1 << DEPTH) - 1))
# A run is killed so many times before it may end: then what an early kill spoilt shows at the end.
KILLS_A_RUN=5

# Tasks call pilot-mpi.
PATH=$(dirname "$PILOT"):$PATH

# ---- Killing -------------------------------------------------------------------------------------

# Started by this, if by anything: "mpirun -np 3".
LAUNCH=()

start_run() { # ARGS...: its pid, or that of what started it, in $pilot_pid
    "${LAUNCH[@]}" "$PILOT" --quiet "$@" >out 2>err </dev/null &
    pilot_pid=$!
}

# The rank that has the state open.
head_pid() {
    local pid
    if [ ${#LAUNCH[@]} = 0 ]; then echo "$pilot_pid" && return; fi
    for pid in $(marked); do
        if [ "/proc/$pid/exe" -ef "$PILOT" ] && find "/proc/$pid/fd" -lname "*state.db" 2>/dev/null | grep . >/dev/null; then echo "$pid"; fi
    done
}

# The whole run, as the end of a Slurm step or of a container does it. The head goes first: a task
# whose helper is killed a moment before the task must not be a failure that is committed.
kill_whole_run() {
    local pid
    kill_the_head
    for _ in 1 2 3; do
        for pid in $(marked); do kill -9 "$pid" || true; done
    done
}
# The head alone: everything else has to end by itself.
kill_the_head() {
    local pid
    for pid in $(head_pid); do kill -9 "$pid" || true; done
}

# Waits until the run has come to so many starts of tasks, or so much time has passed, or it has ended.
wait_for_progress() { # LINES [SECONDS]
    local end
    end=$(awk -v now="$EPOCHREALTIME" -v wait="${2:-600}" 'BEGIN { printf "%.0f", (now + wait) * 1e6 }')
    while ! ended "$pilot_pid" && [ "$(wc -l <log)" -lt "$1" ] && [ "${EPOCHREALTIME/./}" -lt "$end" ]; do sleep 0.005; done
}

# A number between two, the same for the same key (digits) and seed.
random() { # KEY LOW HIGH
    awk -v seed="$SEED$1" -v low="$2" -v high="$3" 'BEGIN { srand(seed); rand(); printf "%.3f", low + rand() * (high - low) }'
}

# ---- One run, killed several times ---------------------------------------------------------------

completed_ids() { sql "select id from tasks where status = 'completed'" 2>/dev/null | sort; }

# What may not have changed since the kill: how often the tasks that were completed had run.
check_none_again() { # WHAT
    sort log | uniq -c | awk '{ print $2, $1 }' | sort >after.txt
    join completed.txt before.txt >must.txt
    join completed.txt after.txt >is.txt
    diff must.txt is.txt >diff.log || fail "$1: completed tasks ran again (see diff.log)"
}

look_back() { # after a kill: what was committed, and what had run
    : >completed.txt
    if [ -e pilot_runs/state.db ]; then completed_ids >completed.txt || : >completed.txt; fi
    sort log | uniq -c | awk '{ print $2, $1 }' | sort >before.txt
    # A completed task has run: else the log, and with it this test, is worth nothing.
    assert_eq "completed tasks that never ran" 0 "$(join -v 1 completed.txt before.txt | wc -l)"
}

# How to go on: killed before the root was stored, there is nothing to resume.
how_to_go_on() {
    if [ ! -e pilot_runs/state.db ]; then
        echo root.json
    elif [ "$(sql 'select count(*) from tasks' 2>/dev/null || echo 0)" = 0 ]; then
        echo --fresh root.json
    else
        echo --resume
    fi
}

check_end() {
    python3 -c 'import sys
for level in range(int(sys.argv[1])):
    for i in range(1 << level):
        print("b" + (format(i, "0%db" % level) if level else ""))' "$DEPTH" | sort >expected.txt
    sql "select id from tasks" | sort >got.txt
    diff expected.txt got.txt >diff.log || fail "not the tree: lost (<) or extra (>) tasks (see diff.log)"
    assert_eq statuses "completed $TASKS" "$(statuses)"
    assert_eq "tasks that ran" "$TASKS" "$(sort -u log | wc -l)"
}

# A run that is killed at the moments that follow from its number, then left to end.
one_run() { # NUMBER KILLS ARGS...
    local run=$1 kills=$2 kill lines how hits=0
    shift 2
    rm -rf pilot_runs
    : >log && : >completed.txt && : >before.txt
    for kill in $(seq "$kills"); do
        # shellcheck disable=SC2046
        start_run "$@" $(how_to_go_on)
        how=kill_whole_run
        if [ $((kill % 3)) = 0 ]; then how=kill_the_head; fi
        # One early kill a run, by the clock (mpirun takes half a second to start); the others by
        # progress, for machines of all speeds.
        if [ "$kill" = 1 ]; then
            wait_for_progress $((TASKS / 10)) "$(random "$run${kill}0" 0.01 $((${#LAUNCH[@]} > 0)).4)"
        else
            lines=$(random "$run${kill}0" $((TASKS * (kill - 2) / (kills - 1))) $((TASKS * (kill - 1) * 9 / (kills - 1) / 10)))
            wait_for_progress "${lines%.*}"
            sleep "$(random "$run${kill}1" 0 0.05)"
        fi
        if ! ended "$pilot_pid"; then hits=$((hits + 1)); fi
        { # the shell says "Killed"
            $how
            # An mpirun whose ranks were killed ends by itself.
            wait_until 20 ended "$pilot_pid" || kill -9 "$pilot_pid" || true
            wait "$pilot_pid" || true
        } 2>/dev/null
        assert_nothing_left 20
        check_none_again "run $run, kill $kill ($how)"
        look_back
        echo "run $run, kill $kill ($how): $(wc -l <completed.txt) of $TASKS tasks were completed, $(wc -l <log) had started"
    done
    # shellcheck disable=SC2046
    start_run "$@" $(how_to_go_on)
    pilot_wait 900
    assert_eq "run $run: exit status in the end" 0 "$status"
    check_none_again "run $run, at the end"
    check_end
    assert_nothing_left
    [ $hits -ge $((kills * 2 / 3)) ] || fail "run $run: only $hits of $kills kills met a running pilot"
    echo "run $run: all $TASKS completed, $(($(wc -l <log) - TASKS)) of them cut short by a kill and run again"
}

all_runs() { # KILLS ARGS...
    local run=1 left=$1 now
    shift
    while [ "$left" -gt 0 ]; do
        now=$((left < KILLS_A_RUN ? left : KILLS_A_RUN))
        one_run $run $now "$@"
        left=$((left - now)) run=$((run + 1))
    done
}

runs_with_a_hook() { # KILLS
    echo "[{\"id\": \"b\", \"command\": \"echo \$PILOT_TASK_ID >> $PWD/log\"}]" >root.json
    all_runs "$1" --on-complete "sh $examples/branching/hook.sh $DEPTH 'echo \$PILOT_TASK_ID >> $PWD/log'"
}

runs_with_add() { # KILLS
    export BRANCH_LOG=$PWD/log
    sh "$examples/branching/generate.sh" "$DEPTH" >root.json
    all_runs "$1"
}

use_mpirun() {
    command -v mpirun >/dev/null || { echo "SKIP: 'mpirun' is not installed (Debian: openmpi-bin)" && exit 77; }
    LAUNCH=(mpirun --oversubscribe -np 3)
}

test_kills_with_a_hook() { runs_with_a_hook "$KILLS"; }

test_kills_with_add() { runs_with_add "$KILLS"; }

test_kills_under_mpirun_with_a_hook() { use_mpirun && runs_with_a_hook $(((KILLS + 1) / 2)); }

test_kills_under_mpirun_with_add() { use_mpirun && runs_with_add $(((KILLS + 1) / 2)); }

echo "seed $SEED (PILOT_TEST_SEED=$SEED), $KILLS kills each, depth $DEPTH"
run_tests "$@"
