#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# --stream: tasks start while their file, or a pipe, is still being read.
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3

# A producer that writes the next task when the one before it has left its file: it ends only if
# tasks run while it writes.
next_after() { # FILE
    wait_until 20 [ -e "$1" ] || { echo "no $1" >&2 && return 1; }
}

produce() { # FORM: three tasks that touch files in $T
    case $1 in
        array)
            printf '[{"id": "a", "command": "touch %s/a"},\n' "$T" && next_after a
            printf '{"id": "b", "command": "touch %s/b"}' "$T" && next_after b
            printf ', {"id": "c", "command": "touch %s/c", "depends_on": ["a", "b"]}\n]\n' "$T"
            ;;
        object)
            printf '{"defaults": {"env": {"DIR": "%s"}}, "tasks": [\n' "$T"
            # shellcheck disable=SC2016
            printf '{"id": "a", "command": "touch $DIR/a"}' && next_after a
            # shellcheck disable=SC2016
            printf ',\n{"id": "b", "command": "touch $DIR/b"}' && next_after b
            # shellcheck disable=SC2016
            printf ',\n{"id": "c", "command": "touch $DIR/c"}], "of mine": {"x": [1]}}\n'
            ;;
        lines)
            printf '{"id": "a", "command": "touch %s/a"}\n' "$T" && next_after a
            printf '{"id": "b", "command": "touch %s/b"}\n' "$T" && next_after b
            printf '{"id": "c", "command": "touch %s/c"}' "$T"
            ;;
        objects)
            printf '{\n  "id": "a",\n  "command": "touch %s/a"\n}\n' "$T" && next_after a
            printf '{\n  "id": "b",\n  "command": "touch %s/b"\n}\n' "$T" && next_after b
            printf '{\n  "id": "c",\n  "command": "touch %s/c"\n}' "$T"
            ;;
        commands)
            printf 'touch %s/a\n# not a task\n' "$T" && next_after a
            printf 'touch %s/b\n' "$T" && next_after b
            printf 'touch %s/c' "$T"
            ;;
    esac
    echo "written to the end" >>produced
}

test_each_form_starts_as_it_comes() {
    local form
    for form in array object lines objects commands; do
        produce $form | expect 0 --stream --fresh -
        assert_file produced "written to the end"
        assert_eq "$form" "completed 3" "$(statuses)"
        [ -e c ] || fail "$form: the last task did not run"
        rm a b c produced
    done
    assert_eq "ids of a list" "1 2 3" "$(sql 'select id from tasks order by seq' | xargs)"
}

test_from_a_named_pipe_by_mpi() {
    command -v mpirun >/dev/null || skip "no mpirun"
    [ -z "${ASAN_OPTIONS:-}" ] || skip "a sanitizer would find what MPI leaks"
    mkfifo pipe
    produce lines >pipe &
    mpirun_pilot 2 --stream --cores 2 pipe
    assert_eq "exit status" 0 "$status"
    assert_eq "by rank 0" "completed 3" "$(statuses)"
    wait $!
}

test_an_error_stops_reading_and_resume_goes_on() {
    ran='date +%N >>'
    {
        printf '[{"id": "a", "command": "%s %s/ran-a; sleep 0.3; echo ended"},\n' "$ran" "$T"
        printf '{"id": "w", "command": "%s %s/ran-w"},\n' "$ran" "$T"
        next_after ran-a
        printf '{"id": "b", "cores": "two", "command": "%s %s/ran-b"},\n' "$ran" "$T"
        printf '{"id": "c", "command": "%s %s/ran-c"}]\n' "$ran" "$T"
    } | expect 3 --stream --cores 1 -
    assert_contains err "standard input:3: task 'b': cores must be a number"
    assert_contains out "Stopped: standard input cannot be read on" "To go on: pilot-mpi --resume --stream -"
    assert_eq "exit status in summary.json" 3 "$(json pilot_runs/summary.json 'd["exit_status"]')"
    assert_file pilot_runs/a/stdout.txt ended # what ran was let finish
    assert_absent ran-w # and nothing else was started
    assert_eq "what was read stays, nothing else" "a|completed w|pending" "$(sql 'select id, status from tasks order by seq' | xargs)"
    # A resume without the file runs what there is, and knows that there is more.
    expect 3 --resume
    assert_contains err "did not read '-' to its end"
    printf '[{"id": "a", "command": "%s %s/ran-a; sleep 0.3; echo ended"},
        {"id": "w", "command": "%s %s/ran-w"}, {"id": "b", "cores": 1, "command": "%s %s/ran-b"},
        {"id": "c", "command": "%s %s/ran-c"}]' "$ran" "$T" "$ran" "$T" "$ran" "$T" "$ran" "$T" >mended.json
    expect 0 --resume --stream mended.json
    assert_eq "all" "completed 4" "$(statuses)"
    for id in a w b c; do assert_eq "runs of $id" 1 "$(wc -l <ran-$id)"; done
    expect 0 --resume # it is known now that there is no more
}

