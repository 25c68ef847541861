#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Every example does what its README says. (LAMMPS: lammps.sh.)
. "$(dirname "$0")/lib.sh"
examples=$ROOT/examples

test_simple() {
    expect 0 "$examples/simple.json"
    assert_eq statuses "completed $(json "$examples/simple.json" 'len(d["tasks"])')" "$(statuses)"
    assert_file pilot_runs/sum/stdout.txt "left + right = 42"
    assert_file pilot_runs/settings/stdout.txt "T = 300, solver = fast"
    assert_eq "attempts of second-try" 2 "$(sql "select attempts from tasks where id = 'second-try'")"
    assert_contains pilot_runs/args/stdout.txt '$HOME is not expanded' "two  spaces stay"
}

test_sweep() {
    sh "$examples/sweep/generate_sweep.sh" >tasks.json
    expect 0 tasks.json
    assert_eq statuses "completed 25" "$(statuses)"
    assert_eq "lines of the table" 25 "$(wc -l <pilot_runs/collect/sweep.txt)"
    # Below rate 3 the map settles at 1 - 1/rate.
    assert_between "mean at 2.8" 0.642 0.643 "$(awk '$1 == 2.8 && $2 == 1 {print $3}' pilot_runs/collect/sweep.txt)"
    # As the README says: a wider sweep runs what is new.
    sh "$examples/sweep/generate_sweep.sh" "2.6 2.8 3.0 3.2 3.4 3.6 3.8 4.0" "1 2 3 4" >tasks.json
    expect 0 --resume --rerun-changed tasks.json
    assert_eq "attempts" 33 "$(sql 'select count(*) from attempts')"
    assert_eq "lines of the table" 33 "$(wc -l <pilot_runs/collect/sweep.txt)"
}

test_openmp() {
    local cores=2
    [ "$(cores_here)" -ge 2 ] || cores=1
    cp -r "$examples/openmp" prog && make -s -C prog >make.log 2>&1 || fail "make (see make.log)"
    sh prog/generate.sh $cores >tasks.json
    expect 0 tasks.json
    assert_contains pilot_runs/side-1000/stdout.txt "$cores threads" "area 1.51"
    # The threads were seen on as many CPUs as the task has cores.
    grep -qE "CPUs$(printf ' [0-9]+%.0s' $(seq $cores)),"  pilot_runs/side-3000/stdout.txt ||
        fail "not on $cores CPUs: $(cat pilot_runs/side-3000/stdout.txt)"
}

test_mpi() {
    need mpirun openmpi-bin
    [ "$(cores_here)" -ge 2 ] || skip "needs 2 cores"
    cp -r "$examples/mpi" prog && make -s -C prog >make.log 2>&1 || fail "make (see make.log)"
    sh prog/generate.sh 2 >tasks.json
    expect 0 tasks.json
    for n in 1000000 10000000 100000000; do
        assert_contains "pilot_runs/pi-$n/stdout.txt" "pi 3.14159265" "rank 0 of 2" "rank 1 of 2"
    done
    assert_nothing_left
}

run_tests "$@"
