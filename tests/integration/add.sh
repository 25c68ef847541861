#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# pilot-mpi add: from inside tasks, by a person on the node, by another user, and when there is no
# pilot. (From other hosts: add_hosts.sh.)
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3
need python3 python3
export PILOT_MPI=$PILOT

# Until the file "go" is there the pilot has something to do.
HOLD='{"id": "hold", "command": "until [ -e go ]; do sleep 0.05; done", "workdir": "."}'

# Like pilot(): the status in $status, the output in add.out and add.err.
add() { # ARGS...
    status=0
    timeout -k 5 60 "$PILOT" add "$@" >add.out 2>add.err || status=$?
    case $status in
        124 | 137) fail "pilot-mpi add $* did not end within 60 s" ;;
    esac
}

expect_add() { # STATUS ARGS...
    local expected=$1
    shift
    add "$@"
    if [ "$status" != "$expected" ]; then
        cat add.out add.err >&2
        fail "pilot-mpi add $*: expected exit status $expected, got $status"
    fi
}

has_socket() { [ -s "${1:-pilot_runs}"/.pilot/*/socket ] 2>/dev/null; }
task_count() { sql "select count(*) from tasks" "$@"; }

# A pilot that waits for "go", with its socket.
hold_pilot() { # ARGS...
    rm -f go
    echo "[$HOLD]" >hold.json
    pilot_start "$@" hold.json
    must_wait_until 20 has_socket
}

let_go() { # EXPECTED-STATUS
    touch go
    pilot_wait 60
    if [ "$status" != "$1" ]; then tail -n 20 out err >&2; fi
    assert_eq "exit status of the pilot" "$1" "$status"
    assert_nothing_left
}

# ---- From inside a task --------------------------------------------------------------------------

test_a_task_adds_tasks() {
    cat >first.sh <<'END'
set -eu
cat >more.json <<'JSON'
[{"id": "m1", "command": "echo one; pwd"}, {"id": "m2", "command": "echo two", "depends_on": ["early", "m1"]}]
JSON
"$PILOT_MPI" add more.json >ids
"$PILOT_MPI" add more.json >ids-again
printf 'echo three\necho four\n' | "$PILOT_MPI" add - >ids-lines
"$PILOT_MPI" add --id o1 --command 'echo "$GREETING" $PILOT_CORES' --env GREETING='good day' --priority -1 \
    --depends-on early --timeout 30 --max-retries 1 --tags '{"T": 100}' >ids-option
echo from the first >in.txt
"$PILOT_MPI" add --id o2 --command 'cat; pwd' --stdin in.txt --task-workdir . >>ids-option
END
    cat >tasks.json <<END
[{"id": "early", "command": "true"},
 {"id": "first", "command": "sh '$PWD/first.sh'", "depends_on": ["early"]}]
END
    expect 0 tasks.json
    assert_eq statuses "completed 8" "$(statuses)"
    assert_file pilot_runs/first/ids "m1
m2"
    assert_file pilot_runs/first/ids-again "m1
m2"
    assert_eq "ids of commands" 2 "$(grep -c '^auto-' pilot_runs/first/ids-lines)"
    for id in $(cat pilot_runs/first/ids-lines); do cat "pilot_runs/$id/stdout.txt"; done >lines
    assert_file lines "three
four"
    assert_file pilot_runs/first/ids-option "o1
o2"
    assert_file pilot_runs/m1/stdout.txt "one
$PWD/pilot_runs/m1"
    assert_file pilot_runs/o1/stdout.txt "good day 1"
    assert_file pilot_runs/o2/stdout.txt "from the first
$PWD/pilot_runs/first"
    assert_eq "priority, timeout, retries" "-1|30.0|1" "$(sql "select priority, timeout, max_retries from tasks where id = 'o1'")"
    assert_nothing_left
}

test_a_refusal_fails_the_task_and_nothing_else() {
    cat >tasks.json <<END
[{"id": "a", "command": "true"},
 {"id": "bad", "command": "'$PILOT' add --id a --command false && exit 9; '$PILOT' add --id b --command true --depends-on nobody"}]
END
    expect 1 tasks.json
    assert_eq statuses "completed 1|failed 1" "$(statuses)"
    assert_contains pilot_runs/bad/stderr.txt "task 'a' is there already with other content" "nobody"
    assert_eq "exit code of the task" 1 "$(sql "select exit_code from tasks where id = 'bad'")"
}

# What a task adds belongs to the pilot that runs the task, not to one around it.
test_a_pilot_in_a_task_has_its_own_tasks() {
    echo "'$PILOT' add --id inner-child --command true" >inner.txt
    cat >tasks.json <<END
[{"id": "outer", "command": "'$PILOT' --cores 1 '$PWD/inner.txt' && '$PILOT' add --id outer-child --command true"}]
END
    expect 0 tasks.json
    assert_eq "tasks outside" "outer outer-child" "$(sql "select id from tasks order by id" | xargs)"
    assert_eq "tasks inside" "1 inner-child" \
        "$(sql "select id from tasks order by id" pilot_runs/outer/pilot_runs/state.db | xargs)"
}

test_many_tasks_add_at_the_same_time() {
    local i
    for i in $(seq 200); do
        echo "{\"id\": \"p$i\", \"command\": \"for j in 1 2 3 4 5; do \\\"\$PILOT_MPI\\\" add --id c$i-\$j --command true || exit 1; done >/dev/null\"}"
    done >tasks.jsonl
    # More cores than there are: 100 tasks and their clients at once.
    expect 0 --cores 100 --quiet tasks.jsonl
    assert_eq statuses "completed 1200" "$(statuses)"
}

test_twenty_thousand_in_one_request() {
    python3 -c 'import json; print(json.dumps([{"id": "n%d" % i, "command": "true", "env": {"X": "y" * 100}, "depends_on": ["never"]} for i in range(20000)] + [{"id": "never", "command": "false"}]))' >many.json
    echo "{\"id\": \"first\", \"command\": \"'$PILOT' add '$PWD/many.json'\"}" >tasks.jsonl
    expect 1 --quiet tasks.jsonl
    assert_eq statuses "completed 1|failed 1|skipped 20000" "$(statuses)"
    assert_eq "ids that were printed" 20001 "$(wc -l <pilot_runs/first/stdout.txt)"
}

# ---- By a person on the node ---------------------------------------------------------------------

test_a_person_on_the_node_adds() {
    hold_pilot
    expect_add 0 --id a --command 'echo a' # ./pilot_runs
    assert_file add.out a
    assert_eq "status, in the state when add returns" 1 "$(sql "select count(*) from tasks where id = 'a'")"
    expect_add 0 --id b --command 'echo b' --workdir "$PWD/pilot_runs"
    expect_add 0 --id c --command 'echo c' --db pilot_runs/state.db
    (mkdir elsewhere && cd elsewhere && "$PILOT" add --id d --command 'echo d' --db ../pilot_runs/state.db >/dev/null)
    expect_add 0 --id a --command 'echo a' # again, whether it has run or not
    assert_file add.out a
    must_wait_until 20 eval '[ "$(task_status d)" = completed ]'
    expect_add 0 --id e --command 'echo e' --depends-on a --depends-on d
    let_go 0
    assert_eq statuses "completed 6" "$(statuses)"
    for id in a b c d e; do assert_file "pilot_runs/$id/stdout.txt" "$id"; done
}

test_a_database_elsewhere() {
    mkdir state
    hold_pilot --db state/my.db
    expect_add 0 --id a --command true --workdir pilot_runs
    expect_add 0 --id b --command true --workdir pilot_runs --db state/my.db
    let_go 0
    assert_eq statuses "completed 3" "$(statuses state/my.db)"
}

test_what_is_refused_adds_nothing() {
    hold_pilot
    expect_add 0 --id a --command 'echo a'
    expect_add 1 --id a --command 'echo b'
    assert_contains add.err "task 'a' is there already with other content; give it another id"
    assert_lacks add.err rerun-changed
    echo '[{"id": "good", "command": "true"}, {"id": "a", "command": "other"}]' >mixed.json
    expect_add 1 mixed.json
    assert_contains add.err "mixed.json:1: task 'a'"
    echo '[{"id": "good", "command": "true"}, {"id": "bad", "comand": "x", "cores": 0}]' >wrong.json
    expect_add 1 wrong.json
    assert_contains add.err "pilot-mpi: wrong.json:1: task 'bad'" "cores"
    expect_add 1 --command true --cores 100000
    assert_contains add.err "command line:1:" "the most of any node"
    expect_add 1 --id lonely --command true --depends-on nobody
    assert_contains add.err "nobody"
    echo '{"tasks": [' >broken.json
    expect_add 1 broken.json
    assert_eq "tasks" 2 "$(task_count)"
    let_go 0
    assert_eq statuses "completed 2" "$(statuses)"
}

test_wrong_usage() {
    expect_add 2
    assert_contains add.err "write pilot-mpi add FILE"
    expect_add 2 --id x
    expect_add 2 no-such-file.json
    expect_add 2 tasks.json --command true
    expect_add 2 --cores many --command true
    expect_add 0 --help
    assert_contains add.out "--depends-on ID"
}

test_no_pilot() {
    expect_add 3 --command true
    assert_contains add.err "no pilot answers" "pilot_runs/.pilot/" "nothing was added; start the pilot"
    echo "[{\"id\": \"t\", \"command\": \"echo \$PILOT_SOCKET >'$PWD/socket'\"}]" >tasks.json
    expect 0 tasks.json
    expect_add 3 --command true # the run is over
    assert_contains add.err "no pilot answers"
    assert_absent "$(cat socket)"
    assert_absent pilot_runs/.pilot/inbox
    assert_absent "pilot_runs/.pilot/$(hostname)/socket"
    PILOT_SOCKET=$(cat socket) expect_add 3 --command true
    assert_contains add.err "$(cat socket)"
}

# Killed, it leaves its socket and its inbox; the next one removes the first and goes on with the second.
test_what_a_killed_pilot_leaves() {
    local old
    hold_pilot
    old=$(cat pilot_runs/.pilot/*/socket)
    kill -9 "$pilot_pid"
    pilot_wait 10
    assert_nothing_left
    [ -S "$old" ] || fail "the socket is gone; what is this test about?"
    expect_add 3 --id late --command 'echo late'
    assert_contains add.err "$old" "nobody reads there any more"
    assert_eq "requests left behind" "" "$(find pilot_runs/.pilot/inbox -name '*.req')"
    # One that was on its way is heard by the next, as it is the same campaign.
    printf '%s\n' '{"op": "add", "name": "x", "text": "[{\"id\": \"waiting\", \"command\": \"true\"}]"}' >pilot_runs/.pilot/inbox/x.taken
    pilot_start --resume
    must_wait_until 20 test -e pilot_runs/.pilot/inbox/x.reply
    assert_absent "$old"
    assert_contains pilot_runs/.pilot/inbox/x.reply '"waiting"'
    let_go 0
    assert_eq statuses "completed 2" "$(statuses)"
}

