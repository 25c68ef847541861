#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Faults drawn at random over a large mixed workload, again and again, and an audit of each round:
# every task accounted for as its file foretells, no completion run again, no core given twice, no
# process, shared memory or temporary file left. After tests/run.sh has built.
#
#   tests/torture.sh --minutes N --seed S [--tasks 10000] [--round R] [--keep]
#
#   --tasks N      tasks a round; ten thousand need a minute or two on two cores
#   --round R      only this round of the seed, to see its finding again (as far as timing allows)
#   --keep         keep the rounds' files also when nothing was found
#   --ways LIST, --faults LIST  instead of any, with commas: srun,alone and kill-rank0,cut-long; the
#                  names are those of the lines
#   --early LIST   instead of any, these while the ranks start, one a start
#   --scale F --lost-after S    length of the tasks, and of the pilot's patience with a silent node
#
# A line a round: its number and seed, the way of starting the pilot, the faults, the result. Exit
# status 1 when there was a finding; its files stay and are named.
. "$(dirname "$0")/integration/lib.sh"

need sqlite3 sqlite3
need python3 python3
need mpirun openmpi-bin
BUILD=${PILOT_BUILD:-$(cd "$(dirname "$PILOT")" && pwd)}
TASK=$BUILD/tests/torture/torture_task
[ -x "$TASK" ] || skip "$TASK is not built (cmake -DPILOT_TESTS=ON)"

case " $* " in
    *" --minutes "*) ;;
    *)
        sed -n '/^#   tests/,/^# status/s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
args=()
for arg; do
    if [ "$arg" = --keep ]; then PILOT_TEST_KEEP=1; else args+=("$arg"); fi
done

# A file system that can be filled. Mounted before the nodes are made, it is in all of them. One of a
# test that could not take it down goes now.
for dir in "$TEST_TMP"/torture-small.*; do
    if [ -d "$dir" ] && ! [ -e "/proc/${dir##*.}" ]; then umount "$dir" 2>/dev/null || true && rmdir "$dir"; fi
done
SMALL=$TEST_TMP/torture-small.$$
mkdir "$SMALL"
driver=
end_torture() {
    if [ -n "$driver" ]; then kill -9 "$driver" 2>/dev/null; fi
    cleanup
    if mountpoint -q "$SMALL"; then umount "$SMALL"; fi
    rmdir "$SMALL"
}
trap end_torture EXIT
mount -t tmpfs -o size=48m,mode=0700 tmpfs "$SMALL" 2>/dev/null || skip "a tmpfs cannot be mounted here"
cluster_up 4 2

# The driver is none of the processes that may be left.
env -u TEST_MARKER python3 -B "$ROOT/tests/torture/torture.py" "${args[@]}" --pilot "$PILOT" --task "$TASK" \
    --mpi-program "$BUILD/tests/integration/mpi/mpi_where" --base "$TEST_DIR" --small-disk "$SMALL" \
    --vcluster "$ROOT/tests/cluster/vcluster" --cluster-dir "$CLUSTER_DIR" --marker "$TEST_MARKER" &
driver=$!
wait $driver
status=$?
driver=
[ $status = 0 ] || PILOT_TEST_KEEP=1
exit $status
