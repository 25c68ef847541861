#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A damaged state database: noticed, refused with what to do, recovered, and gone on with.
# (Damage of every kind, from seeds, is in tests/unit/test_store_recover.c.)
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3
need python3 python3

DB=pilot_runs/state.db

# A run that was killed when 200 of 300 tasks were done; each adds a line to ran. Tasks depend on the
# one before them in blocks of fifty.
killed_run() {
    local i
    for i in $(seq 0 299); do
        echo "{\"id\": \"t$i\", \"command\": \"echo t$i >>../ran; [ $i -lt 200 ] || [ -e ../go ] || sleep 99\"$([ $((i % 50)) = 0 ] || echo ", \"depends_on\": [\"t$((i - 1))\"]")}"
    done >tasks.json
    pilot_start tasks.json --cores 8
    must_wait_until 60 done_200
    kill -9 "$pilot_pid"
    pilot_wait 10
    assert_nothing_left
    touch pilot_runs/go
}
done_200() { [ "$(sql "select count(*) from tasks where status = 'completed'" 2>/dev/null)" = 200 ]; }

# Takes the log into the file, as sqlite3 does when it is the last to close it.
take_log_in() { sqlite3 $DB 'pragma wal_checkpoint(truncate)' >/dev/null; }

overwrite() { # OFFSET BYTES
    python3 -c 'import sys, random
random.seed(1)
f = open(sys.argv[1], "r+b"); f.seek(int(sys.argv[2])); f.write(random.randbytes(int(sys.argv[3])))' $DB "$1" "$2"
}

refused() {
    cp $DB before.db
    expect 4 --resume
    assert_contains err "pilot-mpi recover"
    cmp $DB before.db || fail "what was refused was changed"
}

test_a_damaged_page_costs_only_its_tasks_and_the_file_brings_them_back() {
    local page bytes
    killed_run
    take_log_in
    # A page in the middle of the tasks' rows.
    bytes=$(sqlite3 $DB "pragma page_size")
    page=$(sqlite3 $DB "select pageno from dbstat where name = 'tasks' and pagetype = 'leaf' order by path limit 1 offset 5")
    overwrite $(((page - 1) * bytes)) "$bytes"
    refused
    assert_contains err "damaged"
    pilot recover
    assert_eq "exit status of a recovery in part" 1 "$status"
    assert_contains out "Could not be read:" "--resume FILE" "Old: "
    cp out recovered
    lost=$(grep -cE "^  task number [0-9]+ 't[0-9]+'" recovered)
    assert_between "lost tasks, by name" 1 80 "$lost"
    assert_contains recovered "Missing: $lost tasks."
    cmp $DB.damaged before.db || fail "the damaged file was changed"
    assert_eq "tasks kept" $((300 - lost)) "$(sql 'select count(*) from tasks')"
    # Their dependents are there: without the file it is no use.
    expect 2 --resume --cores 8
    assert_contains err "which is not in the state database" "--resume FILE"
    sql "select id from tasks where status = 'completed'" | sort >completed
    sort pilot_runs/ran | uniq -c >ran_before
    expect 0 --resume tasks.json --cores 8
    assert_eq statuses "completed 300" "$(statuses)"
    sort pilot_runs/ran | uniq -c >ran_after
    grep -wFf completed ran_before >must || true
    grep -wFf completed ran_after >is || true
    cmp must is || fail "what is known to have completed ran again"
}

test_a_file_without_its_beginning_is_recovered_whole() {
    killed_run
    take_log_in
    overwrite 0 "$(sqlite3 $DB "pragma page_size")"
    refused
    pilot recover --db $DB -o new.db
    assert_eq "exit status" 0 "$status"
    assert_contains out "Recovered: 300 tasks (200 completed)" "--resume --db new.db"
    cmp $DB before.db || fail "the damaged file was changed"
    assert_absent new.db.work
    expect 0 --resume --db new.db --cores 8
    assert_eq statuses "completed 300" "$(statuses new.db)"
}

# The tasks of the first run are in the file, those of the second only in its log.
test_a_lost_log_is_noticed() {
    for i in 1 2 3; do echo "{\"id\": \"a$i\", \"command\": \"true\"}"; done >first.json
    echo '{"id": "b", "command": "[ -e ../go ] || { touch ../started; sleep 99; }"}' >second.json
    expect 0 first.json
    pilot_start --resume second.json
    must_wait_until 30 test -e pilot_runs/started
    kill -9 "$pilot_pid"
    pilot_wait 10
    touch pilot_runs/go
    [ -s $DB-wal ] || fail "there is no log to lose"
    rm $DB-wal
    refused
    assert_contains err "newest transactions are missing"
    refused # and again
    pilot recover
    assert_eq "exit status" 1 "$status"
    assert_contains out "newest transactions" "Recovered: 3 tasks (3 completed)"
    expect 0 --resume second.json
    assert_eq statuses "completed 4" "$(statuses)"
}

test_what_cannot_be_recovered_is_said() {
    expect 2 recover
    assert_contains err "nothing to recover: there is no ./pilot_runs/state.db"
    mkdir pilot_runs
    head -c 50000 /dev/urandom >$DB
    expect 4 recover
    assert_contains err "no task can be read"
    expect 2 recover --db $DB -o $DB
    assert_contains err "exists"
    expect 2 recover -x
    [ "$(find pilot_runs -name 'state.db*' | wc -l)" = 1 ] || fail "files left: $(ls pilot_runs)"
    echo '{"id": "a", "command": "until [ -e ../go ]; do sleep 0.05; done; touch ../went"}' >tasks.json
    rm -r pilot_runs
    pilot_start tasks.json
    must_wait_until 20 test -d pilot_runs/a
    mv out run.out && mv err run.err
    expect 2 recover
    assert_contains err "in use by another pilot"
    touch pilot_runs/go
    pilot_wait 20
    assert_eq "exit status" 0 "$status"
}

run_tests "$@"
