#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What an mpirun in a task leaves when it is killed (session directory, shared memory of its ranks)
# goes with the task; what the pilot has there itself, with the pilot or at its next start. In a mount namespace with a /tmp and a /dev/shm of its own, so that whatever is
# found there at the end was left by us.
if [ "${1:-}" != --inside ]; then
    . "$(dirname "$0")/lib.sh"
    need mpirun openmpi-bin
    need unshare util-linux
    [ "$(id -u)" = 0 ] || skip "mounting needs root"
    case $ROOT$PILOT$TEST_DIR in *" "* | /tmp/* | */tmp/tmp*) skip "everything lies below /tmp" ;; esac
    unshare -m true 2>/dev/null || skip "namespaces cannot be made here"
    (unset TEST_MARKER && exec unshare -m bash "$0" --inside "$@") &
    wait $!
    exit $?
fi
shift
. "$(dirname "$0")/lib.sh"

mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm || skip "a tmpfs cannot be mounted here"
MPI_PROGRAM=${PILOT_BUILD:-$(dirname "$PILOT")}/tests/integration/mpi/mpi_where
[ -x "$MPI_PROGRAM" ] || skip "$MPI_PROGRAM is not built"

segments() { find /dev/shm /tmp -name 'vader_segment.*' | wc -l; }
both_ranks_are_up() { [ "$(segments)" -ge 2 ] && [ "$(grep -c rank pilot_runs/stays/stdout.txt 2>/dev/null)" = 2 ]; }
left() { find /tmp /dev/shm -mindepth 1 | sort; }

make_file() { # FIELDS
    echo "{\"id\": \"stays\", \"cores\": 1, $1 \"command\": [\"mpirun\", \"-np\", \"2\", \"$MPI_PROGRAM\", \"0\", \"600\"]}" >tasks.json
}

test_killed_at_its_timeout() {
    make_file '"timeout": 3,'
    pilot_start --grace 0 tasks.json
    must_wait_until 30 both_ranks_are_up
    pilot_wait 30
    assert_eq "exit status" 1 "$status"
    assert_eq "left" "" "$(left)"
}

# Alone it is removed as soon as the task has ended, not with the pilot.
test_while_the_pilot_goes_on() {
    make_file '"timeout": 3,'
    echo '{"id": "last", "cores": 1, "priority": -1, "command": "until [ -e ../go ]; do sleep 0.05; done"}' >>tasks.json
    pilot_start --grace 0 tasks.json
    must_wait_until 30 both_ranks_are_up
    must_wait_until 30 eval '[ "$(task_status stays)" = failed ]'
    assert_eq "segments" 0 "$(segments)"
    touch pilot_runs/go
    pilot_wait 30
    assert_eq "left" "" "$(left)"
}

# Nobody is there to remove anything; the next start does.
test_everything_killed() {
    local pid
    make_file ""
    pilot_start tasks.json
    must_wait_until 30 both_ranks_are_up
    for pid in $(marked); do kill -9 "$pid" 2>/dev/null || true; done
    wait_until 10 ended "$pilot_pid"
    assert_nothing_left
    [ "$(segments)" -ge 2 ] || fail "nothing was left: this case shows nothing"
    make_file '"timeout": 0.5,'
    expect 1 --resume --rerun-changed --grace 0 tasks.json
    assert_eq "left" "" "$(left)"
}

# At any moment: strace kills it in one system call after the other of those that make and remove what
# it has on the node.
test_killed_while_it_makes_or_removes_its_directories() {
    local call n hit=0
    need strace strace
    strace -o /dev/null true 2>/dev/null || skip "strace may not trace here"
    echo true >tasks.txt
    for call in bind,chmod,listen mkdir rename flock unlink,unlinkat,rmdir; do
        for n in 1 2 3 4 5 6; do
            rm -rf pilot_runs
            strace -f -qq -o trace -e "trace=$call" -e "inject=$call:signal=SIGKILL:when=$n" "$PILOT" --grace 0 tasks.txt >out 2>err && : || :
            assert_nothing_left
            [ -z "$(left)" ] || hit=$((hit + 1))
            rm -f pilot_runs/state.db*
            expect 0 --fresh tasks.txt
            assert_eq "left after a kill in call $n of $call" "" "$(left)"
        done
    done
    [ $hit -gt 3 ] || fail "only $hit kills left something: this case shows little"
}

run_tests "$@"
