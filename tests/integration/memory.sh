#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Memory of tasks: what is placed by it never exceeds what a node has, who takes more than said is
# killed for it within about a second, and a node that runs out loses the task and not the pilot.
. "$(dirname "$0")/lib.sh"
need python3 python3

# A program that takes so many MiB at once, and then stays.
cat >"$TEST_DIR/take.py" <<'EOF'
import sys, time
block = bytearray(int(sys.argv[1]) << 20)
time.sleep(float(sys.argv[2]))
EOF
take="python3 $TEST_DIR/take.py"

# Our control group of memory, when groups can be made below it (version 1, which tests can use
# without moving anybody); else nothing.
own_group() {
    local point path
    point=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
    path=$(sed -n 's/^[0-9]*:\([^:]*,\)\?memory\(,[^:]*\)\?:\(.*\)/\3/p' /proc/self/cgroup)
    [ -n "$point" ] && [ -w "$point$path" ] && echo "${point}${path%/}"
}

# The pilot where no group can be made: they are not mounted there.
without_groups() { # COMMAND...
    local group
    group=$(own_group) || {
        "$@"
        return
    }
    # shellcheck disable=SC2016
    unshare --mount sh -c 'umount -l "$0" && exec "$@"' "$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)" "$@"
}

# MPI has its own idea of leaks.
need_mpi() {
    need mpirun openmpi-bin
    [ -z "${ASAN_OPTIONS:-}" ] || skip "a sanitizer would find what MPI leaks"
}

# Two of 60 % of a node, one of 40 %, and one that says nothing.
large_tasks() {
    local i
    for i in 1 2; do
        echo "{\"id\": \"large$i\", \"command\": \"echo \$PILOT_MEMORY; sleep 0.3\", \"memory\": \"600M\"}"
    done
    echo '{"id": "small", "command": "sleep 0.3", "memory": "400M"}'
    echo '{"id": "silent", "command": "echo ${PILOT_MEMORY-unset}; sleep 0.3"}'
}

overlaps() { # ID ID: 1 when they ran at the same time
    sql "select a.started_at < b.finished_at and b.started_at < a.finished_at
         from attempts a, attempts b where a.id = '$1' and b.id = '$2'"
}

check_placement() {
    assert_eq statuses "completed 4" "$(statuses)"
    assert_eq "large1 and large2 at once" 0 "$(overlaps large1 large2)"
    assert_eq "small beside large1" 1 "$(overlaps small large1)"
    assert_file pilot_runs/large1/stdout.txt $((600 << 20))
    assert_file pilot_runs/silent/stdout.txt unset
}

test_a_node_is_not_given_more_than_it_has() {
    large_tasks >tasks.json
    expect 0 --cores 4 --memory 1000M tasks.json
    check_placement
    assert_contains out "memory: 1000M"
    # Without the statement of less there is room for both.
    expect 0 --fresh --cores 4 tasks.json
    assert_eq "large1 and large2 at once" 1 "$(overlaps large1 large2)"
}

test_the_same_under_mpirun() {
    need_mpi
    large_tasks >tasks.json
    mpirun_pilot 2 --cores 4 --memory 1000M tasks.json
    assert_eq status 0 "$status"
    check_placement
    assert_nothing_left
}

test_more_than_any_node_has_is_refused() {
    echo '{"id": "a", "command": "true", "memory": "2G"}' >tasks.json
    expect 2 --memory 1500M tasks.json
    assert_contains err "task 'a': memory is 2G" "the most of any node; ask for at most 1500M"
    # What fitted an earlier allocation, too.
    echo '{"id": "b", "command": "false", "memory": "1G"}' >tasks.json
    expect 1 --memory 1500M tasks.json
    expect 2 --resume --retry-failed --memory 500M
    assert_contains err "task 'b' needs 1G of memory" "larger nodes"
}

over_the_limit() {
    {
        echo "{\"id\": \"over\", \"command\": \"$take 300 60\", \"memory\": \"100M\", \"max_retries\": 1}"
        echo "{\"id\": \"family\", \"command\": \"for i in 1 2 3; do setsid $take 60 60 & done; wait\", \"memory\": \"100M\"}"
        echo "{\"id\": \"within\", \"command\": \"$take 40 0.5\", \"memory\": \"100M\"}"
        echo "{\"id\": \"free\", \"command\": \"$take 300 0.1\"}"
    } >tasks.json
}

