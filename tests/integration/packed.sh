#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Packed output: what tasks write goes into a few large files a node and comes out of them again, the
# same bytes as --output=files would have kept; during the run, after it, after a kill. And the other
# two ways, merged and none.
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3

no_cluster=$(cluster check) || true

# Tasks of all kinds of output: none, a little, both streams, large, without newline, failing with a
# retry, killed by their timeout, an id with directories.
make_tasks() {
    cat <<'EOF'
{"id": "none", "command": "true"}
{"id": "little", "command": "echo out; echo err >&2"}
{"id": "bare", "command": "printf 'no newline'"}
{"id": "dir/deep", "command": "echo $PILOT_TASK_ID; head -c 100 /dev/zero >&2"}
{"id": "large", "command": "seq 1 300000; seq 1 20000 >&2"}
{"id": "again", "command": "echo attempt $PILOT_ATTEMPT; echo why $PILOT_ATTEMPT >&2; [ $PILOT_ATTEMPT = 3 ]", "max_retries": 3}
{"id": "fails", "command": "for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 7"}
{"id": "quiet", "command": "echo only stdout; exit 8"}
{"id": "slow", "command": "echo before; sleep 60", "timeout": 0.5}
{"id": "never", "command": ["/nowhere/at/all"]}
EOF
    for i in $(seq 40); do echo "{\"id\": \"n$i\", \"command\": \"seq $i $((i * 37)); seq $i >&2\"}"; done
}

# Everything that tasks wrote, by name, of a directory of files. What is the pilot's is left out.
outputs() { # DIR
    (cd "$1" && find . -name .pilot -prune -o -name 'std*.txt' -type f -print | sort | xargs md5sum)
}

# The same tasks twice, and the same bytes.
compare_with_files() { # RUNNER...
    make_tasks >tasks.jsonl
    "$@" tasks.jsonl --workdir files --grace 0.2
    assert_eq "status with files" 1 "$status"
    "$@" tasks.jsonl --workdir packed --output=packed --grace 0.2
    assert_eq "status packed" 1 "$status"
    mv out out.packed
    "$PILOT" logs --workdir packed --unpack unpacked
    outputs files >a
    outputs unpacked >b
    diff a b || fail "the unpacked files differ from those of --output=files (above)"
    assert_between "files compared" 100 200 "$(wc -l <a)"
    # Nothing but the state, the summary and what is the pilot's own.
    assert_eq "beside the packs" "state.db summary.json" "$(ls packed | tr '\n' ' ' | sed 's/ $//')"
}

test_unpacked_it_is_what_files_have() {
    compare_with_files pilot
    assert_eq "packs" 1 "$(find packed -name '*.pack' | wc -l)"
    "$PILOT" logs --workdir packed little >o
    assert_file o out
    "$PILOT" logs --workdir packed --stderr little >o
    assert_file o err
    "$PILOT" logs --workdir packed --all little | sort >o
    assert_file o $'err\nout'
    "$PILOT" logs --workdir packed again --attempt 2 >o
    assert_file o "attempt 2"
    "$PILOT" logs --workdir packed --unpack two again bare
    assert_eq "unpacked by id" "again bare" "$(ls two | tr '\n' ' ' | sed 's/ $//')"
    assert_file two/again/stdout.1.txt "attempt 1"
    # What the state says is what is there.
    assert_eq "bytes" "$(seq 1 300000 | wc -c)|$(seq 1 20000 | wc -c)" \
        "$(sql "select stdout_bytes, stderr_bytes from attempts where id = 'large'" packed/state.db)"
    # The end of the run shows why tasks failed.
    assert_contains out.packed "line 7" "line 3" "only stdout" "pilot-mpi logs --stderr --workdir packed fails"
    assert_lacks out.packed "line 2"
    # With the files of the other run, by the same command.
    "$PILOT" logs --workdir files --stderr little >o
    assert_file o err
    "$PILOT" logs --workdir files again --attempt 1 >o
    assert_file o "attempt 1"
}

