#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Campaigns that make their own tasks: each example, by pilot-mpi alone, by mpirun and by srun on
# several nodes, comes to the same set of tasks.
#
# PILOT_TEST_DEPTH (9): depth of the tree that grows by `pilot-mpi add`; PILOT_TEST_LAMMPS_STEPS (500).
. "$(dirname "$0")/lib.sh"
examples=$ROOT/examples

need sqlite3 sqlite3
need python3 python3
DEPTH=${PILOT_TEST_DEPTH:-9}
STEPS=${PILOT_TEST_LAMMPS_STEPS:-500}
SWEEP="x0 x1 x10 x2 x3 x4 x5 x5.5 x6 x6.5 x7 x7.5 x8 x9"

# What the examples find their parts by.
export PATH=$(dirname "$PILOT"):$PATH PILOT_MPI=$PILOT PYTHONPATH=$ROOT/python PYTHONDONTWRITEBYTECODE=1

# Runs a program in one of the ways: alone, mpirun (3 ranks), srun (4 nodes). The way is part of every
# message; each way has a directory of its own.
run_by() { # WAY PROGRAM ARGS...
    local way=$1
    shift
    status=0
    case $way in
        alone) timeout -k 5 "${PILOT_DEADLINE:-180}" "$@" >out 2>err </dev/null || status=$? ;;
        mpirun) timeout -k 5 "${PILOT_DEADLINE:-180}" mpirun --oversubscribe -np 3 "$@" >out 2>err </dev/null || status=$? ;;
        srun)
            # shellcheck disable=SC2086
            timeout -k 5 "${PILOT_DEADLINE:-180}" env VCLUSTER_DIR="$CLUSTER_DIR" "$ROOT/tests/cluster/vcluster" run \
                srun -N 4 $SRUN_FLAGS "$@" >out 2>err </dev/null || status=$?
            ;;
    esac
    if [ $status != 0 ]; then
        tail -n 20 out err >&2
        fail "$way: exit status $status of $*"
    fi
}

# Calls FUNCTION WAY once for each way, in a directory of its own.
each_way() { # FUNCTION
    local way
    for way in $WAYS; do
        mkdir "$way" && cd "$way"
        echo "  $1, $way" >>../ways.log
        "$1" "$way"
        assert_nothing_left
        cd ..
    done
}

ids() { sql "select id from tasks order by id" | xargs; }

# ---- The sweep that refines itself ---------------------------------------------------------------

check_sweep() { # WAY: the tasks, that each completed, and their results
    assert_eq "$1: tasks" "$SWEEP" "$(find pilot_runs -maxdepth 1 -name 'x*' -printf '%f\n' | LC_ALL=C sort | xargs)"
    # shellcheck disable=SC2086
    for x in $SWEEP; do sh "$examples/dynamic/model.sh" "${x#x}"; done >expected.txt
    for x in $SWEEP; do cat "pilot_runs/$x/stdout.txt"; done >got.txt
    diff expected.txt got.txt >diff.log || fail "$1: results differ (see diff.log)"
}

sweep_by_hook() { # WAY
    sh "$examples/dynamic/generate.sh" >tasks.jsonl
    run_by "$1" "$PILOT" --on-complete "sh $examples/dynamic/hook.sh" tasks.jsonl
    assert_eq "$1: ids" "$SWEEP" "$(ids)"
    assert_eq "$1: statuses" "completed 14" "$(statuses)"
    check_sweep "$1"
}
test_sweep_by_a_hook_in_shell() { each_way sweep_by_hook; }

sweep_by_libpilot() { # WAY
    cp "$examples/dynamic/model.sh" .
    run_by "$1" ../sweep
    assert_eq "$1: ids" "$SWEEP" "$(ids)"
    assert_eq "$1: statuses" "completed 14" "$(statuses)"
    check_sweep "$1"
    # Once more: there is nothing left to do, and no callback is called again.
    run_by "$1" ../sweep --resume
    assert_eq "$1: attempts" 14 "$(sql 'select count(*) from attempts')"
}
test_sweep_by_libpilot_in_c() {
    need pkg-config pkg-config
    cmake --install "${PILOT_BUILD:-$ROOT/build}" --prefix "$PWD/prefix" >install.log 2>&1 || fail "install (see install.log)"
    cp "$examples"/dynamic/{Makefile,sweep.c} .
    make PKG_CONFIG_PATH="$(dirname "$(find "$PWD/prefix" -name pilot.pc)")" >make.log 2>&1 || fail "make (see make.log)"
    ! grep -i warning make.log || fail "warnings (above)"
    each_way sweep_by_libpilot
}

