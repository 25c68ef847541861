#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What is large: up to its limit it works from end to end, beyond it is refused with words before
# anything runs, or fails with words where only the node could know. (The limits of task files one by
# one are in unit/test_limits.c.)
. "$(dirname "$0")/lib.sh"

MIB=1048576

# One task of exactly so many bytes, most of them tags, on one line.
line_of() { # BYTES ID
    python3 -c '
import sys
size, id = int(sys.argv[1]), sys.argv[2]
start, end = "{\"id\": \"%s\", \"command\": \"echo ran\", \"tags\": \"" % id, "\"}"
print(start + "x" * (size - len(start) - len(end)) + end)' "$1" "$2"
}

test_a_task_of_16_mib() {
    { line_of $((16 * MIB)) large && echo '{"id": "small", "command": "echo ran"}'; } >f.jsonl
    expect 0 f.jsonl
    assert_file pilot_runs/large/stdout.txt ran
    assert_eq "bytes of its tags in the state" $((16 * MIB - 50)) \
        "$(sql "select length(json_extract(spec, '\$.tags')) from tasks where id = 'large'")"
    expect 0 --resume f.jsonl # is known by its content
    assert_contains err "0 new tasks, 2 were already there"
    mpirun_pilot 2 --workdir ranks f.jsonl
    assert_eq "exit status under mpirun" 0 "$status"
    assert_file ranks/large/stdout.txt ran
    { line_of $((16 * MIB + 1)) larger && echo '{"id": "small", "command": "echo ran"}'; } >f.jsonl
    expect 2 --workdir other f.jsonl
    assert_contains err "f.jsonl:1:" "16 MiB that one task may have"
    assert_absent other/small
}

test_commands_that_the_kernel_does_not_take() {
    # Simple ones need no shell, so they may be as long as all arguments together.
    python3 -c 'print("/bin/true " + "argument " * 30000); print("true; : " + "argument " * 30000)' >cmds
    expect 1 cmds
    assert_eq "statuses" "1|completed 2|failed" "$(sql "select id, status from tasks order by 1" | tr '\n' ' ' | sed 's/ $//')"
    assert_eq "reason" spawn "$(sql "select reason from attempts where id = '2'")"
    assert_contains out "Argument list too long; put the command into a script"
    assert_contains pilot_runs/2/stderr.txt "Argument list too long"
    python3 -c 'print("echo hello"); print("true " + "argument " * 800000)' >cmds
    expect 2 --workdir other cmds
    assert_contains err "cmds:2:" "task '2'" "the kernel takes at most 6291456"
    assert_absent other/1
}

test_10000_variables() {
    local n
    for n in 10000 10001; do
        python3 -c '
import json, sys
json.dump([{"id": "t", "command": "env | grep -c ^VARIABLE_; echo $VARIABLE_9999",
            "env": {"VARIABLE_%d" % i: "value %d" % i for i in range(int(sys.argv[1]))}}], sys.stdout)' $n >$n.json
    done
    expect 0 10000.json
    assert_file pilot_runs/t/stdout.txt "10000
value 9999"
    expect 2 --workdir other 10001.json
    assert_contains err "10001.json:1:" "task 't'" "10001 variables"
}

test_ids_of_255_bytes() {
    local id
    # 83 characters of three bytes, one of two, one of four.
    id=$(python3 -c 'print("\u20ac" * 83 + "\u00e9" + "\U0001f680")')
    assert_eq "bytes of the id" 255 "$(printf %s "$id" | wc -c)"
    printf '[{"id": "%s", "command": "echo $PILOT_TASK_ID"}, {"id": "%s/%s", "command": "echo below"}]' "$id" "$id" "$id" >f.json
    expect 0 f.json
    assert_file "pilot_runs/$id/stdout.txt" "$id"
    assert_file "pilot_runs/$id/$id/stdout.txt" below
    printf '[{"id": "%sx", "command": "true"}]' "$id" >f.json
    expect 2 --workdir other f.json
    assert_contains err "longer than 255 bytes"
    printf '[{"id": "ab\377", "command": "true"}]' >f.json
    expect 2 --workdir other f.json
    assert_contains err "f.json:1:12: " "0xff" "UTF-8"
}

# What only the file system can refuse is the failure of that task, not of the run.
test_a_directory_that_cannot_be_made() {
    mkdir pilot_runs
    echo "a file" >pilot_runs/taken
    echo '[{"id": "taken/below", "command": "true"}, {"id": "fine", "command": "true"}]' >f.json
    expect 1 f.json
    assert_eq "statuses" "completed 1|failed 1" "$(statuses)"
    assert_contains out "cannot make the directory" "Not a directory"
}

