#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Bad input is refused before anything runs: status 2, and each error with file, line, task and
# what to do.
. "$(dirname "$0")/lib.sh"

assert_refused() { # FILE WORD...: all words are in the message
    local file=$1
    shift
    expect 2 "$file"
    assert_contains err "$@"
    assert_absent pilot_runs/ran
    [ ! -e pilot_runs/state.db ] || assert_eq "tasks in the state" 0 "$(sql 'select count(*) from tasks' 2>/dev/null || echo 0)"
}

# In each, task "bad" is on line 2 of the file; "$1" is what the message must say besides.
test_wrong_fields() {
    local word task
    while IFS='|' read -r word task; do
        printf '[{"id": "fine", "command": "touch ../ran"},\n%s]\n' "$task" >f.json
        assert_refused f.json "f.json:2:" "bad" "$word"
    done <<'END'
cores|{"id": "bad", "command": "true", "cores": 0}
cores|{"id": "bad", "command": "true", "cores": -2}
cores|{"id": "bad", "command": "true", "cores": 1.5}
cores|{"id": "bad", "command": "true", "cores": "two"}
cores|{"id": "bad", "command": "true", "cores": 1000000}
cores|{"id": "bad", "command": "true", "cores": 1e300}
timeout|{"id": "bad", "command": "true", "timeout": -1}
timeout|{"id": "bad", "command": "true", "timeout": "1h"}
priority|{"id": "bad", "command": "true", "priority": 1e12}
priority|{"id": "bad", "command": "true", "priority": "high"}
max_retries|{"id": "bad", "command": "true", "max_retries": -1}
max_retries|{"id": "bad", "command": "true", "max_retries": true}
env|{"id": "bad", "command": "true", "env": ["A=1"]}
env|{"id": "bad", "command": "true", "env": {"A=B": "1"}}
command|{"id": "bad"}
command|{"id": "bad", "command": 7}
command|{"id": "bad", "command": []}
command|{"id": "bad", "command": ["a", 7]}
command|{"id": "bad", "command": "a\u0000b"}
depends_on|{"id": "bad", "command": "true", "depends_on": [7]}
nosuch|{"id": "bad", "command": "true", "depends_on": ["nosuch"]}
workdir|{"id": "bad", "command": "true", "workdir": 1}
stdin|{"id": "bad", "command": "true", "stdin": {}}
END
}

test_ids_that_leave_the_work_directory() {
    local id
    for id in ../x /x a/../../b .. . "" "a//../../../x"; do
        printf '[\n{"id": "%s", "command": "touch ran"}]\n' "$id" >f.json
        assert_refused f.json "f.json:2:" "id"
    done
    # Longer than a name of a file may be.
    printf '[\n{"id": "%s", "command": "true"}]\n' "$(printf 'x%.0s' $(seq 300))" >f.json
    assert_refused f.json "f.json:2:" "id"
    # A path below the work directory is no such thing.
    echo '[{"id": "set1/run.2", "command": "pwd"}]' >f.json
    expect 0 f.json
    assert_file pilot_runs/set1/run.2/stdout.txt "$PWD/pilot_runs/set1/run.2"
}

test_duplicate_ids() {
    printf '[{"id": "a", "command": "touch ../ran"},\n{"id": "b", "command": "true"},\n{"id": "a", "command": "true"}]' >f.json
    assert_refused f.json "f.json:3:" "'a'"
}

test_cycle_is_shown_with_its_path() {
    cat >f.json <<'END'
[{"id": "start", "command": "touch ../ran"},
 {"id": "a", "command": "true", "depends_on": ["c", "start"]},
 {"id": "b", "command": "true", "depends_on": ["a"]},
 {"id": "c", "command": "true", "depends_on": ["b"]}]
END
    assert_refused f.json f.json
    grep -qE "(a.*b.*c|b.*c.*a|c.*b.*a|b.*a.*c|a.*c.*b|c.*a.*b)" err || fail "no path of the cycle: $(cat err)"
    echo '[{"id": "me", "command": "true", "depends_on": ["me"]}]' >f.json
    assert_refused f.json me
}

test_not_json() {
    printf '[{"id": "a", "command": "touch ../ran"},\n {"id": "b" "command": "true"}]\n' >f.json
    assert_refused f.json "f.json:2:"
    printf '[{"id": "a", "command": "touch ../ran"},\n' >f.json
    assert_refused f.json f.json
    printf '{"id": "a", "command": "touch ../ran"}\n{"id": "b", "command": }\n' >f.json
    assert_refused f.json "f.json:2:"
    echo '{"tasks": 7}' >f.json
    assert_refused f.json tasks
    echo '["a command", 7]' >f.json
    assert_refused f.json f.json
}

test_all_errors_at_once_up_to_20() {
    {
        echo '['
        for i in $(seq 25); do echo "{\"id\": \"t$i\", \"command\": \"true\", \"cores\": 0}$([ "$i" = 25 ] || echo ,)"; done
        echo ']'
    } >f.json
    assert_refused f.json "f.json:2:" "f.json:21:" "'t20'"
    assert_eq "errors shown" 20 "$(grep -c 'f.json:[0-9]*:' err)"
    assert_contains err 5 # more
}

test_several_kinds_in_one_message() {
    printf '[{"id": "a", "command": "true", "cores": 0},\n{"id": "../b", "command": "true"},\n{"command": "true", "timeout": "x"}]' >f.json
    assert_refused f.json "f.json:1:" "f.json:2:" "f.json:3:"
}

test_unknown_field_is_a_warning_with_the_nearest_name() {
    printf '[{"id": "a", "command": "echo ran", "prioirty": 3, "my_own_field": {"x": 1}}]' >f.json
    expect 0 f.json
    cat out err >all
    assert_contains all prioirty '"priority"' my_own_field
    assert_file pilot_runs/a/stdout.txt ran
}

test_stdin_errors_name_the_line() {
    printf '[\n{"id": "a", "command": "true", "cores": 0}]' >f.json
    expect 2 - <f.json
    assert_contains err ":2:" "'a'"
}

test_generated_ids_are_unique_beside_given_ones() {
    printf '{"command": "echo first"}\n{"id": "2", "command": "echo given"}\n{"command": "echo third"}\n' >f.json
    expect 0 f.json
    assert_eq statuses "completed 3" "$(statuses)"
    assert_eq outputs "first given third" "$(cat pilot_runs/*/stdout.txt | sort | tr '\n' ' ' | sed 's/ $//')"
}

run_tests "$@"