check_limit() {
    local row
    assert_eq status 1 "$status"
    assert_eq statuses "completed 2|failed 2" "$(statuses)"
    assert_eq "attempts of over" 2 "$(sql "select attempts from tasks where id = 'over'")"
    assert_eq "failures of over" 2 "$(sql "select failures from tasks where id = 'over'")"
    for row in $(sql "select id || '|' || reason || '|' || signal || '|' || (finished_at - started_at) from attempts where id in ('over', 'family')"); do
        case $row in *"|memory|9|"* | "family|memory|"*) ;; *) fail "an attempt ended as $row" ;; esac
        # A second, and what a busy machine adds.
        assert_between "seconds of ${row%%|*}" 0 4 "${row##*|}"
    done
    assert_eq "how much" 3 "$(sql "select count(*) from attempts where message like 'used %M of 100M'")"
    assert_contains out "out of memory: used " " of 100M"
    assert_contains pilot_runs/over/stderr.txt "pilot-mpi: out of memory: used"
    assert_nothing_left
}

# The hook asks for twice as much, once.
test_by_groups() {
    own_group >/dev/null || { echo "SKIP: no control group of memory can be made here" && exit 77; }
    over_the_limit
    cat >hook.py <<'EOF'
import json, sys
for line in sys.stdin:
    event = json.loads(line)
    if event["event"] != "ended":
        continue
    answer, task, result = {"ack": event["seq"]}, event["task"], event["result"]
    print(task["id"], result["reason"], result["returncode"], file=open("hook.log", "a"))
    if task["id"] == "over" and result["reason"] == "memory":
        answer["tasks"] = [{"id": "again", "command": task["command"].replace("300 60", "150 0.2"), "memory": 2 * task["memory"]}]
    print(json.dumps(answer), flush=True)
EOF
    pilot --cores 4 --on-complete "python3 hook.py" --hook-events failed tasks.json
    assert_eq "what the hook saw" "family memory -1 over memory -1" "$(sort hook.log | xargs)"
    assert_eq again completed "$(task_status again)"
    sqlite3 pilot_runs/state.db "delete from tasks where id = 'again'"
    check_limit
    assert_eq "groups left" "" "$(find "$(own_group)" -maxdepth 1 -name 'pilot-*')"
}

test_by_looking() {
    over_the_limit
    status=0
    without_groups timeout -k 5 60 "$PILOT" --cores 4 tasks.json >out 2>err || status=$?
    check_limit
}

test_by_mpirun() {
    need_mpi
    over_the_limit
    mpirun_pilot 2 --cores 4 tasks.json
    check_limit
}

# The job has 250 MiB; nobody said what the task needs.
test_a_node_without_memory_loses_the_task_not_the_pilot() {
    local group
    group=$(own_group) || { echo "SKIP: no control group of memory can be made here" && exit 77; }
    group=$group/test-$$
    mkdir "$group"
    # shellcheck disable=SC2064
    trap "rmdir '$group'" EXIT
    echo $((250 << 20)) >"$group/memory.limit_in_bytes"
    {
        echo "{\"id\": \"greedy\", \"command\": \"$take 600 60\"}"
        echo "{\"id\": \"shell\", \"command\": \"$take 600 60; exit \$?\"}"
        echo "{\"id\": \"killed\", \"command\": \"kill -9 \$\$; sleep 60\", \"depends_on\": [\"modest\"]}"
        echo "{\"id\": \"modest\", \"command\": \"$take 20 0.5\"}"
    } >tasks.json
    status=0
    # shellcheck disable=SC2016
    timeout -k 5 60 sh -c 'echo 0 >"$0/cgroup.procs" && exec "$@"' "$group" "$PILOT" --cores 1 tasks.json >out 2>err || status=$?
    assert_eq status 1 "$status"
    assert_contains out "memory: 250M" "out of memory: the kernel killed it"
    assert_eq reasons "greedy memory|killed signal|modest exit|shell memory" \
        "$(sql 'select id, reason from attempts order by id' | tr '|\n' ' |' | sed 's/|$//')"
    assert_nothing_left
}

run_tests "$@"
