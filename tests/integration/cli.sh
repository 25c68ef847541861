#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The command line: options, forms of input, exit statuses, and what a person sees.
. "$(dirname "$0")/lib.sh"

# Nothing was made: not even the work directory.
assert_untouched() {
    assert_absent pilot_runs
    assert_absent state.db
}

test_version() {
    expect 0 --version
    grep -qE '^pilot-mpi [0-9]+\.[0-9]+\.[0-9]+$' out || fail "--version says: $(cat out)"
    assert_untouched
}

test_help_lists_every_option_and_exit_status() {
    local option code
    expect 0 --help
    for option in --tasks --cores --workdir --db --resume --fresh --retry-failed --rerun-changed \
        --max-workers --max-failures --dry-run --head-only --use-hyperthreads --no-pin --keep-env \
        --grace --quiet --verbose --version --help; do
        assert_contains out "$option"
    done
    for code in 0 1 2 3 4; do
        grep -qE "^ +$code +[a-zA-Z]" out || fail "--help does not explain exit status $code"
    done
    assert_untouched
}

# One line on standard error that names what was wrong; status 2; nothing was run.
test_wrong_options() {
    local line word args
    echo 'touch ran' >tasks.txt
    # what the message must name | arguments
    while IFS='|' read -r word args; do
        # shellcheck disable=SC2086
        expect 2 $args
        assert_eq "lines of error for '$args'" 1 "$(wc -l <err)"
        line=$(cat err)
        case $line in *"$word"*) ;; *) fail "'$args': the message does not name '$word': $line" ;; esac
        assert_eq "output for '$args'" "" "$(cat out)"
        assert_untouched
    done <<'END'
--frobnicate|--frobnicate tasks.txt
--cores|--coers 4 tasks.txt
-z|-z tasks.txt
--cores|tasks.txt --cores
--cores|--cores 0 tasks.txt
--cores|--cores -1 tasks.txt
--cores|--cores abc tasks.txt
--cores|--cores 4x tasks.txt
--cores|--cores 99999999999999999999 tasks.txt
--max-workers|--max-workers many tasks.txt
--max-failures|--max-failures -3 tasks.txt
--grace|--grace soon tasks.txt
--quiet|--quiet=1 tasks.txt
--fresh|--resume --fresh tasks.txt
task|
END
}

test_missing_file_is_bad_input() {
    expect 2 nosuchfile.json
    assert_contains err nosuchfile.json
    expect 2 .
    # The mistake has no consequences.
    echo 'echo hi' >tasks.txt
    expect 0 tasks.txt
    assert_file pilot_runs/1/stdout.txt hi
}

# "a word" for each id that ran, sorted.
ran() { (cd "${1:-pilot_runs}" && for d in *; do [ -f "$d/stdout.txt" ] && echo "$d $(cat "$d/stdout.txt")"; done | sort | tr '\n' ';'); }

test_forms_of_input() {
    local form
    echo '[{"id": "a", "command": "echo one"}, {"id": "b", "command": ["echo", "two"], "cores": 1}]' >array
    echo '{"defaults": {"env": {"W": "one"}}, "tasks": [{"id": "a", "command": "echo $W"},
        {"id": "b", "command": "echo $W", "env": {"W": "two"}}]}' >object
    printf '%s\n' '{"id": "a", "command": "echo one"}' '' '{"id": "b", "command": "echo two"}' >lines
    for form in array object lines; do
        expect 0 --workdir "$form.runs" "$form"
        assert_eq "$form" "a one;b two;" "$(ran "$form.runs")"
        expect 0 --workdir "$form.stdin" - <"$form"
        assert_eq "$form on stdin" "a one;b two;" "$(ran "$form.stdin")"
        expect 0 --workdir "$form.tasks" --tasks "$form"
        assert_eq "$form by --tasks" "a one;b two;" "$(ran "$form.tasks")"
    done
    printf '# a comment\necho one\n\n  # another\necho two | cat' >list
    expect 0 --workdir list.runs list
    assert_eq list "1 one;2 two;" "$(ran list.runs)"
    expect 0 --workdir list.stdin - <list
    assert_eq "list on stdin" "1 one;2 two;" "$(ran list.stdin)"
}

test_an_empty_file_is_a_mistake_and_an_empty_list_is_none() {
    local content
    for content in '[]' '{"tasks": []}'; do
        echo "$content" >f
        expect 0 --fresh f
        assert_contains out "Completed: 0 | Failed: 0"
    done
    : >f
    expect 2 --fresh f
    assert_eq "lines of error" 1 "$(wc -l <err)"
    assert_contains err "f: "
}

