#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Lending when the head is on another node than the slot. Each rank has a host name of its own, so
# that it is a node.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lend_common.sh"

need mpirun openmpi-bin
unshare -u true 2>/dev/null || skip "host names cannot be unshared here (no root?)"

RANKS=3

# Each rank is a node, with the cores of this machine.
start_on_nodes() { # ARGS...
    # shellcheck disable=SC2016
    mpirun --oversubscribe -np $RANKS --enable-recovery unshare -u sh -c 'hostname "n$PMIX_RANK" && exec "$@"' sh \
        "$PILOT" --cores $((CORES * RANKS)) --heartbeat 0.2 --lost-after 5 "$@" >out 2>err </dev/null &
    pilot_pid=$!
}

node_idle() { # RANK
    local slot
    for slot in $(children_named "$(guardian_of "$1")" pilot-slot); do
        [ -z "$(pgrep -P "$slot")" ] || return 1
    done
}

begun_on() { # RANK FILES...
    local rank=$1
    shift
    { grep -lsx "n$rank [0-9]*" "$@" || true; } | wc -l
}

# How many begin on each of the other nodes while the head is stopped; the least of these.
begun_elsewhere() {
    local head rank n least=1000
    head=$(rank_pid 0)
    kill -STOP "$head"
    : >stamp
    for ((rank = 1; rank < RANKS; rank++)); do
        must_wait_until 10 node_idle "$rank"
        # shellcheck disable=SC2046
        n=$(begun_on $rank $(find journal -type f -newer stamp))
        if [ "$n" -lt "$least" ]; then least=$n; fi
    done
    kill -CONT "$head"
    echo "$least"
}

# The head says nothing for a while, and the slots of the other nodes go on with what they were lent.
test_the_next_begins_on_other_nodes_without_the_head() {
    local n=0 try
    mkdir journal
    for ((i = 1; i <= 1500; i++)); do
        echo "{\"id\": \"t$i\", \"command\": \"echo \$PILOT_NODE \$PILOT_ATTEMPT >>$PWD/journal/t$i; sleep 0.02\"}"
    done >tasks.jsonl
    start_on_nodes tasks.jsonl
    must_wait_until 60 at_least_begun 150
    for ((try = 1; try <= 6 && n < CORES; try++)); do
        n=$(begun_elsewhere)
        must_wait_until 30 at_least_begun $(($(begun) + 60))
    done
    pilot_wait 90
    [ "$n" -ge $CORES ] || fail "only $n begun on another node while the head was stopped"
    assert_eq status 0 "$status"
    assert_eq statuses "completed 1500" "$(statuses)"
    assert_eq attempts 1500 "$(sql "select count(*) from attempts")"
    assert_eq "begun more than once" "" "$(find journal -type f -size +5c)"
    assert_eq "nodes that ran some" $RANKS "$(sql "select count(distinct node) from attempts")"
}

# A node is lost with all that it was lent: that runs elsewhere, and is known once.
test_a_node_is_lost_with_what_it_was_lent() {
    local agent
    mkdir journal
    for ((i = 1; i <= 3000; i++)); do
        echo "{\"id\": \"t$i\", \"command\": \"echo \$PILOT_ATTEMPT >>$PWD/journal/t$i\"}"
    done >tasks.jsonl
    start_on_nodes tasks.jsonl
    must_wait_until 60 at_least_begun 300
    agent=$(rank_pid 2)
    kill -9 "$agent"
    pilot_wait 90
    assert_contains err "node n2 is lost"
    assert_eq statuses "completed 3000" "$(statuses)"
    assert_between "lost with it" 1 $((17 * CORES)) "$(sql "select count(*) from attempts where reason = 'lost'")"
    assert_eq "lost elsewhere" 0 "$(sql "select count(*) from attempts where reason = 'lost' and node != 'n2'")"
    assert_eq "completed twice" 0 "$(sql "select count(*) from (select id from attempts where reason = 'exit' group by id having count(*) > 1)")"
    check_journal
}

run_tests "$@"
