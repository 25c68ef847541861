#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Tasks a second, against a bare loop that only spawns and waits for the same command on the same
# cores. The two take turns, so that both see the same machine; the median of three counts.
#
# PILOT_BENCH_TASKS (10000), PILOT_BENCH_RATIO (0.5: what must be reached here; the goal is 0.6, with
# 100,000 tasks on a quiet machine, which tests/nightly.sh asks for).
. "$(dirname "$0")/lib.sh"

TASKS=${PILOT_BENCH_TASKS:-10000}
RATIO=${PILOT_BENCH_RATIO:-0.5}
SPAWN=${BENCH_SPAWN:-$ROOT/build/tests/bench/bench_spawn}

median() { sort -n | sed -n 2p; }

test_rate_of_true() {
    local cores i start end bare pilot_rate
    [ -x "$SPAWN" ] || fail "no $SPAWN; build it first"
    cores=$(cores_here)
    yes /bin/true | head -n "$TASKS" >tasks.txt || true
    for i in 1 2 3; do
        "$SPAWN" "$TASKS" "$cores" /bin/true | sed 's/ per second.*//' >>bare.log
        # The whole program, from its start to its end, with its output and its state.
        start=$EPOCHREALTIME
        PILOT_DEADLINE=600 expect 0 --fresh tasks.txt
        end=$EPOCHREALTIME
        assert_eq statuses "completed $TASKS" "$(statuses)"
        awk -v n="$TASKS" -v a="$start" -v b="$end" 'BEGIN { printf "%.0f\n", n / (b - a) }' >>pilot.log
        echo "  $i: bare loop $(tail -n 1 bare.log)/s, pilot-mpi $(tail -n 1 pilot.log)/s"
    done
    bare=$(median <bare.log)
    pilot_rate=$(median <pilot.log)
    awk -v a="$pilot_rate" -v b="$bare" -v want="$RATIO" -v n="$TASKS" -v c="$cores" 'BEGIN {
        printf "%d x /bin/true on %d cores: bare loop %.0f/s, pilot-mpi %.0f/s, ratio %.2f (goal 0.6, asked here %s)\n", n, c, b, a, a / b, want
        exit !(a / b >= want) }' || fail "the ratio is under $RATIO"
}

run_tests "$@"
