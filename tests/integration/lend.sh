#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Short tasks are sent ahead to slots that still run another: it saves time, and nobody may notice.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lend_common.sh"

slots_idle() {
    local slot
    for slot in $(children_named "$(children_named "$pilot_pid" pilot-guardian)" pilot-slot); do
        [ -z "$(pgrep -P "$slot")" ] || return 1
    done
}

# Stops the pilot itself for a while: how many begin meanwhile. (Or had begun just before, and have
# not said so yet.)
begun_while_stopped() {
    local before
    kill -STOP "$pilot_pid"
    before=$(begun)
    must_wait_until 10 slots_idle
    echo $(($(begun) - before))
    kill -CONT "$pilot_pid"
}

# In one of five tries.
see_begin() { # LOW HIGH
    local n
    for _ in 1 2 3 4 5; do
        must_wait_until 30 at_least_begun $(($(begun) + 20))
        n=$(begun_while_stopped)
        if [ "$n" -ge "$1" ] && [ "$n" -le "$2" ]; then return; fi
    done
    fail "$n begun while the pilot was stopped, expected $1 to $2"
}

# While the pilot itself is stopped, each slot ends what it runs and begins what it was lent.
test_the_next_begins_without_the_pilot() {
    journal_tasks 400 >tasks.jsonl
    pilot_start --cores $CORES tasks.jsonl
    must_wait_until 30 at_least_begun 50
    see_begin 1 $((2 * CORES))
    pilot_wait 60
    assert_eq status 0 "$status"
    assert_eq statuses "completed 400" "$(statuses)"
    assert_eq attempts 400 "$(sql "select count(*) from attempts")"
    check_journal
}

# The same with tasks of some ms: several are there.
begun_since_stop() {
    : >stamp
    kill -STOP "$pilot_pid"
    must_wait_until 10 slots_idle
    find journal -type f -newer stamp | wc -l
    kill -CONT "$pilot_pid"
}

test_several_begin_without_the_pilot() {
    local n=0
    journal_tasks 3000 "; sleep 0.001" >tasks.jsonl
    pilot_start --cores $CORES tasks.jsonl
    must_wait_until 30 at_least_begun 100
    for ((try = 1; try <= 10 && n < 3 * CORES; try++)); do
        n=$(begun_since_stop)
        must_wait_until 30 at_least_begun $(($(begun) + 20))
    done
    pilot_wait 60
    # Who takes more than 10 ms is not lent in numbers.
    took=$(sql "select cast(avg(finished_at - started_at) * 1000 as integer) from attempts")
    if [ "$n" -lt $((3 * CORES)) ] && [ "$took" -ge 8 ]; then
        echo "  not looked at: how many begin, since they take $took ms here"
    elif [ "$n" -lt $((3 * CORES)) ]; then
        fail "only $n begun while the pilot was stopped, though they take $took ms"
    fi
    assert_eq status 0 "$status"
    assert_eq statuses "completed 3000" "$(statuses)"
    assert_eq attempts 3000 "$(sql "select count(*) from attempts")"
    check_journal
}

# Who ended the last pilot is being looked for: starts are stored first, and none is sent ahead.
test_nothing_ahead_after_an_end_without_a_word() {
    journal_tasks 400 >tasks.jsonl
    pilot_start --cores $CORES tasks.jsonl
    must_wait_until 30 at_least_begun 50
    kill -9 "$pilot_pid"
    pilot_wait 10
    assert_nothing_left
    pilot_start --resume --cores $CORES
    see_begin 0 0
    pilot_wait 60
    assert_eq status 0 "$status"
    assert_eq statuses "completed 400" "$(statuses)"
}

# One that takes long keeps nobody: what was lent behind it is started elsewhere.
test_nothing_short_waits_behind_a_long_one() {
    for ((i = 1; i <= 3000; i++)); do
        case $i in
            300 | 1500) echo sleep 3 ;;
            *) echo true ;;
        esac
    done >tasks.txt
    expect 0 --cores $CORES tasks.txt
    assert_eq statuses "completed 3000" "$(statuses)"
    assert_eq attempts 3000 "$(sql "select count(*) from attempts")"
    # In the order of the file, nobody begins long after those behind it.
    sql "select cast(a.started_at * 1000 as integer) from attempts a join tasks t on a.id = t.id order by t.seq" >starts
    awk '{ start[NR] = $1 }
        END { for (i = 1; i + 20 <= NR; i++) if (start[i] - start[i + 20] > 1500) { print "task", i, "began", start[i] - start[i + 20], "ms after task", i + 20; bad = 1 } exit bad }' starts >late ||
        fail "$(head -n 5 late)"
}

test_stopped_and_resumed() {
    journal_tasks 300 >tasks.jsonl
    pilot_start --cores $CORES tasks.jsonl
    must_wait_until 30 at_least_begun 50
    kill -TERM "$pilot_pid"
    pilot_wait 30
    assert_eq status 3 "$status"
    check_journal
    expect 0 --resume --cores $CORES
    assert_eq statuses "completed 300" "$(statuses)"
    check_journal
}

