#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Follow-ups a second through a hook: agents that answer at once (pilot-mpi-null, tests/bench) and a
# hook that does nothing but answer (hook_echo), so that the pilot itself is what is measured. State on;
# the median of three counts.
#
# PILOT_BENCH_FOLLOW_UPS (100000); PILOT_BENCH_HOOK_RATE (5000: what must be reached here, beside
# whatever else the machine does; the goal on a quiet one is 20,000, which tests/nightly.sh asks for).
. "$(dirname "$0")/lib.sh"

TOTAL=${PILOT_BENCH_FOLLOW_UPS:-100000}
WANT=${PILOT_BENCH_HOOK_RATE:-5000}
BENCH=${PILOT_BUILD:-$ROOT/build}/tests/bench
PILOT=$BENCH/pilot-mpi-null

measure() { # FAN-OUT FIRST: the median of three, on the last line of rate.log
    local each=$1 i
    yes true | head -n "$2" >tasks.txt || true
    : >rates.txt
    for i in 1 2 3; do
        PILOT_DEADLINE=300 expect 0 --fresh --quiet --on-complete "$BENCH/hook_echo $each $TOTAL $PWD/result" tasks.txt
        assert_eq statuses "completed $((TOTAL + $2))" "$(statuses)"
        assert_eq "follow-ups made" "$TOTAL" "$(cut -d' ' -f1 result)"
        awk '{ printf "%.0f\n", $1 / $2 }' result >>rates.txt
    done
    rate=$(sort -n rates.txt | sed -n 2p)
    echo "$TOTAL follow-ups, $2 tasks to begin with, $each for each event: $rate/s (of $(xargs <rates.txt))"
}

test_follow_ups_a_second() {
    # One new task for each that ended, as in a campaign that goes on; a tree that doubles; bushels.
    measure 1 1000
    [ "$rate" -ge "$WANT" ] || fail "$rate follow-ups a second; $WANT are asked here"
    measure 2 1
    measure 100 1
}

# One after the other, each made by the end of the one before: what counts is the time from an end to
# what follows from it.
test_a_chain() {
    echo true >tasks.txt
    expect 0 --quiet --on-complete "$BENCH/hook_echo 1 100 $PWD/result" tasks.txt
    awk '{ printf "a chain of %d: %.1f ms from one to the next (asked here: 50)\n", $1, 1000 * $2 / $1; exit !($2 / $1 <= 0.05) }' result ||
        fail "follow-ups come late"
}

run_tests "$@"
