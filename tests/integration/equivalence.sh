#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The same file of 200 mixed tasks gives the same final statuses however the pilot is started, and
# no core is ever given to two tasks at once.
. "$(dirname "$0")/lib.sh"
here=$ROOT/tests/integration

need python3 python3
[ "$(cores_here)" -ge 2 ] || skip "a node of this machine has one core; the file has tasks of two"

make_file() { python3 "$here/make_mixed.py" . 200 "${PILOT_TEST_SEED:-1}"; }

check_run() { # WORKDIR [--nodes N]
    assert_eq "exit status" 1 "$status"
    sql "select id || ' ' || status from tasks order by id" "$1/state.db" >got.txt
    diff expected.txt got.txt >diff.log || fail "statuses differ from what the file says (see diff.log)"
    python3 "$here/check_cores.py" "$@" >cores.log || fail "cores (see cores.log)"
    cat cores.log
    assert_nothing_left
}

test_singleton() {
    make_file
    pilot tasks.json
    check_run pilot_runs
}

test_mpirun_3_ranks() {
    need mpirun openmpi-bin
    make_file
    mpirun_pilot 3 tasks.json
    check_run pilot_runs
}

test_srun_4_nodes() {
    [ -z "$no_cluster" ] || { echo "SKIP: $no_cluster" && exit 77; }
    make_file
    srun_pilot 4 tasks.json
    check_run pilot_runs --nodes 4
}

# Without the cluster the other two cases still count.
no_cluster=$(cluster check)
[ -n "$no_cluster" ] || cluster_up 4 2
run_tests "$@"