# When it has failed often enough, what is lent comes back.
test_drained() {
    journal_tasks 600 >tasks.jsonl
    echo '{"id": "bad", "priority": 1, "command": "while [ $(ls '"$PWD"'/journal | wc -l) -lt 60 ]; do sleep 0.02; done; false"}' >>tasks.jsonl
    expect 3 --cores $CORES --max-failures 1 tasks.jsonl
    assert_eq failed 1 "$(sql "select count(*) from tasks where status = 'failed'")"
    assert_eq "lent and lost" 0 "$(sql "select count(*) from attempts where reason not in ('exit')")"
    check_journal
}

# Cancelled in the order in which they would run: some of them are lent just then.
test_cancelled_while_lent() {
    cat >hook.py <<'END'
import json, sys
next_one = 60
for line in sys.stdin:
    event = json.loads(line)
    if event["event"] != "ended":
        continue
    answer = {"ack": event["seq"]}
    if event["result"]["status"] == "completed" and next_one < 300:
        now = max(next_one, event["counts"]["completed"])
        answer["cancel"] = ["t%d" % i for i in range(now, now + 8)]
        next_one = now + 10
    print(json.dumps(answer), flush=True)
END
    journal_tasks 400 >tasks.jsonl
    expect 1 --cores $CORES --on-complete "python3 hook.py" tasks.jsonl
    assert_eq unfinished 0 "$(sql "select count(*) from tasks where status not in ('completed', 'cancelled')")"
    assert_between cancelled 50 300 "$(sql "select count(*) from tasks where status = 'cancelled'")"
    # One that had begun has an attempt that was cancelled, and no other has one.
    assert_eq "without their attempt" 0 "$(sql "select count(*) from tasks t where status = 'cancelled' and attempts != (select count(*) from attempts a where a.id = t.id and reason = 'cancel')")"
    check_journal
}

test_slot_killed() {
    local slot
    journal_tasks 400 >tasks.jsonl
    pilot_start --cores $CORES tasks.jsonl
    must_wait_until 30 at_least_begun 50
    slot=$(children_named "$(children_named "$pilot_pid" pilot-guardian)" pilot-slot)
    kill -9 "${slot%%$'\n'*}"
    pilot_wait 60
    assert_eq status 0 "$status"
    assert_eq statuses "completed 400" "$(statuses)"
    assert_between lost 1 2 "$(sql "select count(*) from attempts where reason = 'lost'")"
    check_journal
}

# With queues, and ends that were not told: what it had is run again, and known once.
test_slot_killed_with_short_tasks() {
    local slot
    journal_tasks 4000 "" >tasks.jsonl
    pilot_start --cores $CORES tasks.jsonl
    for ((i = 1; i <= 3; i++)); do
        must_wait_until 30 at_least_begun $((i * 300))
        slot=$(children_named "$(children_named "$pilot_pid" pilot-guardian)" pilot-slot)
        kill -9 "${slot%%$'\n'*}"
    done
    pilot_wait 60
    assert_eq status 0 "$status"
    assert_eq statuses "completed 4000" "$(statuses)"
    assert_between lost 3 51 "$(sql "select count(*) from attempts where reason = 'lost'")"
    assert_eq "lost more than twice" 0 "$(sql "select count(*) from (select id from attempts where reason = 'lost' group by id having count(*) > 2)")"
    assert_eq "completed twice" 0 "$(sql "select count(*) from (select id from attempts where reason = 'exit' group by id having count(*) > 1)")"
    check_journal
}

# In the middle of a queue, most of them.
test_cancelled_short_tasks() {
    cat >hook.py <<'END'
import json, sys
completed = 0
for line in sys.stdin:
    event = json.loads(line)
    if event["event"] != "ended":
        continue
    answer = {"ack": event["seq"]}
    completed += event["result"]["status"] == "completed"
    if completed % 10 == 0:
        # Some of the next, and more further on: how late the hook is told is not its own doing.
        ended = event["counts"]["completed"] + event["counts"]["cancelled"]
        answer["cancel"] = ["t%d" % i for i in [*range(ended + 1, ended + 40, 3), *range(ended + 40, ended + 400, 30)] if i <= 2000]
    print(json.dumps(answer), flush=True)
END
    journal_tasks 2000 "" >tasks.jsonl
    expect 1 --cores $CORES --on-complete "python3 hook.py" tasks.jsonl
    assert_eq unfinished 0 "$(sql "select count(*) from tasks where status not in ('completed', 'cancelled')")"
    assert_between cancelled 20 1900 "$(sql "select count(*) from tasks where status = 'cancelled'")"
    check_journal
    # Cancelled without an attempt: it has not run.
    for id in $(sql "select id from tasks where status = 'cancelled' and attempts = 0"); do
        [ ! -e "journal/$id" ] || fail "$id has run, and the state does not know"
    done
}

run_tests "$@"
