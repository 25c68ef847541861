#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# N nodes, all their cores:   sbatch --nodes=4 slurm/many-nodes.sh tasks.json
# Submitted again, it goes on where it stopped. See README.md beside this file.
#
#SBATCH --job-name=pilot
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
# Do not give up the allocation because one node failed: the pilot goes on with the others.
#SBATCH --no-kill
# Before the end, TERM to this script ("B:", batch shell) and nobody else. The pilot asks Slurm when that
# is and stops by itself, two minutes before; this is for when it got no answer. (Slurm's warning may
# come up to a minute early, and must not come first.)
#SBATCH --signal=B:TERM@45
#SBATCH --output=pilot-%j.out

tasks=${1:-tasks.json}
pilot=${PILOT:-pilot-mpi}
workdir=${PILOT_WORKDIR:-pilot_runs}

# Started before? Then the rest of it. Tasks that the file has got since are added.
if [ -e "$workdir/state.db" ]; then resume=--resume; else resume=; fi

mkdir -p "$workdir"
pidfile=$(cd "$workdir" && pwd)/rank0.$SLURM_JOB_ID.pid

flags=(
    # One rank a node: the rank is the node's agent and uses all cores of the node.
    --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1
    # Do not bind the rank: it would hand its binding, perhaps one core, on to all tasks. The pilot
    # pins each task to the cores that it gives it.
    --cpu-bind=none
    # All memory of the job for this step, whatever the site's default a CPU is.
    --mem=0
    # A lost node or a dead rank does not end the step; nor does the first rank that leaves.
    --no-kill --kill-on-bad-exit=0 --wait=0
    # Not here: --exclusive. For a job it means "the whole node", for a step inside a job "only as
    # many CPUs as I ask for", which is one.
)

# Rank 0 writes down its pid, so that TERM can go to it alone. (TERM to srun would kill the step at
# once, and `scancel --signal=TERM` reaches the tasks too.) Rank 0 is on the first node, as we are.
# shellcheck disable=SC2016
srun "${flags[@]}" sh -c '[ "$SLURM_PROCID" != 0 ] || echo $$ >"$0"; exec "$@"' "$pidfile" \
    "$pilot" $resume --workdir "$workdir" --drain-margin 120 "$tasks" </dev/null &
pid=$!
# On TERM the pilot ends its tasks (TERM, KILL after --grace), notes that they have to run again,
# and leaves with status 3.
trap 'kill -TERM "$(cat "$pidfile")"' TERM
wait $pid
status=$?
# The first `wait` ends with the signal; srun has not, yet.
while kill -0 $pid 2>/dev/null; do
    wait $pid
    status=$?
done
# srun's status is that of the worst rank, a lost one included. What the run came to is what rank 0
# wrote down at its end; if it did not come to that, it is the pilot itself that failed.
if [ "$workdir/summary.json" -nt "$pidfile" ]; then
    status=$(sed -n 's/.*"exit_status":[^0-9]*\([0-9]*\).*/\1/p' "$workdir/summary.json")
elif [ $status = 0 ]; then
    status=4
fi
rm -f "$pidfile"

[ $status != 3 ] || echo "Stopped before the end. To go on: sbatch slurm/many-nodes.sh $tasks"
exit $status
