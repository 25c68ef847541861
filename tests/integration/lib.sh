# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the integration tests share. A test file sources this, defines functions named test_..., and
# ends with `run_tests "$@"`; arguments choose functions (all by default). Each function runs in a
# subshell under `set -eu -o pipefail`, in a fresh directory of its own ($T): the first command that
# fails ends it. Conditions are waited for with a deadline, never slept for.
#
# Environment: PILOT (the program; default build/pilot-mpi), PILOT_TEST_TMP (where the directories go;
# default build/test-tmp: not /tmp, which virtual nodes do not share), PILOT_TEST_KEEP=1 (keep them).

set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PILOT=${PILOT:-$ROOT/build/pilot-mpi}
TEST_NAME=$(basename "$0" .sh)
TEST_TMP=${PILOT_TEST_TMP:-$ROOT/build/test-tmp}
mkdir -p "$TEST_TMP"
TEST_TMP=$(cd "$TEST_TMP" && pwd)
TEST_DIR=$(mktemp -d "$TEST_TMP/$TEST_NAME.XXXXXX") || exit 1

# Every process that a test starts inherits this, tasks and their descendants included (the pilot
# hands the environment on). It is how left-behind processes are found. Not PILOT_..., which are the
# pilot's own.
export TEST_MARKER="marker-$TEST_NAME-$$-$RANDOM"
# Where tests are root, as in containers, Open MPI wants to be told; hosts have their own settings
# for the rest, but a test says itself what it wants.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export LC_ALL=C.UTF-8
unset TMPDIR

# ---- Ending --------------------------------------------------------------------------------------

# The whole file cannot run here. The reason is shown by tests/run.sh.
skip() {
    echo "SKIP: $*"
    exit 77
}

fail() {
    echo "  failed: $*" >&2
    exit 1
}

# Pids of processes that carry the marker; those of the test's own shells do not have it in the
# environment that they were started with. (Zombies have no environment any more.)
marked() {
    local file
    # No pipe: its other end would be a process of ours with the marker, and be found.
    for file in $(env -u TEST_MARKER grep -lsF "TEST_MARKER=$TEST_MARKER" /proc/[0-9]*/environ); do
        file=${file#/proc/}
        echo "${file%/environ}"
    done
}

describe() { # PID...
    local pid
    for pid; do
        # shellcheck disable=SC2188
        { : <"/proc/$pid/cmdline"; } 2>/dev/null || continue
        echo "    $pid $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")"
    done
}

none_marked() { [ -z "$(marked)" ]; }

# Nothing that was started is left, at the latest after so many seconds.
assert_nothing_left() { # [SECONDS]
    if ! wait_until "${1:-10}" none_marked; then
        # shellcheck disable=SC2046
        describe $(marked) >&2
        fail "processes left behind (above)"
    fi
}

kill_marked() {
    local pid
    for _ in 1 2 3 4 5; do
        for pid in $(marked); do kill -9 "$pid" 2>/dev/null; done
    done
}

cleanup() {
    kill_marked
    if [ -n "${CLUSTER_UP:-}" ]; then cluster_down || echo "the cluster was not taken down cleanly" >&2; fi
    if [ "${PILOT_TEST_KEEP:-}" = 1 ]; then
        echo "kept: $TEST_DIR"
    else
        rm -rf "$TEST_DIR"
    fi
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- Running the cases ---------------------------------------------------------------------------

one_case() { # FUNCTION: in a subshell
    trap - EXIT
    T=$TEST_DIR/$1
    mkdir "$T" && cd "$T" || exit 1
    set -eu -o pipefail
    "$1"
}

# What helps to understand a failure, as long as the directory is there.
show_case() { # FUNCTION
    local f
    for f in "$TEST_DIR/$1"/{out,err} "$TEST_DIR/$1"/*.log; do
        if [ -s "$f" ]; then
            echo "  --- ${f##*/} (last lines)"
            tail -n 25 "$f" | sed 's/^/  /'
        fi
    done
}

