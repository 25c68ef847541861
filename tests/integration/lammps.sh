#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# examples/lammps for real: five completed, and the physics that comes out of it.
. "$(dirname "$0")/lib.sh"

need lmp lammps
need mpirun openmpi-bin
example=$ROOT/examples/lammps

# Steps that take a second or two; the means are less smooth than those of the full length.
STEPS=${PILOT_TEST_LAMMPS_STEPS:-20000}

check_results() { # WORKDIR
    sh "$example/parse_results.sh" "$1" >results.log
    awk '!/^#/ {
        n++
        if ($3 < 0.94 * $1 || $3 > 1.06 * $1) { print "T" $1 ": mean temperature " $3; bad = 1 }
        # The crystal: -0.0734 eV/atom at 80 K, rising by 1.13e-4 a K.
        pe = -0.0734 + 1.13e-4 * ($1 - 80)
        if ($4 < pe - 0.0012 || $4 > pe + 0.0012) { print "T" $1 ": energy " $4 ", not " pe; bad = 1 }
        if ($5 <= last) { print "T" $1 ": pressure does not rise"; bad = 1 }
        last = $5
        if ($6 < 0.08 || $6 > 0.6) { print "T" $1 ": displacement " $6; bad = 1 }
    }
    END { if (n != 5) { print n " results, not 5"; bad = 1 } exit bad }' results.log || fail "results (see results.log)"
    cat results.log
}

at_once() { # tasks at the same time, the most
    sql "select max((select count(*) from attempts b where b.started_at <= a.started_at and b.finished_at > a.started_at)) from attempts a"
}

test_sweep_one_task_at_a_time_on_two_cores() {
    [ "$(cores_here)" -ge 2 ] || skip "needs 2 cores"
    sh "$example/generate.sh" --steps "$STEPS"
    PILOT_DEADLINE=300 expect 0 --cores 2 sweep/tasks.json
    assert_eq statuses "completed 5" "$(statuses)"
    assert_eq "tasks at once" 1 "$(at_once)"
    assert_contains out "Completed: 5 | Failed: 0" "▶ T100 (2c)" "✓ T100 ("
    check_results pilot_runs
    # Two ranks that shared one core would need more wall time than CPU time; each had its own.
    sql "select id, round(user_seconds + sys_seconds, 2), round(finished_at - started_at, 2) from attempts" >times.log
    for t in T80 T90 T100 T110 T120; do
        assert_contains "pilot_runs/$t/stdout.txt" "1 by 1 by 2 MPI processor grid"
    done
    assert_nothing_left
}

test_sweep_two_tasks_at_once_on_four_virtual_cores() {
    sh "$example/generate.sh" --steps "$((STEPS / 4))"
    PILOT_DEADLINE=300 expect 0 --cores 4 sweep/tasks.json
    assert_eq statuses "completed 5" "$(statuses)"
    assert_eq "tasks at once" 2 "$(at_once)"
    assert_eq "pinned" 0 "$(sql "select count(*) from attempts where coalesce(cpus, '') != ''")"
    [ "$(sh "$example/parse_results.sh" pilot_runs | grep -vc '#')" = 5 ] || fail "results"
    assert_nothing_left
}

run_tests "$@"