nested() { # LEVELS
    python3 -c 'import sys; n = int(sys.argv[1]); print("[" * n + "7" + "]" * n, end="")' "$1"
}

# From a file, from a client, from a hook.
test_tags_nested_a_thousand_deep() {
    cat >hook.sh <<'END'
#!/bin/sh
while read -r line; do
    case $line in
        *'"event":"ended"'*) seq=${line#*'"seq":'} && seq=${seq%%,*} ;;
        *'"event":"error"'*) echo "$line" >>"$DIR/errors" ;;
    esac
    case $line in
        *'"event":"ended"'*'"task_id":"first"'*)
            printf '{"tasks": [{"id": "refused", "command": "true", "tags": %s}]}\n' "$(cat "$DIR/deeper")"
            printf '{"ack": %s, "tasks": [{"id": "hooked", "command": "true", "tags": %s}]}\n' "$seq" "$(cat "$DIR/deep")" ;;
        *'"event":"ended"'*) echo "{\"ack\": $seq}" ;;
    esac
done
END
    chmod +x hook.sh
    nested 1000 >deep
    nested 1100 >deeper
    printf '[{"id": "added", "command": "true", "tags": %s}]' "$(cat deep)" >add.json
    printf '[{"id": "unadded", "command": "true", "tags": %s}]' "$(cat deeper)" >unadd.json
    printf '[{"id": "first", "command": "$PILOT add ../../add.json; ! $PILOT add ../../unadd.json", "tags": %s}]' "$(cat deep)" >f.json
    DIR=$PWD PILOT=$PILOT expect 0 --on-complete ./hook.sh f.json
    assert_eq "tasks" "added first hooked" "$(sql 'select id from tasks order by 1' | tr '\n' ' ' | sed 's/ $//')"
    assert_contains pilot_runs/first/stderr.txt "nested deeper than 1024 levels"
    assert_contains errors "nested deeper than 1024 levels"
    DIR=$PWD expect 0 --resume f.json
    printf '[{"id": "deeper", "command": "true", "tags": %s}]' "$(cat deeper)" >f.json
    expect 2 --workdir other f.json
    assert_contains err "f.json:1:" "nested deeper than 1024 levels"
}

test_10_gb_of_output_are_neither_kept_nor_remembered() {
    local kib
    cat >f.json <<'END'
[{"id": "flood", "command": "head -c 10000000000 /dev/zero; grep VmHWM /proc/$PPID/status >&2"},
 {"id": "word", "command": "echo word", "depends_on": ["flood"]},
 {"id": "pilot", "command": "p=$PPID; while [ $(cat /proc/$p/comm) != pilot-mpi ]; do p=$(awk '/PPid/ {print $2}' /proc/$p/status); done; grep VmHWM /proc/$p/status", "depends_on": ["flood"]}]
END
    expect 0 --max-output 1M f.json
    assert_between "KiB on the disk" 1024 1100 "$(du -sk pilot_runs/flood | cut -f1)"
    assert_eq "the last line" "[pilot-mpi: cut here: $((10000000000 - MIB)) bytes more were not kept]" "$(tail -n 1 pilot_runs/flood/stdout.txt)"
    assert_eq "in the record" "flood|$((10000000000 - MIB))" "$(sql 'select id, output_dropped from attempts where output_dropped is not null')"
    assert_file pilot_runs/word/stdout.txt word
    for kib in $(awk '{print $2}' pilot_runs/flood/stderr.txt pilot_runs/pilot/stdout.txt); do
        assert_between "KiB of memory of a process of the pilot" 100 65536 "$kib"
    done
    assert_contains pilot_runs/flood/stderr.txt VmHWM
    assert_contains pilot_runs/pilot/stdout.txt VmHWM
    # Without the option everything is kept.
    echo '[{"id": "all", "command": "head -c 5000000 /dev/zero"}]' >f.json
    expect 0 --workdir other f.json
    assert_eq "bytes without the option" 5000000 "$(stat -c %s other/all/stdout.txt)"
}

# Also on other ranks, and for each attempt.
test_every_attempt_on_every_rank_is_cut() {
    local id
    echo '{"defaults": {"command": "printf 123456; printf abcdef >&2; exit 1", "max_retries": 1}, "tasks": [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d"}]}' >f.json
    mpirun_pilot 2 --max-output 4 f.json
    assert_eq "exit status" 1 "$status"
    for id in a b c d; do
        assert_file pilot_runs/$id/stdout.1.txt "1234
[pilot-mpi: cut here: 2 bytes more were not kept]"
        assert_file pilot_runs/$id/stderr.txt "abcd
[pilot-mpi: cut here: 2 bytes more were not kept]"
    done
    assert_eq "in the record" "8|32" "$(sql 'select count(*), sum(output_dropped) from attempts')"
}

run_tests "$@"
