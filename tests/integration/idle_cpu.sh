#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A pilot that waits uses under 2 % of one core in each of its processes: nobody spins.
#
# PILOT_TEST_IDLE_SECONDS (6): how long it is watched.
. "$(dirname "$0")/lib.sh"

WATCH=${PILOT_TEST_IDLE_SECONDS:-6}
TICKS=$(getconf CLK_TCK)

cpu_ticks() { # PID: user + system
    sed 's/.*) //' "/proc/$1/stat" | awk '{print $12 + $13}'
}

pilot_pids() {
    local pid
    for pid in $(marked); do
        [ "/proc/$pid/exe" -ef "$PILOT" ] && echo "$pid"
    done
    true
}

# Prints a line a process and checks each. Ranks start with some work: watched from the moment
# when the task runs and every process is there.
watch_processes() { # AT-LEAST-SO-MANY
    local pid before after pids share bad=0
    pids=$(pilot_pids)
    [ "$(echo "$pids" | wc -w)" -ge "$1" ] || fail "only $(echo "$pids" | wc -w) processes, expected $1 or more"
    declare -A first
    for pid in $pids; do first[$pid]=$(cpu_ticks "$pid"); done
    # Here time itself is what is measured.
    sleep "$WATCH"
    for pid in $pids; do
        after=$(cpu_ticks "$pid") || fail "process $pid has ended"
        before=${first[$pid]}
        share=$(awk -v n=$((after - before)) -v t="$TICKS" -v s="$WATCH" 'BEGIN { printf "%.2f", 100 * n / t / s }')
        echo "  pid $pid: $share % of a core"
        awk -v x="$share" 'BEGIN { exit !(x < 2) }' || bad=1
    done
    [ $bad = 0 ] || fail "a process that only waits uses 2 % of a core or more"
}

watch_run() { # PROCESSES COMMAND...
    local at_least=$1
    shift
    echo "touch ../up; exec sleep $((WATCH + 300))" >tasks.txt
    "$@" tasks.txt >out 2>err </dev/null &
    launcher_pid=$!
    must_wait_until 30 test -e pilot_runs/up
    watch_processes "$at_least"
    for pid in $(pilot_pids); do kill -TERM "$pid" 2>/dev/null || true; done
    must_wait_until 30 ended "$launcher_pid"
    assert_nothing_left 15
}

test_singleton() { watch_run 2 "$PILOT"; }

test_mpirun_3_ranks() {
    need mpirun openmpi-bin
    watch_run 4 mpirun --oversubscribe -np 3 "$PILOT"
}

test_srun_3_nodes() {
    [ -z "$no_cluster" ] || { echo "SKIP: $no_cluster" && exit 77; }
    # shellcheck disable=SC2086
    watch_run 6 env VCLUSTER_DIR="$CLUSTER_DIR" "$ROOT/tests/cluster/vcluster" run srun -N 3 $SRUN_FLAGS "$PILOT"
}

no_cluster=$(cluster check)
[ -n "$no_cluster" ] || cluster_up 3 1
run_tests "$@"
