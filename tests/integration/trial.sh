#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A task that ends the pilot itself, and with it all that runs on the pilot's node, is found out: it fails
# with reason "lost", and what ran beside it completes. People may kill a pilot as often as they like
# without any task failing for it.
#
# --lost-after is the longest wait of a trial; PILOT_TEST_SEED: the moments of kills (printed).
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3
SEED=${PILOT_TEST_SEED:-$RANDOM}
ROUNDS=12

# What kills the pilot, its guardian and its slots at once, as the end of their node would, so that nobody is
# left who could say anything. Its own slot comes last: the task dies with that. The pilot is first, and nothing
# is started for it: it has to be quicker than a commit.
make_killer() {
    cat >kill_all <<'EOF'
#!/bin/sh
read -r _ _ _ guardian _ <"/proc/$PPID/stat"
read -r _ _ _ pilot _ <"/proc/$guardian/stat"
kill -9 "$pilot"
read -r slots <"/proc/$guardian/task/$guardian/children"
for slot in $guardian $slots; do [ "$slot" = $PPID ] || kill -9 "$slot"; done
kill -9 $PPID
EOF
    chmod +x kill_all
}

until_it_ends_by_itself() { # COMMAND...: the first run and resumes; sets $rounds
    local more=(tasks.json)
    for rounds in $(seq $ROUNDS); do
        status=0
        (timeout -k 5 60 "$@" "${more[@]}" >out 2>err </dev/null; exit $?) 2>/dev/null || status=$?
        cat out err >>all.log
        assert_nothing_left
        [ -z "${CLUSTER_UP:-}" ] || must_wait_until 30 no_jobs
        [ ! -e pilot_runs/summary.json ] || return 0
        more=(--resume)
    done
    fail "after $ROUNDS rounds it still does not end by itself"
}

# The culprit kills at once, when neither its start nor the end of what it waited for can have been stored, since
# one of the three long tasks beside it, which are killed with it each time, locks the state then.
test_a_task_that_kills_the_pilot_fails() {
    local i
    make_killer
    {
        for i in 1 2; do echo "{\"id\": \"long$i\", \"command\": \"sleep 1; echo done\"}"; done
        echo '{"id": "locker", "command": "(echo \"BEGIN IMMEDIATE;\"; for i in 1 2 3 4 5; do sleep 0.1; touch ../locked; done; echo \"ROLLBACK;\") | sqlite3 -cmd \".timeout 5000\" ../state.db"}'
        echo '{"id": "before", "command": "rm -f ../locked; for i in $(seq 40); do [ -e ../locked ] && break; sleep 0.02; done"}'
        echo "{\"id\": \"culprit\", \"command\": [\"$T/kill_all\"], \"depends_on\": [\"before\"]}"
        for i in $(seq 20); do echo "{\"id\": \"short$i\", \"command\": \"true\"}"; done
        echo '{"id": "behind", "command": "true", "depends_on": ["culprit"]}'
    } >tasks.json
    until_it_ends_by_itself "$PILOT" --cores 6 --lost-after 3 --heartbeat 0.5
    found=$rounds
    assert_eq status 1 "$status"
    assert_eq statuses "completed 24|failed 1|skipped 1" "$(statuses)"
    assert_eq culprit "failed lost 3 0" "$(sql "select status || ' ' || reason || ' ' || losses || ' ' || failures from tasks where id = 'culprit'")"
    assert_eq "failures and losses of others" "0 0" "$(sql "select sum(failures) || ' ' || sum(losses) from tasks where id <> 'culprit'")"
    assert_contains out "culprit" "lost with the pilot itself, 3 times just after its start"
    assert_eq "attempts that say so" 3 "$(sql "select count(*) from attempts where id = 'culprit' and message = 'the pilot, just after its start'")"
    # A person can have it tried once more.
    printf '#!/bin/sh\n' >kill_all
    expect 0 --resume --retry-failed
    assert_eq statuses "completed 26" "$(statuses)"
    # The first end may leave no trace; then two that make it suspect, a trial that it shares with the long ones, three
    # of its own, and the verdict.
    assert_between rounds 7 8 "$found"
}

both_run() { [ "$(sql "select count(*) from tasks where status = 'running' and id like 'long%'" 2>/dev/null)" = 2 ]; }

no_jobs() { [ -z "$(cluster run squeue -h)" ]; }

# With two nodes it takes down either: on the other node that is a loss as any other, on the pilot's own node it is
# tried. The ends on both count.
test_two_nodes() {
    local i
    [ -z "$no_cluster" ] || { echo "SKIP: $no_cluster" && exit 77; }
    make_killer
    {
        echo "{\"id\": \"culprit\", \"command\": [\"$T/kill_all\"]}"
        for i in $(seq 6); do echo "{\"id\": \"other$i\", \"command\": \"sleep 0.3\"}"; done
    } >tasks.json
    # shellcheck disable=SC2086
    until_it_ends_by_itself env VCLUSTER_DIR="$CLUSTER_DIR" "$ROOT/tests/cluster/vcluster" run \
        srun -N 2 $SRUN_FLAGS "$PILOT" --lost-after 2 --heartbeat 0.2
    assert_eq statuses "completed 6|failed 1" "$(statuses)"
    assert_eq "exit status of the pilot" 1 "$(json pilot_runs/summary.json "d['exit_status']")"
    assert_eq culprit "failed lost 3 0" "$(sql "select status || ' ' || reason || ' ' || losses || ' ' || failures from tasks where id = 'culprit'")"
    echo "  $rounds rounds"
}

# Two tasks that are longer than the time between any two kills: they run each time, and are tried, and pass.
# Two of the kills come at a random moment of a trial, its watch included: being hit there once proves nothing.
test_a_person_who_kills_the_pilot_fails_no_task() {
    local i options=(--cores 4 --lost-after 1.5 --heartbeat 0.5) more=(tasks.json)
    for i in 1 2; do echo "{\"id\": \"long$i\", \"command\": \"until [ -e ../go ]; do sleep 0.05; done\"}"; done >tasks.json
    for i in $(seq 10); do echo "{\"id\": \"short$i\", \"command\": \"sleep 0.1\"}"; done >>tasks.json
    for i in $(seq 7); do
        pilot_start "${options[@]}" "${more[@]}"
        case $i in
            3 | 5) sleep "$(echo "$SEED $i" | cksum | awk '{ printf "%.2f", 0.05 + $1 / 4294967296 * 1.7 }')" ;;
            *) must_wait_until 20 both_run && sleep 0.2 ;; # longer than they are watched
        esac
        kill_marked || true
        wait "$pilot_pid" 2>/dev/null || true
        cat err >>all.log
        assert_nothing_left
        more=(--resume)
    done
    touch pilot_runs/go
    expect 0 "${options[@]}" --resume
    assert_eq statuses "completed 12" "$(statuses)"
    assert_eq "failures, losses, suspicions" "0 0 0" "$(sql "select sum(failures) || ' ' || sum(losses) || ' ' || count(suspicion) from tasks")"
    assert_contains all.log "while 2 of the tasks were running; they are started apart from others now"
    assert_nothing_left
}

no_cluster=$(cluster check)
[ -n "$no_cluster" ] || cluster_up 2 2
echo "seed $SEED (PILOT_TEST_SEED=$SEED)"
run_tests "$@"
