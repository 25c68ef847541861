#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The state on a network file system: a real GlusterFS volume with two mounts, as two hosts would
# have it. Everything of it (daemons, mounts, addresses) lives in namespaces of its own, so that it
# is reachable from nowhere and gone with this script however that ends.
if [ "${1:-}" != --inside ]; then
    . "$(dirname "$0")/lib.sh"
    need glusterd glusterfs-server
    need gluster glusterfs-server
    need mount.glusterfs glusterfs-client
    need sqlite3 sqlite3
    need ip iproute2
    need unshare util-linux
    [ "$(id -u)" = 0 ] || skip "mounting needs root"
    [ -e /dev/fuse ] || skip "there is no /dev/fuse"
    unshare -m -n -p -f true 2>/dev/null || skip "namespaces cannot be made here"
    (unset TEST_MARKER && exec unshare -m -n -p -f --kill-child --mount-proc bash "$0" --inside "$@") &
    wait $!
    exit $?
fi
shift
. "$(dirname "$0")/lib.sh"

trap 'umount "$A" "$B" 2>/dev/null; cleanup' EXIT

A=$TEST_DIR/a B=$TEST_DIR/b
ADDRESS=10.99.0.1 # of the loopback of this network namespace
gluster_cli() { gluster --mode=script --glusterd-sock=/run/gluster/d.sock "$@" >>"$TEST_DIR/gluster.log" 2>&1; }

# Mounts one volume at $A and at $B. Its daemons outlive a test that fails, for the next one.
gluster_up() {
    local g=$TEST_DIR/gluster TEST_MARKER=
    mkdir -p "$g/brick" "$g/lib" "$g/log" "$A" "$B"
    mount -t tmpfs tmpfs /run
    mkdir /run/gluster
    mount --bind "$g/lib" /var/lib/glusterd
    mount --bind "$g/log" /var/log/glusterfs
    ip link set lo up
    ip addr add $ADDRESS/32 dev lo
    cat >"$g/glusterd.vol" <<END
volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option transport-type socket
    option transport.address-family inet
    option transport.socket.bind-address $ADDRESS
    option glusterd-sockfile /run/gluster/d.sock
end-volume
END
    glusterd -f "$g/glusterd.vol" -p "$g/glusterd.pid" -l "$g/log/glusterd.log" &&
        wait_until 30 gluster_cli volume list &&
        gluster_cli volume create shared "$ADDRESS:$g/brick/b" force &&
        gluster_cli volume start shared &&
        mount -t glusterfs "$ADDRESS:/shared" "$A" &&
        mount -t glusterfs "$ADDRESS:/shared" "$B" &&
        echo both >"$A/probe" && [ "$(cat "$B/probe")" = both ]
}

running() { grep -q . "$A/$1/started" 2>/dev/null; }

# A pilot on the first mount, with a task that runs until the file $A/NAME/go is there.
start_on_a() { # NAME
    mkdir "$A/$1"
    cat >tasks.json <<END
{"id": "done", "command": "true"}
{"id": "waits", "command": "echo x >> $A/$1/started; until [ -e $A/$1/go ]; do sleep 0.1; done", "depends_on": ["done"]}
{"id": "last", "command": "true", "depends_on": ["waits"]}
END
    pilot_start --workdir "$A/$1" tasks.json
    must_wait_until 60 running "$1"
}

test_nobody_reads_or_takes_the_state_of_a_running_pilot_from_another_mount() {
    start_on_a run
    mkdir other && cd other
    for args in --resume "--fresh ../tasks.json" ../tasks.json; do
        # shellcheck disable=SC2086
        pilot --workdir "$B/run" $args
        [ "$status" != 0 ] || fail "a second pilot ($args) was let in"
        assert_contains err "in use by another pilot: host $(uname -n), pid $pilot_pid,"
    done
    # Without the lock a reader would see a database that looks empty.
    sqlite3 -cmd '.timeout 1000' "$B/run/state.db" "select count(*) from tasks" >read.out 2>read.err &&
        fail "the database could be read on the other mount: $(cat read.out)"
    assert_contains read.err "locked"
    touch "$A/run/go"
    cd .. && pilot_wait 60
    assert_eq "exit status" 0 "$status"
    assert_eq statuses "completed 3" "$(statuses "$B/run/state.db")"
}

test_the_other_host_goes_on_after_a_kill() {
    start_on_a crash
    must_wait_until 60 grep -q "✓ done" out # committed; the start of the next one follows
    sleep 2
    kill -9 "$pilot_pid"
    pilot_wait 30
    touch "$A/crash/go"
    expect 0 --workdir "$B/crash" --resume
    assert_eq statuses "completed 3" "$(statuses "$B/crash/state.db")"
    assert_eq "losses, attempts" "done 0 1,last 0 1,waits 0 2" "$(sql "select id || ' ' || losses || ' ' || attempts from tasks order by id" "$B/crash/state.db" | paste -sd,)"
}

# As from a login node: another name, another mount. Both sides keep what they have seen of the directory.
test_tasks_are_added_from_the_other_mount() {
    local i
    start_on_a added
    login() { unshare -u sh -c 'hostname login && exec "$@"' sh timeout 30 "$PILOT" add --workdir "$B/added" "$@"; }
    for i in 1 2 3; do
        TIMEFORMAT="  add: %R s"
        time login --id l$i --command true >>ids || fail "add ended with $?"
    done
    assert_file ids "l1
l2
l3"
    status=0
    login --id l1 --command false >out2 2>err2 || status=$?
    assert_eq "exit status of a refusal" 1 "$status"
    assert_contains err2 "task 'l1' is there already with other content"
    touch "$A/added/go"
    pilot_wait 60
    assert_eq "exit status" 0 "$status"
    assert_eq statuses "completed 6" "$(statuses "$B/added/state.db")"
    status=0
    login --command true >out2 2>err2 || status=$?
    assert_eq "exit status after the end" 3 "$status"
}

refused_as_in_use() { grep -qF "in use by another pilot" err; }

# The other host has looked at the state all the time, so that its caches are old when the first
# pilot lets go; believing them, it would take the state for an empty one and write over it.
test_a_host_that_tries_again_and_again_sees_the_state_as_it_was_left() {
    start_on_a retry
    mkdir other && cd other
    pilot --workdir "$B/retry" ../tasks.json
    refused_as_in_use || fail "not refused: $(cat err)"
    touch "$A/retry/go"
    while refused_as_in_use; do
        ended "$pilot_pid" && last=1 || last=
        pilot --workdir "$B/retry" ../tasks.json
        [ -z "$last" ] || break
    done
    assert_contains err "holds 3 tasks (3 completed) of an earlier run"
    assert_eq "exit status" 2 "$status"
}

gluster_up || {
    tail -n 5 "$TEST_DIR/gluster.log" "$TEST_DIR"/gluster/log/*.log 2>/dev/null
    skip "GlusterFS does not work here (above)"
}
run_tests "$@"