test_places() {
    local d
    echo 'echo hi' >tasks.txt
    expect 0 tasks.txt
    assert_file pilot_runs/1/stdout.txt hi
    assert_file pilot_runs/1/stderr.txt ""
    assert_eq state "completed 1" "$(statuses)"
    mkdir sub
    expect 0 --workdir deep/er/runs --db sub/my.db tasks.txt
    assert_file deep/er/runs/1/stdout.txt hi
    assert_eq state "completed 1" "$(statuses sub/my.db)"
    assert_absent deep/er/runs/state.db
    # An absolute one, and one with odd characters.
    d="$PWD/with space & 'quote'"
    expect 0 "--workdir=$d" tasks.txt
    assert_file "$d/1/stdout.txt" hi
}

test_dry_run_runs_nothing() {
    printf 'touch ran\n%.0s' 1 2 3 >tasks.txt
    expect 0 --dry-run tasks.txt
    assert_contains out 3
    assert_untouched
    echo '[{"id": "x", "cores": 0, "command": "true"}]' >bad.json
    expect 2 --dry-run bad.json
    assert_contains err bad.json "'x'" cores
    assert_untouched
}

test_failures_give_status_1_and_are_shown() {
    cat >tasks.json <<'END'
[{"id": "good", "command": "true"},
 {"id": "bad", "command": "echo 'reason of the failure' >&2; exit 3"},
 {"id": "behind", "command": "true", "depends_on": ["bad"]}]
END
    expect 1 tasks.json
    assert_contains out "Completed: 1" "Failed: 1" bad "reason of the failure"
    assert_eq statuses "completed 1|failed 1|skipped 1" "$(statuses)"
    assert_eq "exit code" 3 "$(sql "select exit_code from tasks where id = 'bad'")"
    assert_eq summary "1 1 1" "$(json pilot_runs/summary.json '"%d %d %d" % (d["completed"], d["failed"], d["skipped"])')"
    json pilot_runs/summary.json 'd["wall_time"] >= 0' | grep True >/dev/null
}

test_summary_line() {
    printf 'true\ntrue\n' >tasks.txt
    expect 0 tasks.txt
    grep -qE 'Completed: 2 \| Failed: 0 \| Wall time: [0-9.]+s \| CPU time: [0-9.]+s' out ||
        fail "no summary line"
}

test_pipe_gets_plain_lines_with_time_stamps() {
    echo '[{"id": "T100", "command": "true"}, {"id": "T200", "command": "exit 3"}]' >tasks.json
    expect 1 tasks.json
    grep -qE '[0-9]{2}:[0-9]{2}:[0-9]{2}.*▶ T100 \(1c\)' out || fail "no line of T100's start"
    grep -qE '[0-9]{2}:[0-9]{2}:[0-9]{2}.*✓ T100 \([0-9.]+s\)' out || fail "no line of T100's end"
    grep -qE '[0-9]{2}:[0-9]{2}:[0-9]{2}.*✗ T200 exit 3, see .*T200/stderr.txt' out || fail "no line of T200's failure"
    if grep -q $'\033\|\r' out; then fail "escape sequences in a pipe"; fi
}

test_terminal_has_a_live_line() {
    printf 'sleep 1.5\n' >tasks.txt
    python3 - "$PILOT" <<'END' || fail "see above"
import fcntl, os, pty, re, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    os.execv(sys.argv[1], [sys.argv[1], "tasks.txt"])
text = b""
while True:
    try:
        piece = os.read(fd, 65536)
    except OSError:
        break
    if not piece:
        break
    text += piece
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
raw = text.decode()
text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw)  # colours and the like
open("terminal.log", "w").write(text)
problems = []
if status != 0:
    problems.append(f"status {status}")
for wanted in ("▶ 1 (1c)", "✓ 1 (1.", "Completed: 1"):
    if wanted not in text:
        problems.append(f"no '{wanted}'")
if "\x1b" in text:
    problems.append("escape sequences that are not for the screen")
if "\r" not in raw.replace("\r\n", "\n"):
    problems.append("no live line")
if problems:
    sys.exit("on a terminal: " + ", ".join(problems))
END
}

test_quiet_and_verbose() {
    printf 'true\necho x\n' >tasks.txt
    expect 0 --quiet tasks.txt
    assert_eq "lines with --quiet" 1 "$(wc -l <out)"
    assert_contains out "Completed: 2"
    assert_eq "errors" "" "$(cat err)"
    for _ in $(seq 500); do echo true; done >many.txt
    expect 0 --fresh --verbose many.txt
    assert_eq "lines of ends with --verbose" 500 "$(grep -c '✓' out)"
}

