#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A campaign of any length in allocations of a limited one, submitted once:
#
#     sbatch --nodes=4 --time=12:00:00 slurm/requeue.sh tasks.json [OPTIONS of pilot-mpi]
#
# Each round runs until its time is nearly over, ends what runs (those tasks wait again), and puts the
# job back into the queue, where it waits for the next round under the same job id and with the same
# options. It is over when all tasks have ended (exit status 0, or 1 if some failed), when the tasks
# or options are wrong (2), and when a round made no progress (3). `scancel` ends it for good;
# submitted again, it goes on. See README.md beside this file.
#
# Environment: PILOT and PILOT_WORKDIR as in the other scripts; PILOT_IDLE_ROUNDS=N: stop after N
# rounds in a row in which no task ended (1). More than 1 is for tasks that are longer than a round and
# go on by themselves from what they saved at the TERM.
#
#SBATCH --job-name=pilot
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
# Do not give up the allocation because one node failed: the pilot goes on with the others.
#SBATCH --no-kill
# This job may be put back into the queue: by this script, and by Slurm when the first node fails or
# the job is preempted. A site may forbid it (JobRequeue=0 in slurm.conf): then the script submits
# itself again.
#SBATCH --requeue
# All rounds write one file.
#SBATCH --open-mode=append
#SBATCH --output=pilot-%j.out
# Before the end, USR1 to this script ("B:", batch shell) and nobody else. The pilot asks Slurm when that is
# and stops by itself, two minutes before (--drain-margin, below); this is for when it got no answer.
# (Slurm's warning may come up to a minute early, and must not come first: a task that was started
# because it fits would be cut off.)
#SBATCH --signal=B:USR1@45

tasks=${1:-tasks.json}
[ $# = 0 ] || shift
pilot=${PILOT:-pilot-mpi}
workdir=${PILOT_WORKDIR:-pilot_runs}
mkdir -p "$workdir" || exit 2
workdir=$(cd "$workdir" && pwd)
pidfile=$workdir/rank0.$SLURM_JOB_ID.pid
summary=$workdir/summary.json

# ---- How far it is -------------------------------------------------------------------------------

# A number of the summary that the pilot writes at its end; 0 if there is none.
number() { # NAME
    local value
    value=$(sed -n "s/^[[:space:]]*\"$1\":[[:space:]]*\([0-9]*\).*/\1/p" "$summary" 2>/dev/null | head -n 1)
    echo "${value:-0}"
}

ended() { echo $(($(number completed) + $(number failed) + $(number skipped) + $(number cancelled))); }

# "ENDED IDLE": tasks that had ended after the last round that came to its end, and rounds since then. Each
# round counts itself as idle first, so that one that is killed has been counted.
rounds=$workdir/rounds
[ -n "${SLURM_RESTART_COUNT:-}${PILOT_RESUBMITTED:-}" ] || rm -f "$rounds" # submitted by a person
before=$(ended) idle=0
[ ! -s "$rounds" ] || read -r before idle <"$rounds"
idle_max=${PILOT_IDLE_ROUNDS:-1}
# Nodes fail; but what brings them down must not go on for ever. The pilot needs up to seven such rounds to find
# a task that does it, which then fails; a limit is still wanted for one that takes its time about it.
kills_max=$((idle_max > 8 ? idle_max : 8))
if [ "$idle" -ge "$kills_max" ]; then
    echo "The last $idle rounds were all cut off before their end and nothing is known to have ended: not going on."
    exit 3
fi
idle=$((idle + 1))
echo "$before $idle" >"$rounds"

# ---- One round -----------------------------------------------------------------------------------

# Started before? Then the rest of it. Tasks that the file has got since are added.
if [ -e "$workdir/state.db" ]; then resume=--resume; else resume=; fi
rm -f "$pidfile"
started=$workdir/rounds.started # to see whether the summary is of this round
touch "$started"

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
)
# Rank 0 writes down its pid, so that a signal can go to it alone: one to srun would go to the tasks too, or
# kill the step. Rank 0 is on the first node, as we are. With one node there is nothing to launch: without a
# launcher of MPI the pilot does not use MPI at all.
# shellcheck disable=SC2016
write_pid=(sh -c '[ "${SLURM_PROCID:-0}" != 0 ] || echo $$ >"$0"; exec "$@"' "$pidfile")
launch=()
[ "$SLURM_JOB_NUM_NODES" = 1 ] || launch=(srun "${flags[@]}")

# In the background, because bash handles a signal only between commands or in `wait`.
"${launch[@]}" "${write_pid[@]}" "$pilot" $resume --workdir "$workdir" --drain-margin 120 "$@" "$tasks" </dev/null &
pid=$!

# To the pilot, as soon as there is one. It then ends its tasks (TERM, KILL after --grace), notes that they have
# to run again, and leaves with status 3.
pass_on() { # SIGNAL
    until [ -s "$pidfile" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.2; done
    kill -"$1" "$(cat "$pidfile")"
}
# The time is nearly over: go on in another round.
trap 'pass_on USR1' USR1
# scancel, or the end of a job that is preempted, which Slurm requeues itself: do not requeue it here.
cancelled=
trap 'cancelled=1; pass_on TERM' TERM INT
wait $pid
status=$?
# The first `wait` ends with the signal; the pilot has not, yet.
while kill -0 $pid 2>/dev/null; do
    wait $pid
    status=$?
done
rm -f "$pidfile"

# ---- And then? -----------------------------------------------------------------------------------

# What the pilot said itself: srun's status is the highest of all ranks, those that were lost among them.
whole=
if [ "$summary" -nt "$started" ]; then
    whole=1
    status=$(number exit_status)
fi
case $status in 0 | 1 | 2) exit "$status" ;; esac
if [ -n "$cancelled" ]; then
    echo "Told to end. To go on: submit the same again, unless Slurm puts this job back into the queue."
    exit "$status"
fi
if [ -n "$whole" ]; then
    after=$(ended)
    [ "$after" = "$before" ] || idle=0
    echo "$after $idle" >"$rounds"
    if [ "$idle" -ge "$idle_max" ]; then
        echo "No task has ended in this round, and none would in another one like it: not going on." \
            "(Does a task need more time than a round has?)"
        exit 3
    fi
fi

echo "Round $((${SLURM_RESTART_COUNT:-0} + 1)) ended with exit status $status: back into the queue."
# Slurm ends this script, and starts it again from its first line.
scontrol requeue "$SLURM_JOB_ID" && exit "$status"
echo "Slurm does not requeue this job; submitting it again."
limit=$(squeue -h -j "$SLURM_JOB_ID" -o %l)
PILOT_RESUBMITTED=1 sbatch --dependency="afterany:$SLURM_JOB_ID" --nodes="$SLURM_JOB_NUM_NODES" \
    --partition="$SLURM_JOB_PARTITION" --job-name="$SLURM_JOB_NAME" ${limit:+--time="$limit"} \
    ${SLURM_JOB_ACCOUNT:+--account="$SLURM_JOB_ACCOUNT"} ${SLURM_JOB_QOS:+--qos="$SLURM_JOB_QOS"} \
    "$0" "$tasks" "$@"
exit "$status"