sweep_by_python() { # WAY
    run_by "$1" python3 "$examples/dynamic/sweep.py" 2
    assert_contains out "14 points, 0 failed"
    check_sweep "$1"
}
test_sweep_in_python() { each_way sweep_by_python; }

# ---- LAMMPS --------------------------------------------------------------------------------------

lammps() { # WAY
    python3 "$examples/lammps-active/active.py" tasks "$STEPS" >tasks.json
    # Virtual nodes share the machine's cores: two tasks at once, four ranks.
    PILOT_DEADLINE=600 run_by "$1" "$PILOT" --max-workers 2 --on-complete "python3 $examples/lammps-active/active.py" tasks.json
    ids >../"$1.ids"
    assert_eq "$1: statuses" "completed $(wc -w <../"$1.ids")" "$(statuses)"
    assert_eq "$1: tasks" "$(cat ../alone.ids)" "$(ids)"
    assert_between "$1: number of tasks" 6 20 "$(wc -w <../"$1.ids")"
    # The plot is there, with a point for each.
    python3 -c 'import sys, xml.dom.minidom
d = xml.dom.minidom.parse(sys.argv[1])
print(len(d.getElementsByTagName("circle")) - 1 + len(d.getElementsByTagName("path")) - 1)' pilot_runs/msd.svg >points.txt
    assert_eq "$1: points in msd.svg" "$(wc -w <../"$1.ids")" "$(cat points.txt)"
}
test_lammps_that_chooses_its_temperatures() {
    command -v lmp >/dev/null || { echo "SKIP: 'lmp' is not installed (Debian: lammps)" && exit 77; }
    [ "$(cores_here)" -ge 2 ] || { echo "SKIP: needs 2 cores" && exit 77; }
    each_way lammps
    cat alone.ids
}

# ---- The tree ------------------------------------------------------------------------------------

check_tree() { # WAY DEPTH: every id that there must be, once, and no other
    local level
    python3 -c 'import sys
for level in range(int(sys.argv[1])):
    for i in range(1 << level):
        print("b" + (format(i, "0%db" % level) if level else ""))' "$2" | sort >expected.txt
    sql "select id from tasks" | sort >got.txt
    diff expected.txt got.txt >diff.log || fail "$1: not the tree (see diff.log)"
    assert_eq "$1: statuses" "completed $(wc -l <expected.txt)" "$(statuses)"
    sort "$PWD/log" | uniq -c | awk '$1 != 1' >twice.log
    [ ! -s twice.log ] || fail "$1: tasks that ran more than once (see twice.log)"
    assert_eq "$1: tasks that ran" "$(wc -l <expected.txt)" "$(wc -l <log)"
}

tree_by_add() { # WAY
    sh "$examples/branching/generate.sh" "$DEPTH" >root.json
    BRANCH_LOG=$PWD/log run_by "$1" "$PILOT" --quiet root.json
    check_tree "$1" "$DEPTH"
}
test_tree_by_add() { each_way tree_by_add; }

tree_by_hook() { # WAY
    echo "[{\"id\": \"b\", \"command\": \"echo \$PILOT_TASK_ID >> $PWD/log\"}]" >root.json
    run_by "$1" "$PILOT" --quiet --on-complete "sh $examples/branching/hook.sh 9 'echo \$PILOT_TASK_ID >> $PWD/log'" root.json
    check_tree "$1" 9
}
test_tree_by_a_hook() { each_way tree_by_hook; }

WAYS=alone
if command -v mpirun >/dev/null; then WAYS="$WAYS mpirun"; else echo "SKIP: without mpirun: 'mpirun' is not installed (Debian: openmpi-bin)"; fi
no_cluster=$(cluster check)
if [ -z "$no_cluster" ]; then
    cluster_up 4 2
    WAYS="$WAYS srun"
else
    echo "SKIP: without srun: ${no_cluster#vcluster: }"
fi
run_tests "$@"
