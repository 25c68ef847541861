#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# pilot-mpi simulate: against sums worked out by hand, and against a real run.
. "$(dirname "$0")/lib.sh"

# simulate STATUS ARGS...: output in out and err.
simulate() {
    local want=$1 status=0
    shift
    "$PILOT" simulate "$@" >out 2>err || status=$?
    assert_eq "exit status of simulate $*" "$want" "$status"
}

# makespan NODES: of that line of out.
makespan() { awk -v n="$1" '$1 == n { print $3 }' out; }

test_by_hand() {
    # 40 x 30 s on 10 and 20 cores; then a chain of 3.
    python3 -c 'import json; print(json.dumps([{"id": f"t{i}", "command": "true", "time_estimate": 30} for i in range(40)]))' >flat.json
    simulate 0 flat.json --nodes 1,2 --cores-per-node 10
    assert_eq "1 node" 2m00s "$(makespan 1)"
    assert_eq "2 nodes" 1m00s "$(makespan 2)"
    assert_contains out "100.0%" "the cores" "40 as estimated"
    cat >chain.json <<'END'
[{"id": "c", "command": "true", "time_estimate": 20, "depends_on": ["b"]},
 {"id": "b", "command": "true", "depends_on": ["a"]},
 {"id": "a", "command": "true", "time_estimate": 30, "cores": 2}]
END
    simulate 0 chain.json --nodes 5 --cores-per-node 2
    assert_eq "a chain, its middle assumed" 1m20s "$(makespan 5)"
    assert_contains out "a chain of 3 tasks up to 'c'" "1 assumed to take 30.0s"
    simulate 0 chain.json --cores-per-node 2 --default-time 0:10
    assert_eq "its middle given" 1m00s "$(makespan 1)"
}

test_memory() {
    echo '{"defaults": {"command": "true", "memory": "2G", "time_estimate": 10}, "tasks": [{"id": "a"}, {"id": "b"}]}' >memory.json
    simulate 0 memory.json --cores-per-node 4
    assert_eq "memory without end" 10.0s "$(makespan 1)"
    simulate 0 memory.json --cores-per-node 4 --memory-per-node 3G
    assert_eq "memory for one at a time" 20.0s "$(makespan 1)"
    simulate 2 memory.json --cores-per-node 4 --memory-per-node 1G && assert_contains err "--memory-per-node"
}

# What a run recorded, simulated on the same cores, takes about as long as the run.
test_like_the_run() {
    local wall simulated
    for i in 5 4 3 3 2 2 1 1; do echo "sleep 0.$i"; done >tasks.txt
    expect 0 --cores 3 tasks.txt
    wall=$(python3 -c 'import json; print(json.load(open("pilot_runs/summary.json"))["wall_time"])')
    simulate 0 --db pilot_runs/state.db --cores-per-node 3
    simulated=$(makespan 1)
    python3 -c 'import sys; w, s = float(sys.argv[1]), float(sys.argv[2].rstrip("s")); sys.exit(not 0.6 * w <= s <= w + 0.1)' \
        "$wall" "$simulated" || fail "the run took $wall s, simulated as $simulated"
    simulate 0 --db pilot_runs/state.db --rest --cores-per-node 3
    assert_contains out "no tasks are left"
    assert_eq "the state is as it was" "completed 8" "$(statuses)"
}

test_wrong_usage() {
    echo true >one.txt
    simulate 2 && assert_contains err "no tasks"
    simulate 2 one.txt && assert_contains err "--cores-per-node"
    simulate 2 one.txt --cores-per-node 4 && assert_contains err "time_estimate" "--default-time"
    simulate 2 one.txt --cores-per-node 4 --nodes 2, && assert_contains err "--nodes '2,'"
    simulate 2 one.txt --cores-per-node 4 --rest && assert_contains err "--db"
    simulate 2 --db missing.db --cores-per-node 4 && assert_contains err "missing.db"
    simulate 2 --db one.txt --cores-per-node 4 && assert_contains err "not the state"
    echo '[{"id": "wide", "command": "true", "cores": 5}]' >wide.json
    simulate 2 wide.json --cores-per-node 4 && assert_contains err "'wide'" "--cores-per-node"
    simulate 0 --help && assert_contains out "--rest"
}

run_tests "$@"