# ---- Other users ---------------------------------------------------------------------------------

test_another_user_can_do_nothing() {
    local dir
    [ "$(id -u)" = 0 ] || return 77
    need setpriv util-linux
    chmod 755 "$TEST_DIR" "$T"
    as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
    if ! as test -x "$PILOT" || ! as test -x "$T"; then return 77; fi
    hold_pilot
    dir=$(dirname "$(cat pilot_runs/.pilot/*/socket)")
    assert_eq "modes" "700 600 700 600" "$(stat -c %a "$dir" "$dir/control" pilot_runs/.pilot/inbox pilot_runs/.pilot/*/socket | xargs)"
    status=0
    as "$PILOT" add --workdir "$T/pilot_runs" --command true >add.out 2>add.err || status=$?
    assert_eq "exit status for another user" 3 "$status"
    assert_contains add.err "Permission denied"
    status=0
    as env PILOT_SOCKET="$dir/control" "$PILOT" add --command true >add.out 2>add.err || status=$?
    assert_eq "exit status for another user who knows the path" 3 "$status"
    assert_contains add.err "Permission denied"
    ! as ls "$dir" 2>/dev/null || fail "another user reads $dir"
    ! as ls pilot_runs/.pilot/inbox 2>/dev/null || fail "another user reads the inbox"
    ! as cp /dev/null pilot_runs/.pilot/inbox/x.req 2>/dev/null || fail "another user writes the inbox"
    ! as cat pilot_runs/.pilot/*/socket 2>/dev/null || fail "another user reads the path"
    # Somebody has opened all doors by mistake.
    chmod 755 "$dir" && chmod 666 "$dir/control"
    status=0
    as env PILOT_SOCKET="$dir/control" "$PILOT" add --command true >add.out 2>add.err || status=$?
    assert_eq "exit status with the doors open" 3 "$status"
    assert_eq tasks 1 "$(task_count)"
    let_go 0
}

# No port anywhere: the channel is files and a Unix socket.
test_no_port_is_opened() {
    need ss iproute2
    hold_pilot
    ss -tulnpH | grep -F "pid=$pilot_pid," >ports || true
    assert_file ports ""
    let_go 0
}

run_tests "$@"
