#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One node, all its cores:   sbatch slurm/one-node.sh tasks.json
# Submitted again, it goes on where it stopped. See README.md beside this file.
#
#SBATCH --job-name=pilot
#SBATCH --nodes=1
# The whole node. For a part of one: instead of --exclusive, --ntasks=1 --cpus-per-task=8 (one task
# for Slurm, namely the pilot; the pilot finds out which 8 CPUs it may use).
#SBATCH --exclusive
#SBATCH --time=04:00:00
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

# No srun: this script already runs on the node, with all of the job's CPUs, and without a launcher
# of MPI the pilot does not use MPI at all. In the background, because bash handles a signal only
# between commands or in `wait`. (srun for the pilot is for more than one node: many-nodes.sh.)
"$pilot" $resume --workdir "$workdir" --drain-margin 120 "$tasks" &
pid=$!
# On TERM the pilot ends its tasks (TERM, KILL after --grace), notes that they have to run again,
# and leaves with status 3.
trap 'kill -TERM $pid' TERM
wait $pid
status=$?
# The first `wait` ends with the signal; the pilot has not, yet.
while kill -0 $pid 2>/dev/null; do
    wait $pid
    status=$?
done

[ $status != 3 ] || echo "Stopped before the end. To go on: sbatch slurm/one-node.sh $tasks"
exit $status