run_tests() { # [FUNCTION...]
    local name failed=0 status count=0
    [ -x "$PILOT" ] || { echo "no program $PILOT; build it first" >&2 && exit 1; }
    [ $# -gt 0 ] || set -- $(declare -F | awk '{print $3}' | grep '^test_' | while read -r name; do
        # In the order of the file, not of the alphabet.
        echo "$(grep -n "^$name()" "$0" | head -n 1 | cut -d: -f1) $name"
    done | sort -n | cut -d' ' -f2)
    for name; do
        (one_case "$name")
        status=$?
        if [ $status = 0 ]; then
            echo "ok      $name"
        elif [ $status = 77 ]; then
            echo "skipped $name"
        else
            echo "FAILED  $name"
            show_case "$name"
            kill_marked # the next case is to find nothing of this one
            failed=$((failed + 1))
        fi
        count=$((count + 1))
    done
    echo "$TEST_NAME: $count cases, $failed failed"
    [ $failed = 0 ]
    exit $?
}

# ---- Conditions and asserts ----------------------------------------------------------------------

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

wait_until() { # SECONDS COMMAND...
    local end=$(($(now_ms) + $1 * 1000))
    shift
    while ! "$@"; do
        [ "$(now_ms)" -lt $end ] || return 1
        sleep 0.05
    done
}

must_wait_until() { # SECONDS COMMAND...
    wait_until "$@" || fail "after $1 s still not: ${*:2}"
}

assert_eq() { # WHAT EXPECTED GOT
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

assert_between() { # WHAT LOW HIGH GOT (numbers, fractions allowed)
    awk -v a="$2" -v b="$3" -v x="$4" 'BEGIN { exit !(x + 0 == x && x >= a && x <= b) }' ||
        fail "$1: expected $2 to $3, got '$4'"
}

assert_contains() { # FILE TEXT...
    local file=$1 text
    shift
    for text; do
        grep -qF -e "$text" "$file" || {
            sed 's/^/    /' "$file" | head -n 30 >&2
            fail "$file (above) does not contain '$text'"
        }
    done
}

assert_lacks() { # FILE TEXT
    if grep -F -e "$2" "$1" >&2; then fail "$1 contains '$2' (above)"; fi
}

assert_file() { # FILE CONTENT (without final newlines)
    [ -e "$1" ] || fail "no file $1"
    assert_eq "$1" "$2" "$(cat "$1")"
}

assert_absent() { # FILE
    [ ! -e "$1" ] || fail "$1 exists"
}

# ---- The pilot -----------------------------------------------------------------------------------

# Runs the pilot; its status in $status, its output in the files out and err. A hang is a failure.
pilot() { # ARGS...
    status=0
    timeout -k 5 "${PILOT_DEADLINE:-120}" "$PILOT" "$@" >out 2>err || status=$?
    case $status in
        124 | 137) fail "pilot-mpi $* did not end within ${PILOT_DEADLINE:-120} s" ;;
    esac
}

expect() { # STATUS ARGS...: runs the pilot and checks its exit status
    local expected=$1
    shift
    pilot "$@"
    if [ "$status" != "$expected" ]; then
        tail -n 20 out err >&2
        fail "pilot-mpi $*: expected exit status $expected, got $status"
    fi
}

# Starts it in the background; its pid in $pilot_pid.
pilot_start() { # ARGS...
    "$PILOT" "$@" >out 2>err &
    pilot_pid=$!
}

pilot_wait() { # SECONDS: its status in $status
    wait_until "$1" ended "$pilot_pid" || fail "the pilot did not end within $1 s"
    status=0
    wait "$pilot_pid" || status=$?
}

# Gone, or a zombie that its parent has not waited for yet.
ended() { # PID
    case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in
        '' | Z*) return 0 ;;
        *) return 1 ;;
    esac
}

# Processes of a run, on whatever node: of one rank, and what a rank has forked.
rank_pid() { # RANK
    local pid
    for pid in $(marked); do
        if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = pilot-mpi ] &&
            tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qx "PMIX_RANK=$1"; then
            echo "$pid"
            return
        fi
    done
    return 1
}

