#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What takes too long for every change: the full-size versions of the tests, on a quiet machine.
#
#   sh tests/nightly.sh        after tests/run.sh has built
#
# 100,000 tasks against the bare loop, with the goal of 0.6; the table of tests/bench in full size (half an hour); 200 random kills; a minute's waiting;
# the LAMMPS runs in their full length; 20 random kills of trees of 4,095 tasks; 20,000 follow-ups a second
# through a hook; the mixed file with other seeds; 5 minutes of each fuzz target; half an hour of
# faults at random.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
cd "$root/tests/integration" || exit 1
failed=

try() { # NAME ENVIRONMENT...
    name=$1
    shift
    echo "==> $name"
    env "$@" bash "./$name.sh"
    case $? in
        0 | 77) ;;
        *) failed="$failed $name" ;;
    esac
}

echo "==> table"
python3 "$root/tests/bench/table.py" --check --build "${PILOT_BUILD:-$root/build}" || failed="$failed table"
try bench PILOT_BENCH_TASKS=100000 PILOT_BENCH_RATIO=0.6
try idle_cpu PILOT_TEST_IDLE_SECONDS=60
try kill_resume PILOT_TEST_KILLS=200
try lammps PILOT_TEST_LAMMPS_STEPS=60000
try kill_dynamic PILOT_TEST_KILLS=20 PILOT_TEST_DEPTH=12
try dynamic PILOT_TEST_DEPTH=12 PILOT_TEST_LAMMPS_STEPS=20000
try hook_rate PILOT_BENCH_HOOK_RATE=20000
try torture PILOT_TEST_MINUTES=30 PILOT_TEST_TASKS=10000 PILOT_TEST_SEED="$(date +%Y%m%d)"
for seed in 2 3 4 5 6; do try equivalence PILOT_TEST_SEED=$seed; done

for target in taskfile stream msg wire hook control client; do
    echo "==> fuzz $target"
    PILOT_BUILD=${PILOT_BUILD:-$root/build} bash "$root/tests/fuzz/libfuzzer.sh" $target "${PILOT_FUZZ_SECONDS:-300}" \
        "$root/tests/fuzz/corpus/$target"
    case $? in
        0 | 77) ;;
        *) failed="$failed fuzz-$target" ;;
    esac
done

if [ -n "$failed" ]; then
    echo "nightly: failed:$failed"
    exit 1
fi
echo "nightly: all passed"
