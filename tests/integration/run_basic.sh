#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What it means to run a task: its output, environment, end, timeout, retries, and their record.
. "$(dirname "$0")/lib.sh"

test_output_goes_to_its_files_byte_by_byte() {
    cat >tasks.json <<'END'
[{"id": "both", "command": "echo out; echo err >&2"},
 {"id": "bytes", "command": "printf 'a\\000b\\377'"},
 {"id": "much", "command": "head -c 20000000 /dev/zero | tr '\\0' x"},
 {"id": "none", "command": "true"}]
END
    expect 0 tasks.json
    assert_file pilot_runs/both/stdout.txt out
    assert_file pilot_runs/both/stderr.txt err
    assert_eq bytes "6100 62ff" "$(od -An -tx1 pilot_runs/bytes/stdout.txt | tr -d ' ' | sed 's/....$/ &/')"
    assert_eq size 20000000 "$(stat -c %s pilot_runs/much/stdout.txt)"
    assert_eq size 0 "$(stat -c %s pilot_runs/none/stdout.txt)"
}

test_environment() {
    cat >tasks.json <<'END'
[{"id": "deep/task", "cores": 1, "env": {"A": "1 2", "B": "", "PATH_LIKE": "x:y"},
  "command": "env > env.txt; pwd"},
 {"id": "omp", "env": {"OMP_NUM_THREADS": "7"}, "command": "echo $OMP_NUM_THREADS"}]
END
    export INHERITED='from outside'
    expect 0 tasks.json
    assert_contains pilot_runs/deep/task/env.txt "PILOT_TASK_ID=deep/task" \
        "PILOT_TASK_DIR=$PWD/pilot_runs/deep/task" "PILOT_CORES=1" "PILOT_ATTEMPT=1" "PILOT_NODE=" \
        "PILOT_CPUS=" "OMP_NUM_THREADS=1" "A=1 2" "B=" "PATH_LIKE=x:y" "INHERITED=from outside"
    assert_file pilot_runs/deep/task/stdout.txt "$PWD/pilot_runs/deep/task"
    assert_file pilot_runs/omp/stdout.txt 7
}

test_workdir_and_stdin() {
    mkdir elsewhere
    echo 'some input' >input.txt
    cat >tasks.json <<END
[{"id": "w", "workdir": "$PWD/elsewhere", "command": "pwd; touch was_here"},
 {"id": "in", "stdin": "$PWD/input.txt", "command": "cat"},
 {"id": "noin", "command": "cat; echo end"},
 {"id": "nodir", "workdir": "$PWD/missing", "command": "true"},
 {"id": "nofile", "stdin": "$PWD/missing.txt", "command": "true"}]
END
    expect 1 tasks.json
    assert_file pilot_runs/w/stdout.txt "$PWD/elsewhere"
    [ -e elsewhere/was_here ] || fail "not in its workdir"
    assert_file pilot_runs/in/stdout.txt "some input"
    assert_file pilot_runs/noin/stdout.txt end
    assert_eq statuses "completed 3|failed 2" "$(statuses)"
    assert_eq reason spawn "$(sql "select reason from attempts where id = 'nodir'")"
    assert_eq reason spawn "$(sql "select reason from attempts where id = 'nofile'")"
    sql "select message from attempts where id = 'nodir'" | grep missing >/dev/null || fail "the message does not name the directory"
}