children_named() { # PID NAME: pids
    local child
    for child in $(pgrep -P "$1"); do
        if [ "$(cat "/proc/$child/comm" 2>/dev/null)" = "$2" ]; then echo "$child"; fi
    done
}

guardian_of() { children_named "$(rank_pid "$1")" pilot-guardian; }

# Asks the state; default database: that of ./pilot_runs. Opened read-only, and patiently: a pilot
# may be committing.
sql() { # QUERY [DB]
    sqlite3 -readonly -cmd '.timeout 10000' "${2:-pilot_runs/state.db}" "$1"
}

task_status() { # ID [DB]
    sql "select status from tasks where id = '$1'" "${2:-pilot_runs/state.db}"
}

statuses() { # [DB]: "completed 5|failed 1"
    sql "select status, count(*) from tasks group by 1 order by 1" "${1:-pilot_runs/state.db}" | tr '|\n' ' |' | sed 's/|$//'
}

json() { # FILE EXPRESSION of python on d
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$1" "$2"
}

need() { # COMMAND PACKAGE: skip the file without it
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || skip "'$1' is not installed (Debian: $2)"
}

cores_here() { nproc; }

# ---- mpirun and Slurm ----------------------------------------------------------------------------

mpirun_pilot() { # RANKS ARGS...: like pilot()
    local ranks=$1
    shift
    status=0
    timeout -k 5 "${PILOT_DEADLINE:-120}" mpirun --oversubscribe -np "$ranks" "$PILOT" "$@" >out 2>err </dev/null || status=$?
    case $status in
        124 | 137) fail "mpirun -np $ranks pilot-mpi $* did not end in time" ;;
    esac
}

# The flags that a pilot needs: one rank a node that may use the whole node, and a step that does
# not end because one node did. (Set by cluster_up. `srun --exclusive` alone gives a rank one CPU.)
SRUN_FLAGS=

# Not below the build directory, whose path may be too long for the name of a socket.
CLUSTER_DIR=/var/tmp/pilot-test-$$/vc
cluster() { VCLUSTER_DIR=$CLUSTER_DIR VCLUSTER_SHARE=$ROOT:$(dirname "$PILOT"):$TEST_DIR "$ROOT/tests/cluster/vcluster" "$@"; }

# A test that ctest had to kill could not take its cluster down; the next one does.
sweep_clusters() {
    local dir pid
    for dir in /var/tmp/pilot-test-*/*; do
        pid=${dir#/var/tmp/pilot-test-}
        pid=${pid%%/*}
        if [ -d "$dir" ] && ! [ -e "/proc/$pid" ]; then
            echo "taking down the cluster of an earlier test: $dir"
            VCLUSTER_DIR=$dir "$ROOT/tests/cluster/vcluster" down && rmdir "$(dirname "$dir")" 2>/dev/null
        fi
    done
}

# Starts a virtual cluster for the file, or skips the file. Call it before run_tests.
cluster_up() { # [NODES [CPUS]]
    local reason
    reason=$(cluster check) || skip "$reason"
    sweep_clusters
    CLUSTER_UP=1
    SRUN_FLAGS="--ntasks-per-node=1 --cpus-per-task=${2:-$(nproc)} --cpu-bind=none --no-kill --kill-on-bad-exit=0 --wait=0"
    # The daemons are not processes of a test that were left behind.
    (unset TEST_MARKER && cluster up "$@") || { echo "the virtual cluster did not start" >&2 && exit 1; }
}

cluster_down() {
    CLUSTER_UP=
    cluster down && rmdir "$(dirname "$CLUSTER_DIR")"
}

srun_pilot() { # NODES ARGS...: like pilot()
    local nodes=$1
    shift
    status=0
    # shellcheck disable=SC2086
    timeout -k 5 "${PILOT_DEADLINE:-120}" env VCLUSTER_DIR="$CLUSTER_DIR" "$ROOT/tests/cluster/vcluster" run \
        srun -N "$nodes" $SRUN_FLAGS "$PILOT" "$@" >out 2>err </dev/null || status=$?
    case $status in
        124 | 137) fail "srun -N $nodes pilot-mpi $* did not end in time" ;;
    esac
}