test_under_mpirun() { compare_with_files mpirun_pilot 2; }

srun2() { srun_pilot 2 "$@"; }
test_on_two_nodes() {
    [ -z "$no_cluster" ] || skip "$no_cluster"
    compare_with_files srun2
    assert_eq "nodes with packs" 2 "$(find packed -name '*.pack' | wc -l)"
}

test_ten_thousand_tasks_leave_a_handful_of_files() {
    for i in $(seq 10000); do echo "echo $i"; done >tasks.txt
    expect 0 tasks.txt --output=packed --quiet
    assert_between "files" 3 12 "$(find pilot_runs | wc -l)"
    assert_eq "tasks with output" 10000 \
        "$(sql "select count(*) from attempts where stdout_bytes > 1 and pack_segment = 1")"
    "$PILOT" logs --unpack all
    cat all/*/stdout.txt | sort -n | cmp - <(seq 10000) || fail "not what the tasks wrote"
}

has_text() { "$PILOT" logs "$1" 2>/dev/null | grep -qx "$2"; }

test_a_running_task_is_followed() {
    echo '{"id": "t", "command": "echo one; until [ -e go ]; do sleep 0.02; done; echo two"}
          {"id": "later", "command": "echo three", "depends_on": ["t"]}' >tasks.jsonl
    pilot_start tasks.jsonl --output=packed
    must_wait_until 10 has_text t one
    "$PILOT" logs -f t >followed &
    follower=$!
    "$PILOT" logs -f later >followed.later &
    must_wait_until 10 grep -qx one followed
    kill -0 $follower || fail "the follower went while the task ran"
    touch pilot_runs/go # tasks run in the work directory
    wait $follower || fail "the follower failed"
    wait $!
    assert_file followed $'one\ntwo'
    assert_file followed.later three
    pilot_wait 10
}

test_of_a_run_that_was_killed() {
    {
        echo '{"id": "done", "command": "seq 1000"}'
        echo '{"id": "cut", "command": "seq 5000; [ $PILOT_ATTEMPT = 2 ] || sleep 60; echo end", "depends_on": ["done"]}'
    } >tasks.jsonl
    pilot_start tasks.jsonl --output=packed
    must_wait_until 10 has_text cut 5000
    for pid in $(marked); do kill -9 "$pid" 2>/dev/null || true; done
    wait "$pilot_pid" 2>/dev/null || true
    assert_nothing_left
    "$PILOT" logs done | cmp - <(seq 1000) || fail "output of a task that had ended"
    "$PILOT" logs -f cut | cmp - <(seq 5000) || fail "output of a task that was killed"
    # Bytes that were lost: it is said, and the rest is shown.
    cp -r pilot_runs torn
    python3 - torn/.pilot/*/output-0001.pack <<'EOF'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
at = data.index(b"\n4999\n")
data[at + 1] ^= 1
open(sys.argv[1], "wb").write(data)
EOF
    "$PILOT" logs --workdir torn done | cmp - <(seq 1000) || fail "a record beside a damaged one"
    if "$PILOT" logs --workdir torn cut >o 2>e; then fail "damage went unnoticed"; fi
    assert_contains e "task 'cut' can be read"
    expect 0 --resume --output=packed
    "$PILOT" logs cut | cmp - <(seq 5000; echo end) || fail "output after the resume"
    "$PILOT" logs cut --attempt 1 | cmp - <(seq 5000) || fail "output of the attempt that was lost"
    # Without a state the packs tell by themselves.
    mv pilot_runs/state.db kept.db
    "$PILOT" logs cut | cmp - <(seq 5000; echo end) || fail "output without a state"
    # A state elsewhere knows where its tasks ran.
    "$PILOT" logs --db kept.db done | cmp - <(seq 1000) || fail "output by the state alone"
    # What another state has left there is not this one's.
    echo '{"id": "done", "command": "until [ -e go ]; do sleep 0.02; done"}' >other.jsonl
    pilot_start other.jsonl --output=packed
    must_wait_until 10 eval '[ "$(task_status done 2>/dev/null)" = running ]'
    "$PILOT" logs done >o || fail "the output of an earlier state was taken for this one's"
    assert_file o ""
    touch pilot_runs/go
    pilot_wait 10
}