# With or without a shell, a command means what it means to sh -c.
test_commands_mean_what_they_mean_to_sh() {
    local i=0 line expected_status
    cat >commands <<'END'
true
false
exit 7
echo a  b   c
echo 'single  quoted' "double $HOME" back\ slash
echo $((6 * 7)) | cat
nosuchcommand_xyz
/etc/passwd
/nosuch/dir/program
/
FOO=bar env | grep ^FOO
FOO=bar
cd /tmp && pwd
echo *
echo ~
umask
: nothing
[ 1 = 2 ]
test -d /
command -v sh
echo -n x
printf '%s-' a b
kill -9 $$
(exit 9)
{ echo grouped; }
if true; then echo yes; fi
! true
echo $0
set -- a b; echo $2
ulimit -n >/dev/null; echo ok
exec echo replaced
echo "unicode: äöü €"
env -i /bin/echo clean
pwd >/dev/null
sh -c 'exit 5'
    echo leading blanks
echo tab	separated
echo a#b
=weird
echo {a,b}
echo a^b
echo "a`echo b`c"
echo one;
END
    python3 -c 'import json, sys
for i, line in enumerate(sys.stdin, 1):
    print(json.dumps({"id": "c%03d" % i, "command": line.rstrip("\n")}))' <commands >tasks.json
    pilot tasks.json
    assert_eq "exit status" 1 "$status"
    mkdir plain
    while IFS= read -r line; do
        i=$((i + 1))
        local id=c$(printf %03d $i)
        expected_status=0
        mkdir -p "plain/$id"
        (cd "plain/$id" && env -u OMP_NUM_THREADS sh -c "$line" >stdout.txt 2>/dev/null </dev/null) 2>/dev/null || expected_status=$?
        if [ "$line" != "echo *" ]; then
            cmp -s "plain/$id/stdout.txt" "pilot_runs/$id/stdout.txt" ||
                fail "'$line' printed '$(cat "pilot_runs/$id/stdout.txt")' instead of '$(cat "plain/$id/stdout.txt")'"
        fi
        local got
        got=$(sql "select coalesce(exit_code, 128 + signal) from attempts where id = '$id'")
        assert_eq "status of '$line'" "$expected_status" "$got"
    done <commands
}

test_argument_lists_meet_no_shell() {
    cat >tasks.json <<'END'
[{"id": "a", "command": ["printf", "[%s]", "two words", "$HOME", "*", "", "a\"b'c"]},
 {"id": "b", "command": ["nosuchcommand_xyz"]}]
END
    expect 1 tasks.json
    assert_file pilot_runs/a/stdout.txt "[two words][\$HOME][*][][a\"b'c]"
    assert_eq b failed "$(task_status b)"
}

# A family that is hard to kill: one that ignores TERM, one in a session of its own, one forked
# twice, one stopped.
FAMILY='trap "" TERM; setsid sleep 301 & (sleep 302 & exec setsid sleep 303) & (setsid sh -c "sleep 304 & sleep 305" &); sh -c "kill -STOP \$\$" & touch up; while :; do sleep 1; done'

test_timeout_leaves_nothing() {
    cat >tasks.json <<END
[{"id": "family", "timeout": 1, "command": $(python3 -c 'import json, sys; print(json.dumps(sys.argv[1]))' "$FAMILY")}]
END
    local start=$SECONDS
    expect 1 --grace 1 tasks.json
    assert_between "seconds it took" 1 8 $((SECONDS - start))
    assert_eq status failed "$(task_status family)"
    assert_eq reason timeout "$(sql "select reason from attempts")"
    assert_nothing_left 5
}

test_timeout_lets_a_task_clean_up() {
    cat >tasks.json <<'END'
[{"id": "t", "timeout": 0.5, "command": "trap 'echo cleaned; exit 9' TERM; touch up; while :; do sleep 0.1; done"}]
END
    expect 1 tasks.json
    assert_file pilot_runs/t/stdout.txt cleaned
    assert_eq reason timeout "$(sql "select reason from attempts")"
    assert_between "seconds it ran" 0.45 4 "$(sql "select finished_at - started_at from attempts")"
}

test_background_children_neither_hang_the_pilot_nor_stay() {
    cat >tasks.json <<'END'
[{"id": "holds", "command": "sleep 305 & echo early"},
 {"id": "daemon", "command": "setsid sh -c 'sleep 306' & echo done"}]
END
    PILOT_DEADLINE=60 expect 0 --grace 1 tasks.json
    assert_file pilot_runs/holds/stdout.txt early
    assert_file pilot_runs/daemon/stdout.txt done
    assert_nothing_left 5
}

test_retries_are_recorded() {
    cat >tasks.json <<'END'
[{"id": "third", "max_retries": 3, "command": "echo attempt $PILOT_ATTEMPT; [ $PILOT_ATTEMPT = 3 ] || exit 1$PILOT_ATTEMPT"},
 {"id": "never", "max_retries": 1, "command": "exit 5"},
 {"id": "killed", "max_retries": 1, "command": "kill -SEGV $$"},
 {"id": "behind", "depends_on": ["third"], "command": "true"},
 {"id": "lost1", "depends_on": ["never"], "command": "true"},
 {"id": "lost2", "depends_on": ["lost1", "third"], "command": "true"}]
END
    expect 1 tasks.json
    assert_eq statuses "completed 2|failed 2|skipped 2" "$(statuses)"
    assert_eq attempts "1:11 2:12 3:0 " "$(sql "select attempt || ':' || exit_code from attempts where id = 'third' order by attempt" | tr '\n' ' ')"
    assert_eq attempts 3 "$(sql "select attempts from tasks where id = 'third'")"
    assert_eq attempts 2 "$(sql "select count(*) from attempts where id = 'never' and exit_code = 5")"
    assert_eq signals "11 11 " "$(sql "select signal from attempts where id = 'killed' and reason = 'signal'" | tr '\n' ' ')"
    assert_file pilot_runs/third/stdout.txt "attempt 3"
    assert_contains out "retry 1/3" "retry 2/3" "retry 1/1"
}

