#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Kill -9 at random moments, then --resume: every task completes, none that was committed as
# completed runs again, no process is left behind.
#
# PILOT_TEST_KILLS (20): how many kills. PILOT_TEST_SEED: the moments (printed; give it to see the
# same ones again, as far as the machine allows).
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3
KILLS=${PILOT_TEST_KILLS:-20}
SEED=${PILOT_TEST_SEED:-$RANDOM}
TASKS=60

# A task adds one line to ../ran when it starts. Some start a daemon in a session of its own; some
# are stubborn; one would run for ever in the run that is killed, so that something always runs then.
make_file() {
    local i
    for i in $(seq $TASKS); do
        if [ "$i" = 5 ]; then
            echo "{\"id\": \"k$i\", \"command\": \"echo k$i >> ../ran; [ -e ../second ] || exec sleep 309\"}"
            continue
        fi
        case $((i % 6)) in
            0) echo "{\"id\": \"k$i\", \"command\": \"echo k$i >> ../ran; (setsid sleep 0.4 &); sleep 0.15\"}" ;;
            1) echo "{\"id\": \"k$i\", \"command\": \"trap '' TERM; echo k$i >> ../ran; sleep 0.1\"}" ;;
            2) echo "{\"id\": \"k$i\", \"depends_on\": [\"k$((i - 1))\"], \"command\": \"echo k$i >> ../ran; sleep 0.05\"}" ;;
            *) echo "{\"id\": \"k$i\", \"command\": \"echo k$i >> ../ran; exec sleep 0.1\"}" ;;
        esac
    done >tasks.json
}

# All processes of the run whose program is the pilot: ranks, guardians, slots.
pilot_pids() {
    local pid
    for pid in $(marked); do
        [ "/proc/$pid/exe" -ef "$PILOT" ] && echo "$pid"
    done
    true
}

# How the run is killed.
kill_whole_run() { # as the end of a Slurm step or of a container does: everything at once
    local pid
    for pid in $(marked); do kill -9 "$pid" 2>/dev/null || true; done
}
kill_the_pilots() { # everything that is called pilot-mpi, in no order; not the tasks
    local pid
    # shellcheck disable=SC2046
    for pid in $(shuf -e $(pilot_pids) --random-source=<(yes "$SEED$round")); do
        kill -9 "$pid" 2>/dev/null || true
    done
    [ -z "${launcher_pid:-}" ] || kill -9 "$launcher_pid" 2>/dev/null || true
}
kill_rank_0() { kill -9 "$rank0_pid" 2>/dev/null || true; }

count_runs() { touch pilot_runs/ran; sort pilot_runs/ran | uniq -c | awk '{print $2, $1}' | sort; }

no_jobs() { [ -z "$(cluster run squeue -h)" ]; }

# Slurm keeps the job of an srun that was killed until somebody cancels it.
cancel_jobs() { # COMMAND
    if [ -n "${CLUSTER_UP:-}" ] && [ "$1" != "$PILOT" ] && [ "$1" != mpirun ]; then
        cluster run scancel --user=root
        must_wait_until 30 no_jobs
    fi
}

# One round: start, wait a random time, kill, look, resume, look.
one_round() { # HOW-TO-KILL COMMAND...
    local how=$1 delay
    shift
    rm -rf pilot_runs
    delay=$(echo "$SEED $round" | cksum | awk '{ printf "%.2f", 0.05 + $1 / 4294967296 * 2.2 }')
    "$@" tasks.json >out 2>err </dev/null &
    launcher_pid=$!
    rank0_pid=$launcher_pid
    sleep "$delay"
    case $how in kill_rank_0) [ "${1##*/}" = pilot-mpi ] || rank0_pid=$(head_pid) ;; esac
    $how
    # Before anything else happens: what had been committed, and what had run.
    # (An mpirun or srun whose ranks were killed ends by itself, or is told to.)
    wait_until 20 ended "$launcher_pid" || kill -9 "$launcher_pid" 2>/dev/null || true
    wait "$launcher_pid" 2>/dev/null || true
    # Slurm goes on starting the ranks of an srun that was killed meanwhile; these wait in MPI_Init.
    [ -s out ] || cancel_jobs "$1"
    assert_nothing_left 15
    cancel_jobs "$1"
    if [ -e pilot_runs/state.db ]; then
        sql "select id from tasks where status = 'completed'" >completed.txt 2>/dev/null || : >completed.txt
        resume=(--resume tasks.json)
        # Killed before the tasks had been stored: there is nothing to resume yet.
        if [ "$(sql 'select count(*) from tasks' 2>/dev/null || echo 0)" = 0 ]; then resume=(--fresh tasks.json); fi
    else
        : >completed.txt
        resume=(tasks.json)
    fi
    mkdir -p pilot_runs && touch pilot_runs/second
    sort -o completed.txt completed.txt
    count_runs >before.txt
    status=0
    timeout -k 5 120 "$@" "${resume[@]}" >out 2>err </dev/null || status=$?
    assert_eq "round $round ($how ${started:-alone}, after $delay s): status of --resume" 0 "$status"
    assert_eq "statuses" "completed $TASKS" "$(statuses)"
    count_runs >after.txt
    # Completed tasks have run as often as before; all have run at least once.
    join completed.txt before.txt >must.txt
    join completed.txt after.txt >is.txt
    diff must.txt is.txt >diff.log || fail "round $round ($how ${started:-alone}, after $delay s): completed tasks ran again (see diff.log)"
    assert_eq "tasks that ran" "$TASKS" "$(wc -l <after.txt)"
    assert_nothing_left
    echo "round $round: $how ${started:-alone} after $delay s: $(wc -l <completed.txt) of $TASKS were completed, $(awk '{n += $2} END {print n}' after.txt) runs in all"
}

# The rank that has the state open.
head_pid() {
    local pid
    for pid in $(pilot_pids); do
        if find "/proc/$pid/fd" -lname "*state.db" 2>/dev/null | grep . >/dev/null; then
            echo "$pid"
            return
        fi
    done
    echo "$launcher_pid"
}

METHODS=(kill_whole_run kill_the_pilots kill_rank_0)

test_random_kills_of_a_singleton() {
    make_file
    for round in $(seq $(((KILLS + 1) / 2))); do
        one_round "${METHODS[round % 3]}" "$PILOT" --cores 2
    done
}

test_random_kills_under_mpirun() {
    need mpirun openmpi-bin
    started="under mpirun"
    make_file
    for round in $(seq $(((KILLS + 1) / 2 + 1)) $((KILLS - KILLS / 5))); do
        one_round "${METHODS[round % 3]}" mpirun --oversubscribe -np 3 "$PILOT"
    done
}

test_random_kills_under_srun() {
    [ -z "$no_cluster" ] || { echo "SKIP: $no_cluster" && exit 77; }
    started="under srun"
    make_file
    for round in $(seq $((KILLS - KILLS / 5 + 1)) "$KILLS"); do
        # shellcheck disable=SC2086
        one_round "${METHODS[round % 3]}" env VCLUSTER_DIR="$CLUSTER_DIR" "$ROOT/tests/cluster/vcluster" run \
            srun -N 2 $SRUN_FLAGS "$PILOT"
    done
}

no_cluster=$(cluster check)
[ -n "$no_cluster" ] || cluster_up 2 2
echo "seed $SEED (PILOT_TEST_SEED=$SEED)"
run_tests "$@"
