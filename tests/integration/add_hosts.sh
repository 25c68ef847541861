#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# pilot-mpi add with several hosts: from tasks on every node, from a node, and from a login node, which
# shares no more than the files.
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3
cluster_up 2 2

test_from_a_login_node() {
    local login="cluster run" second="cluster on 2"
    cat >tasks.jsonl <<END
{"id": "hold1", "command": "until [ -e go ]; do sleep 0.05; done", "workdir": ".", "cores": 1}
{"id": "n1", "command": "'$PILOT' add --id n1c --command 'echo \$PILOT_NODE' --cores 1", "cores": 2}
{"id": "n2", "command": "'$PILOT' add --id n2c --command 'echo \$PILOT_NODE' --cores 1", "cores": 1}
END
    # shellcheck disable=SC2086
    VCLUSTER_DIR=$CLUSTER_DIR "$ROOT/tests/cluster/vcluster" run srun -N 2 $SRUN_FLAGS "$PILOT" tasks.jsonl >out 2>err </dev/null &
    pilot_pid=$!
    must_wait_until 30 test -e pilot_runs/.pilot/inbox/alive
    must_wait_until 30 eval '[ "$(sql "select count(*) from tasks where status = '\''completed'\''")" = 4 ]'
    assert_eq "nodes from which tasks added tasks" 2 "$(sql "select count(distinct node) from tasks where id in ('n1', 'n2')")"

    # By the files: the login node is none of the pilot's, and the sockets are in the nodes' own /tmp.
    $login "$PILOT" add --id l1 --command 'echo l1' --workdir "$PWD/pilot_runs" >l1.out 2>l1.err
    assert_file l1.out l1
    assert_file l1.err ""
    $login "$PILOT" add --id l2 --command 'echo l2' --db "$PWD/pilot_runs/state.db" --depends-on l1 >l2.out
    assert_file l2.out l2
    $login "$PILOT" add --id l2 --command 'echo l2' --db "$PWD/pilot_runs/state.db" --depends-on l1 >l2.out
    assert_file l2.out l2
    status=0
    $login "$PILOT" add --id l2 --command other --workdir "$PWD/pilot_runs" >l3.out 2>l3.err || status=$?
    assert_eq "exit status of a refusal" 1 "$status"
    assert_contains l3.err "task 'l2' is there already with other content"
    assert_eq "files left in the inbox" alive "$(ls pilot_runs/.pilot/inbox)"

    # By the socket of a node that is not the head's.
    $second "$PILOT" add --id s1 --command 'echo s1' --workdir "$PWD/pilot_runs" >s1.out
    assert_file s1.out s1

    touch go
    pilot_wait 60
    assert_eq "exit status of the pilot" 0 "$status"
    assert_eq statuses "completed 8" "$(statuses)"
    assert_file pilot_runs/l2/stdout.txt l2
    status=0
    $login "$PILOT" add --command true --workdir "$PWD/pilot_runs" >l4.out 2>l4.err || status=$?
    assert_eq "exit status after the end" 3 "$status"
    assert_absent pilot_runs/.pilot/inbox
    assert_nothing_left
}

run_tests "$@"
