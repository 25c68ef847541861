#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The work directory on a real GlusterFS volume that each node of a virtual cluster mounts itself:
# who else may use the state, and going on from another node after the node of rank 0 has crashed.
#
# PILOT_TEST_GLUSTER_SLOW=1: leave the server's timeouts as they are, to see how long it takes.
. "$(dirname "$0")/lib.sh"

need glusterd glusterfs-server
need mount.glusterfs glusterfs-client
need sqlite3 sqlite3
[ -e /dev/fuse ] || skip "there is no /dev/fuse"
cluster_up 3 1
BASE=/var/tmp/pilot-gluster-$$
SHARED=$BASE/shared CONFIG=$BASE/config
mkdir -p "$SHARED" "$CONFIG"
trap 'cleanup; rm -rf --one-file-system "$BASE"' EXIT

# On the head, all that it writes to in namespaces that end with the cluster.
serve() {
    cat >"$CONFIG/glusterd.vol" <<END
volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option transport-type socket
    option transport.address-family inet
    option glusterd-sockfile /run/gluster/d.sock
end-volume
END
    cat >"$CONFIG/serve" <<END
set -e
mkdir -p $CONFIG/lib $CONFIG/log $CONFIG/brick
mount -t tmpfs tmpfs /run
mkdir /run/gluster
mount --bind $CONFIG/lib /var/lib/glusterd
mount --bind $CONFIG/log /var/log/glusterfs
glusterd -f $CONFIG/glusterd.vol -p $CONFIG/glusterd.pid -l $CONFIG/log/glusterd.log
END
    cat >"$CONFIG/volume" <<END
set -e
g() { gluster --mode=script --glusterd-sock=/run/gluster/d.sock "\$@"; }
for i in \$(seq 100); do g volume list >/dev/null 2>&1 && break; sleep 0.2; done
g volume create shared vchead:$CONFIG/brick force
if [ -z "${PILOT_TEST_GLUSTER_SLOW:-}" ]; then
    # How soon a host that is silent has lost its locks.
    g volume set shared server.tcp-user-timeout 4
    g volume set shared server.keepalive-time 2
    g volume set shared server.keepalive-interval 1
    g volume set shared server.keepalive-count 2
fi
g volume start shared
END
    # Not "sh": a daemon must not hold the test's output.
    cluster run sh "$CONFIG/serve" >"$CONFIG/out" 2>&1 && cluster run sh "$CONFIG/volume" >>"$CONFIG/out" 2>&1
}

gluster_up() {
    local i
    serve || return 1
    for i in 1 2 3; do
        cluster on $i mount -t glusterfs -o "log-file=$CONFIG/mount.$i.log" vchead:/shared "$SHARED" \
            >>"$CONFIG/out" 2>&1 || return 1
    done
    cluster on 1 touch "$SHARED/probe" && cluster on 2 test -e "$SHARED/probe"
}

on() { cluster on "$1" timeout -k 5 "${PILOT_DEADLINE:-120}" "${@:2}"; }
seen() { cluster on 2 test -s "$SHARED/$1" 2>/dev/null; }

# Three nodes with one core; "wait" tasks run until the file go is there.
start_everywhere() { # NAME
    local i
    for i in 1 2 3; do
        echo "{\"id\": \"done$i\", \"command\": \"true\", \"priority\": 1}"
        echo "{\"id\": \"wait$i\", \"command\": \"echo x >$SHARED/$1/started$i; until [ -e $SHARED/$1/go ]; do sleep 0.2; done\"}"
    done >tasks.json
    on 1 mkdir "$SHARED/$1"
    # shellcheck disable=SC2086
    VCLUSTER_DIR="$CLUSTER_DIR" "$ROOT/tests/cluster/vcluster" run srun -N 3 $SRUN_FLAGS \
        "$PILOT" --workdir "$SHARED/$1" --heartbeat 0.2 --lost-after 3 tasks.json >out 2>err </dev/null &
    srun_pid=$!
    for i in 1 2 3; do must_wait_until 60 seen "$1/started$i"; done
}

refused() { # NODE ARGS...
    status=0
    on "$1" "$PILOT" "${@:2}" >refused.out 2>refused.err || status=$?
    assert_eq "exit status on node $1" 2 "$status"
    grep -qE "in use by another pilot: host vc1, pid [0-9]+, slurm [0-9]+, since 20" refused.err ||
        fail "on node $1: $(cat refused.err)"
}

test_one_pilot_at_a_time_and_another_node_goes_on_after_a_crash() {
    local begin
    start_everywhere run
    refused 1 --workdir "$SHARED/run" --resume
    begin=$(now_ms)
    refused 2 --workdir "$SHARED/run" --resume
    echo "  refused on another node after $(($(now_ms) - begin)) ms"
    refused 3 --workdir "$SHARED/run" --fresh tasks.json
    cluster crash 1
    begin=$(now_ms)
    cluster on 2 touch "$SHARED/run/go"
    PILOT_DEADLINE=240 on 2 "$PILOT" --workdir "$SHARED/run" --resume --cores 1 >out2 2>err2 ||
        fail "--resume ended with $?: $(cat err2)"
    echo "  went on, and ended, $(($(now_ms) - begin)) ms after the crash"
    assert_contains err2 "gives no sign of life"
    sleep 2 # what node 3 remembers of the directory
    on 3 sqlite3 -readonly "$SHARED/run/state.db" "select status, count(*) from tasks group by 1; \
        select count(*) from tasks where id like 'done%' and attempts > 1; pragma integrity_check" >rows
    assert_file rows "completed|6
0
ok"
    must_wait_until 60 ended "$srun_pid"
}

(unset TEST_MARKER && gluster_up) || {
    tail -n 5 "$CONFIG"/out "$CONFIG"/log/*.log "$CONFIG"/*.log 2>/dev/null
    skip "GlusterFS does not work here (above)"
}
run_tests "$@"