test_a_hook_gets_files_that_exist() {
    cat >hook.py <<'EOF'
import json, sys
for line in sys.stdin:
    e = json.loads(line)
    if e.get("event") == "task_ended" or "result" in e:
        r = e["result"]
        print(r["task_id"], open(r["stdout_file"]).read().strip(), open(r["stderr_file"]).read().strip(), file=open("seen", "a"))
    if "seq" in e:
        print(json.dumps({"ack": e["seq"]}), flush=True)
EOF
    echo '{"id": "a", "command": "echo out; echo err >&2"}' >tasks.jsonl
    expect 0 tasks.jsonl --output=packed --on-complete "python3 $T/hook.py"
    assert_file seen "a out err"
    assert_file pilot_runs/a/stdout.txt out
}

test_python_gets_the_files_of_an_earlier_run() {
    echo '{"id": "a", "command": "echo out; echo err >&2"}' >tasks.jsonl
    expect 0 tasks.jsonl --output=packed
    assert_absent pilot_runs/a
    PILOT_MPI=$PILOT PYTHONPATH=$ROOT/python timeout 60 python3 - >o 2>e <<'EOF' || fail "python: $(cat e)"
from pilot import Pilot
pilot = Pilot(total_cores=1, workdir="pilot_runs", db_path="pilot_runs/state.db")
pilot.add_tasks([])
pilot.run()
print(open(pilot.completed["a"].stdout_file).read(), open(pilot.completed["a"].stderr_file).read())
EOF
    grep -v '^$' o | tr -d ' ' | tail -n 2 >o2
    assert_file o2 $'out\nerr'
}

# What is left behind may finish what it writes, and is ended at once when it cannot write.
test_what_is_left_behind() {
    echo '{"id": "late", "command": "(sleep 0.5; echo late) & echo early"}
          {"id": "silent", "command": "sleep 60 >/dev/null 2>&1 & echo done"}' >tasks.jsonl
    expect 0 tasks.jsonl --output=packed --grace 20
    "$PILOT" logs late >o
    assert_file o $'early\nlate'
    assert_between "seconds that nobody wrote" 0 5 \
        "$(sql "select finished_at - started_at from attempts where id = 'silent'")"
}

test_only_so_much_of_each_is_kept() {
    echo '{"id": "a", "command": "seq 100000; echo short >&2"}' >tasks.jsonl
    expect 0 tasks.jsonl --output=packed --max-output 1000
    "$PILOT" logs a >o
    assert_between "bytes" 1000 1100 "$(wc -c <o)"
    assert_contains o "cut here"
    "$PILOT" logs --stderr a >o
    assert_file o short
}

test_merged_and_none() {
    make_tasks >tasks.jsonl
    expect 1 tasks.jsonl --output=merged --grace 0.2
    sort pilot_runs/little/stdout.txt >o
    assert_file o $'err\nout'
    assert_eq "stderr.txt" "" "$(find pilot_runs -name 'stderr*.txt')"
    assert_file pilot_runs/again/stdout.1.txt $'attempt 1\nwhy 1'
    assert_contains out "line 7" "pilot_runs/fails/stdout.txt"
    assert_contains pilot_runs/slow/stdout.txt before "timed out"
    expect 1 tasks.jsonl --output=none --workdir none --grace 0.2
    assert_eq "in the work directory" "state.db summary.json" "$(ls none | tr '\n' ' ' | sed 's/ $//')"
    assert_lacks out "logs"
    if "$PILOT" logs --workdir none little >o 2>e; then fail "there cannot be output"; fi
    assert_contains e "nothing was kept"
    expect 2 tasks.jsonl --output=some
    assert_contains err "files, packed, merged, none"
}

[ -n "$no_cluster" ] || cluster_up 2 2
run_tests "$@"
