#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The virtual cluster itself: real Slurm, real MPI over PMIx, faults, two at once, nothing left.
. "$(dirname "$0")/lib.sh"

reason=$(cluster check) || skip "$reason"
vc() { VCLUSTER_DIR=$TEST_BASE/$1 "$ROOT/tests/cluster/vcluster" "${@:2}"; }
sweep_clusters
TEST_BASE=/var/tmp/pilot-test-$$
mkdir "$TEST_BASE"
take_down() {
    for name in a b; do vc $name down; done
    rmdir "$TEST_BASE"
    cleanup
}
trap take_down EXIT

namespaces() { ip netns list | grep -c '^vc' || true; }

test_up_run_crash_revive_down() {
    local before
    before=$(namespaces)
    (unset TEST_MARKER && vc a up 3 2)
    assert_eq nodes "vc1 vc2 vc3" "$(vc a run srun -N 3 --ntasks-per-node=1 hostname | sort | xargs)"
    assert_eq "name of the head" vchead "$(vc a run hostname)"
    assert_eq "name of node 2" vc2 "$(vc a on 2 hostname)"
    # /tmp is each node's own.
    vc a on 1 touch /tmp/only-here
    ! vc a on 2 test -e /tmp/only-here
    if vc a up 2>err; then fail "came up twice"; fi
    assert_contains err "vcluster down"
    vc a crash 2
    if vc a on 2 true 2>err; then fail "a crashed node answers"; fi
    assert_contains err revive
    (unset TEST_MARKER && vc a revive 2)
    assert_eq nodes "vc1 vc2 vc3" "$(vc a run srun -N 3 --ntasks-per-node=1 hostname | sort | xargs)"
    vc a cut 3
    if vc a on 3 ping -c 1 -W 1 vchead >/dev/null 2>&1; then fail "the link is not cut"; fi
    vc a heal 3
    vc a down
    assert_eq namespaces "$before" "$(namespaces)"
    assert_absent "$TEST_BASE/a"
    assert_nothing_left
}

test_two_at_once_and_mpi() {
    (unset TEST_MARKER && vc a up 2 && vc b up 2)
    cat >hello.c <<'END'
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, sum;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    rank++;
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("sum %d\n", sum);
    MPI_Finalize();
    return 0;
}
END
    mpicc -o hello hello.c
    for name in a b; do
        vc $name run srun -N 2 --ntasks-per-node=1 ./hello >$name.log 2>&1 || fail "srun on $name (see $name.log)"
        assert_eq "ranks that answered on $name" 2 "$(grep -c '^sum 3$' $name.log)"
    done
    vc a down
    vc b run srun -N 2 --ntasks-per-node=1 hostname >/dev/null || fail "b went down with a"
    vc b down
}

run_tests "$@"