test_max_workers() {
    local at_once
    for i in 1 2 3 4; do echo '{"command": "sleep 0.2"}'; done >tasks.json
    expect 0 --cores 4 --max-workers 1 tasks.json
    at_once=$(sql "select max((select count(*) from attempts b where b.started_at <= a.started_at and b.finished_at > a.started_at)) from attempts a")
    assert_eq "tasks at once" 1 "$at_once"
}

test_max_failures_stops_and_resume_goes_on() {
    {
        echo '{"id": "a", "command": "exit 1", "priority": 5}'
        for i in $(seq 20); do echo "{\"id\": \"t$i\", \"command\": \"echo x >> ../count\"}"; done
    } >tasks.json
    expect 3 --cores 1 --max-failures 1 tasks.json
    assert_eq "a" failed "$(task_status a)"
    [ "$(sql "select count(*) from tasks where status = 'pending'")" -gt 0 ] || fail "it did not stop"
    expect 1 --resume
    assert_eq "statuses" "completed 20|failed 1" "$(statuses)"
    assert_eq "runs" 20 "$(wc -l <pilot_runs/count)"
}

test_signals_stop_it_with_status_3() {
    local sig
    for sig in INT TERM; do
        rm -rf pilot_runs
        printf 'touch ../started; exec sleep 300\n' >tasks.txt
        pilot_start tasks.txt
        must_wait_until 20 test -e pilot_runs/started
        kill -$sig "$pilot_pid"
        pilot_wait 20
        assert_eq "status after SIG$sig" 3 "$status"
        grep -q -e --resume out err || fail "it does not say how to go on"
        assert_eq "state" "pending 1" "$(statuses)"
        assert_nothing_left
    done
}

test_unusable_state_gives_status_4() {
    echo 'touch ran' >tasks.txt
    expect 4 --db /proc/pilot.db tasks.txt
    assert_contains err /proc/pilot.db
    assert_absent pilot_runs/1/ran
    echo 'this is no database, whatever its name says; it is longer than a header' >my.db
    pilot --db my.db tasks.txt
    case $status in 2 | 4) ;; *) fail "status $status for a file that is no database" ;; esac
    assert_contains err my.db
    assert_contains my.db "no database"
}

test_unusable_workdir() {
    echo 'true' >tasks.txt
    touch file
    pilot --workdir file tasks.txt
    case $status in 2 | 4) ;; *) fail "status $status" ;; esac
    assert_contains err file
}

test_no_pin_and_keep_env() {
    cat >tasks.txt <<'END'
echo "cpus=${PILOT_CPUS:-none} allowed=$(grep Cpus_allowed_list /proc/self/status | cut -f2)"
echo "jobid=${SLURM_JOBID:-none} ompi=${OMPI_COMM_WORLD_FAKE:-none} mine=${MY_OWN:-none}"
END
    export SLURM_JOBID=77 OMPI_COMM_WORLD_FAKE=1 MY_OWN=yes
    expect 0 --cores 1 tasks.txt
    assert_contains pilot_runs/2/stdout.txt "jobid=none ompi=none mine=yes"
    [ "$(cores_here)" = 1 ] || assert_lacks pilot_runs/1/stdout.txt "allowed=$(grep Cpus_allowed_list /proc/self/status | cut -f2)"
    expect 0 --fresh --no-pin --keep-env tasks.txt
    assert_contains pilot_runs/1/stdout.txt "cpus=none allowed=$(grep Cpus_allowed_list /proc/self/status | cut -f2)"
    assert_contains pilot_runs/2/stdout.txt "jobid=77 ompi=1 mine=yes"
}

test_more_cores_than_there_are_means_no_pinning_said_once() {
    local cores=$(($(cores_here) + 2))
    for i in $(seq $cores); do
        echo "touch ../here.$i; for i in \$(seq 200); do [ \$(ls .. | grep -c here) = $cores ] && exit 0; sleep 0.05; done; exit 1"
    done >tasks.txt
    # Each task waits for all others: it ends only if all run at once.
    expect 0 --cores "$cores" tasks.txt
    assert_eq "pinned attempts" 0 "$(sql "select count(*) from attempts where coalesce(cpus, '') != ''")"
    cat out err | grep -iq 'pin' || fail "it does not say that tasks are not pinned"
}

run_tests "$@"