test_errors_before_anything_runs() {
    expect 2 --stream
    assert_contains err "--stream needs a FILE"
    expect 2 --stream nothing.json
    expect 2 --stream .
    expect 2 --stream --dry-run -
    expect 2 --stream --on-complete - -
    expect 2 --stream --rerun-changed --resume -
    assert_absent pilot_runs/state.db
    : | expect 3 --stream -
    assert_contains err "the file is empty"
    echo '{"tasks": [{"id": "a"}], "defaults": {"command": "x"}}' >late.json
    expect 3 --stream --fresh late.json
    assert_contains err "late.json:1: task 'a': there is no command"
    echo '{"tasks": [{"id": "a", "command": "x"}], "defaults": {"cores": 1}}' >late.json
    expect 3 --stream --fresh late.json
    assert_contains err 'late.json:1: "defaults" stands behind the tasks'
}

test_dependencies_on_later_tasks() {
    {
        echo "{\"id\": \"late\", \"command\": \"cat $T/pilot_runs/one/stdout.txt $T/pilot_runs/two/stdout.txt\", \"depends_on\": [\"one\", \"two\"]}"
        echo "{\"id\": \"two\", \"command\": \"echo two; touch $T/two\", \"depends_on\": [\"one\"]}"
        echo "{\"id\": \"free\", \"command\": \"touch $T/free\"}"
        next_after free
        assert_absent two
        echo "{\"id\": \"one\", \"command\": \"echo one\"}"
        next_after two
        echo "{\"id\": \"lost\", \"command\": \"x\", \"depends_on\": [\"nobody\"]}"
    } | expect 3 --stream -
    assert_contains err "standard input:5: task 'lost': depends_on names 'nobody', which is no task of this file"
    sql "select id from tasks order by id" | xargs | grep -qx "free late one two" || fail "not these tasks"
    expect 3 --resume
    assert_file pilot_runs/late/stdout.txt $'one\ntwo'
    printf '{"id":"a","command":"x","depends_on":["b"]}\n{"id":"b","command":"x","depends_on":["a"]}\n' >circle.jsonl
    expect 3 --stream --fresh circle.jsonl
    assert_contains err "circle.jsonl:1: task 'a': depends on itself: a -> b -> a"
}

test_killed_while_reading() { # of a list, whose ids are the numbers of its commands
    local done_then
    seq 1 400 | sed "s|.*|echo & >>$T/journal; sleep 0.01|" >list
    mkfifo pipe
    pilot_start --stream --verbose pipe
    { head -n 250 list && next_after stop && sed 1,250d list; } >pipe 2>/dev/null &
    local producer=$!
    must_wait_until 20 grep -sq '✓ 60 ' out
    kill -9 "$pilot_pid"
    pilot_wait 10
    touch stop
    wait $producer || true
    assert_nothing_left
    done_then=$(grep -o '✓ [0-9]*' out | tr -dc '0-9\n')
    [ "$(echo "$done_then" | wc -l)" -lt 250 ] || fail "killed too late"
    for id in $done_then; do # what was shown is in the state
        assert_eq "task $id" completed "$(task_status "$id")"
    done
    expect 0 --resume --stream list
    assert_eq "all of the list" "completed 400" "$(statuses)"
    assert_eq "each of its commands ran" 400 "$(sort -u journal | wc -l)"
    for id in $done_then; do
        assert_eq "runs of $id" 1 "$(grep -cx "$id" journal)"
    done
    # As a whole it is the same list.
    expect 0 --resume list
    assert_eq "nothing new" 400 "$(sql 'select count(*) from tasks')"
}

test_beside_a_hook_and_clients() {
    cat >hook.sh <<'END'
while read -r line; do
    case $line in
        *'"event":"ended"'*'"task_id":"s'*) echo "$line" | sed 's/.*"seq":\([0-9]*\).*"task_id":"\([^"]*\)".*/{"ack": \1, "tasks": [{"id": "h-\2", "command": "true"}]}/' ;;
        *'"event":"ended"'*) echo "$line" | sed 's/.*"seq":\([0-9]*\).*/{"ack": \1}/' ;;
    esac
done
END
    {
        echo "{\"id\": \"s1\", \"command\": \"echo '{\\\"id\\\": \\\"added\\\", \\\"command\\\": \\\"touch $T/added\\\"}' | $PILOT add -\"}"
        next_after added
        # A task of a client may be waited for, too.
        echo '{"id": "s2", "command": "true", "depends_on": ["added"]}'
        next_after pilot_runs/h-s1
    } | expect 0 --stream --on-complete "sh hook.sh" -
    assert_eq "all" "added h-s1 h-s2 s1 s2" "$(sql "select id from tasks where status = 'completed' order by id" | xargs)"
}

test_a_producer_waits_when_tasks_do() {
    pilot_pid=
    mkfifo pipe
    pilot_start --stream --quiet --grace 1 --cores 1 pipe
    { echo "touch $T/running; sleep 600" && seq -f "true some words that make the line longer %.0f" 1 600000; } >pipe 2>/dev/null &
    local producer=$!
    next_after running
    read_so_far() { [ "$(sql 'select count(*) from tasks')" -ge 100000 ]; }
    must_wait_until 60 read_so_far
    sleep 0.5
    assert_between "tasks read ahead" 100000 120000 "$(sql 'select count(*) from tasks')"
    kill -0 $producer || fail "the producer did not have to wait"
    kill -TERM "$pilot_pid"
    pilot_wait 20
    assert_eq "exit status" 3 "$status"
    wait_until 10 ended $producer || fail "the producer was not told"
}

run_tests "$@"