test_what_an_attempt_used_is_recorded() {
    cat >tasks.json <<'END'
[{"id": "busy", "command": "python3 -c 'import time\nx = bytearray(80 << 20)\nwhile time.process_time() < 0.6: pass'"},
 {"id": "idle", "command": "sleep 0.5"}]
END
    expect 0 tasks.json
    assert_between "CPU of busy" 0.55 3 "$(sql "select user_seconds + sys_seconds from attempts where id = 'busy'")"
    assert_between "CPU of idle" 0 0.2 "$(sql "select user_seconds + sys_seconds from attempts where id = 'idle'")"
    assert_between "memory of busy (KiB)" 80000 200000 "$(sql "select max_rss_kib from attempts where id = 'busy'")"
    assert_between "time of idle" 0.45 3 "$(sql "select finished_at - started_at from attempts where id = 'idle'")"
    assert_eq nodes 1 "$(sql "select count(distinct node) from attempts where node is not null")"
    assert_eq "CPUs recorded" 2 "$(sql "select count(*) from attempts where cpus != ''")"
    assert_between "start within the last minutes" $(($(date +%s) - 300)) "$(date +%s.9)" "$(sql "select max(started_at) from tasks")"
}

test_priority_then_file_order() {
    printf '%s\n' '{"id": "a", "command": "echo a >> ../order"}' '{"id": "b", "command": "echo b >> ../order"}' \
        '{"id": "hi", "priority": 7, "command": "echo hi >> ../order"}' \
        '{"id": "lo", "priority": -7, "command": "echo lo >> ../order"}' \
        '{"id": "c", "command": "echo c >> ../order"}' >tasks.json
    expect 0 --cores 1 tasks.json
    assert_eq order "hi a b c lo" "$(tr '\n' ' ' <pilot_runs/order | sed 's/ $//')"
}

test_dependencies_wait() {
    cat >tasks.json <<'END'
[{"id": "last", "depends_on": ["m1", "m2"], "priority": 9, "command": "cat ../m1/f ../m2/f"},
 {"id": "m1", "depends_on": ["first"], "command": "sleep 0.3; echo 1 > f"},
 {"id": "m2", "depends_on": ["first"], "command": "cat ../first/f > f"},
 {"id": "first", "command": "sleep 0.3; echo 0 > f"}]
END
    expect 0 tasks.json
    assert_file pilot_runs/last/stdout.txt "1
0"
}

# 1,000 tasks that each would be slow to start one after the other: a smoke test of the whole chain.
test_a_thousand_tasks() {
    for i in $(seq 1000); do echo "true"; done >tasks.txt
    expect 0 tasks.txt
    assert_eq statuses "completed 1000" "$(statuses)"
    assert_eq attempts 1000 "$(sql 'select count(*) from attempts')"
    assert_nothing_left 5
}

# The pilot's own processes ask the kernel's scheduler for short slices. Tasks must not have them.
test_a_task_is_scheduled_as_it_would_be_without_the_pilot() {
    cat >slice.py <<'END'
import ctypes, platform, sys
number = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
attr = (ctypes.c_uint64 * 6)()
if number is None or ctypes.CDLL(None).syscall(number, 0, attr, 48, 0) != 0:
    sys.exit("sched_getattr is not available")
print("policy and flags %d %d, nice and priority %d, slice %d" % tuple(attr[:4]))
END
    python3 slice.py >outside || { echo "  SKIP: sched_getattr is not available to a script here" && return; }
    echo "python3 $PWD/slice.py" >tasks.txt
    expect 0 tasks.txt
    assert_file pilot_runs/1/stdout.txt "$(cat outside)"
}

run_tests "$@"
