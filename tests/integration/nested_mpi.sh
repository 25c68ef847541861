#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# MPI launchers as tasks: with the environment and CPU mask of a task, ranks start on the task's
# cores and nowhere else, whatever the pilot itself was started by.
# usage: nested_mpi.sh BUILD_DIR [DIR_OF_THE_TEST_PROGRAMS]
set -u

build=${1:?usage: nested_mpi.sh BUILD_DIR [DIR]}
bin=${2:-$build/tests/integration/mpi}
where=$bin/mpi_where
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1

skip() {
    echo "skipped: $1"
    exit 77
}

for program in "$where" "$bin/as_task"; do
    [ -x "$program" ] || skip "$program was not built"
done
mpirun=$(command -v mpirun.openmpi || command -v mpirun) || skip "no mpirun here"
mpich=$(command -v mpirun.mpich || true)

# The CPUs of this process, one a word.
expand() {
    local part
    for part in ${1//,/ }; do
        seq "${part%-*}" "${part#*-}"
    done
}
allowed=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
read -r a b _ <<<"$(expand "$allowed" | tr '\n' ' ')"
[ -n "${b:-}" ] || skip "one CPU only, two are needed to tell ranks apart"
if [ "$b" -eq $((a + 1)) ]; then both=$a-$b; else both=$a,$b; fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/nested_mpi.XXXXXX")
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0

# check NAME WANTED GOT
check() {
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n    wanted: %s\n    got:    %s\n' "$1" "$2" "$3"
        sed 's/^/    | /' "$dir/err" 2>/dev/null | head -20
    fi
}

# "rank:cpus" of every rank, in order of rank, from the lines of mpi_where.
ranks() {
    sed -n 's/^rank \([0-9]*\) of .* cpus \([^ ]*\) on .*/\1:\2/p' | sort -n | tr '\n' ' ' | sed 's/ $//'
}

# run START CPUS CORES [NAME=VALUE...] -- COMMAND...: runs it as a task of a pilot that was itself
# started by START: the command words in the array of that name.
start_alone=(env)
start_mpirun=("$mpirun" --oversubscribe --bind-to none -np 1)
start_mpirun_bound=("$mpirun" --oversubscribe --bind-to core --mca btl self,vader -np 1)
start_mpich=("$mpich" -np 1)
# What a step of Slurm has in its environment. There is no such node and no such job: a launcher that
# still believes it has nowhere to go.
start_slurm=(env SLURM_JOB_ID=99 SLURM_JOBID=99 SLURM_NODELIST=nowhere[1-2] SLURM_JOB_NODELIST=nowhere[1-2]
    SLURM_NNODES=2 SLURM_JOB_NUM_NODES=2 SLURM_TASKS_PER_NODE="1(x2)" SLURM_NTASKS=2 SLURM_NPROCS=2
    SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_STEP_ID=0 SLURM_STEPID=0 SLURM_STEP_NODELIST=nowhere[1-2]
    SLURM_JOB_CPUS_PER_NODE="1(x2)" SLURM_CPU_BIND=quiet,mask_cpu:0x1 SLURM_MPI_TYPE=pmix
    PMIX_RANK=0 PMIX_NAMESPACE=slurm.pmix.99.0 PMIX_SERVER_URI4=nowhere PMI_RANK=0 PMI_SIZE=2 PMI_FD=77)
start_task=("$bin/as_task" "$dir" "$both" 2 --)

run() {
    local -n start=start_$1
    shift
    timeout 60 "${start[@]}" "$bin/as_task" "$dir" "$@" 2>"$dir/err" </dev/null
}

# For launchers of which no MPI library is needed. MPICH's loses the output of processes that end at
# once (1 in 4,000; none in 8,000 with the pause).
own_cpus=(sh -c 'sed -n "s/^Cpus_allowed_list:[[:space:]]*//p" /proc/self/status; sleep 0.1')

# ---- Where ranks are, by what the person wrote --------------------------------------------------------

# place START CPUS CORES "OPTIONS" WANTED
place() {
    local name="$1: mpirun $4 in a task of $3 core(s) on '$2'"
    # shellcheck disable=SC2086 # options are words
    check "$name" "$5" "$(run "$1" "$2" "$3" -- "$mpirun" $4 "$where" | ranks)"
}

for start in alone mpirun mpirun_bound mpich slurm task; do
    [ "$start" != mpich ] || [ -n "$mpich" ] || continue
    place $start "$b" 1 "-np 1" "0:$b"
    place $start "$both" 2 "-np 2" "0:$a 1:$b"
    place $start "$b" 1 "-np 3" "0:$b 1:$b 2:$b"
    # A task that is not pinned has the mask that as_task was started with.
    [ $start = mpirun_bound ] || [ $start = task ] ||
        place $start "" 2 "-np 2" "0:$allowed 1:$allowed"
    check "$start: MPI program without a launcher" "0:$b" "$(run $start "$b" 1 -- "$where" | ranks)"
    if [ -n "$mpich" ]; then
        # Programs built with MPICH may be absent, processes suffice to see where they are put.
        check "$start: mpirun.mpich" "$b $b" "$(run $start "$b" 1 -- "$mpich" -np 2 \
            "${own_cpus[@]}" | tr '\n' ' ' | sed 's/ $//')"
        check "$start: mpirun.mpich -bind-to core" "$b" "$(run $start "$b" 1 -- "$mpich" -bind-to core -np 1 \
            "${own_cpus[@]}")"
    fi
done

place alone "$b" 1 "" "0:$b"
place alone "$b" 1 "-np 2" "0:$b 1:$b"
place alone "$b" 1 "--bind-to core -np 1" "0:$b"
place alone "$b" 1 "--bind-to none -np 2" "0:$b 1:$b"
place alone "$b" 1 "--oversubscribe -np 3" "0:$b 1:$b 2:$b"
place alone "$b" 1 "--map-by core -np 2" "0:$b 1:$b"
place alone "$both" 2 "" "0:$a 1:$b"
place alone "$both" 2 "-np 1" "0:$a"
place alone "$both" 2 "-np 4" "0:$a 1:$b 2:$a 3:$b"
place alone "$both" 2 "--bind-to core -np 2" "0:$a 1:$b"
place alone "$both" 2 "--bind-to none -np 2" "0:$both 1:$both"
place alone "$both" 2 "--map-by slot:PE=2 -np 1" "0:$both"
place alone "$both" 2 "--oversubscribe -np 3" "0:$a 1:$b 2:$a"
place alone "[$b]" 1 "-np 1" "0:$b"
place alone "[$b]" 1 "-np 2" "0:$b 1:$b"
place alone "[$both]" 2 "-np 2" "0:$both 1:$both"
place alone "" 3 "" "0:$allowed 1:$allowed 2:$allowed"
place alone "" 1 "-np 4" "0:$allowed 1:$allowed 2:$allowed 3:$allowed"

# ---- What the person may set ----------------------------------------------------------------------------

check "ranks with threads are not bound" "0:$both" \
    "$(run alone "$both" 2 OMP_NUM_THREADS=2 -- "$mpirun" -np 1 "$where" | ranks)"
check "the task's own setting of Open MPI wins" "0:$both 1:$both" \
    "$(run alone "$both" 2 OMPI_MCA_hwloc_base_binding_policy=none -- "$mpirun" -np 2 "$where" | ranks)"
threads() {
    sed -n 's/.* threads //p' | sort -u
}
check "OMP_NUM_THREADS is the task's cores" 2 "$(run alone "$both" 2 -- "$where" | threads)"
check "OMP_NUM_THREADS of the task wins" 5 \
    "$(run alone "$both" 2 OMP_NUM_THREADS=5 -- "$where" | threads)"
check "OMP_NUM_THREADS of the person stays" 7 \
    "$(OMP_NUM_THREADS=7 run alone "$both" 2 -- "$where" | threads)"

# ---- Several at once, and failures -----------------------------------------------------------------------

run alone "$a" 1 -- "$mpirun" -np 1 "$where" >"$dir/one" &
one=$!
run alone "$b" 1 -- "$mpirun" -np 1 "$where" >"$dir/two" &
two=$!
wait $one $two
check "two at once: the first on its core" "0:$a" "$(ranks <"$dir/one")"
check "two at once: the second on its core" "0:$b" "$(ranks <"$dir/two")"

run alone "$b" 1 -- "$mpirun" -np 1 "$where" 3 >/dev/null
check "the exit status of a rank comes through" 3 $?

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
