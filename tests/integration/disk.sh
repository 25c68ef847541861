#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Disks that fill up in the middle of a run, and come to have room again or not: that of the state,
# that of the output, one that is both; a quota; a file system that becomes read-only. The disks are
# real and small (tmpfs, ext4 and btrfs in files), mounted where nobody else sees them: they go with
# this script however it ends.
if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || { echo "SKIP: mounting needs root" && exit 77; }
    unshare -m true 2>/dev/null || { echo "SKIP: a namespace for mounts cannot be made here" && exit 77; }
    exec unshare -m bash "$0" --inside "$@"
fi
shift
. "$(dirname "$0")/lib.sh"

need sqlite3 sqlite3
TASKS=20

unmount_all() { umount -l "$TEST_DIR"/*/disk 2>/dev/null; } # though processes are there
trap 'unmount_all; cleanup' EXIT

# Two run at a time. The first ones end at once; then one runs that ends when the test says so; the
# others wait for its core and each other's. All add a line to ran, which lies on a disk with room.
make_file() {
    local i
    for i in $(seq 4); do echo "{\"id\": \"t$i\", \"command\": \"echo t$i >> $T/ran\", \"priority\": 9}"; done
    echo "{\"id\": \"slow\", \"command\": \"echo slow >> $T/ran; until [ -e $T/go ]; do sleep 0.05; done; touch $T/gone\", \"priority\": 5}"
    for i in $(seq 5 $((TASKS - 1))); do
        echo "{\"id\": \"t$i\", \"command\": \"echo t$i >> $T/ran; until [ -e $T/rest ]; do sleep 0.05; done\"}"
    done
} >tasks.json

mount_tmpfs() { # DIR OPTIONS
    mkdir -p "$1"
    mount -t tmpfs -o "$2" tmpfs "$1" || { echo "SKIP: tmpfs cannot be mounted here" && exit 77; }
}

mount_file() { # DIR TYPE SIZE [OPTION]: a file system in a file
    command -v "mkfs.$2" >/dev/null || [ -x "/sbin/mkfs.$2" ] || { echo "SKIP: no mkfs.$2" && exit 77; }
    truncate -s "$3" "$1.img"
    "mkfs.$2" -q "$1.img" >mkfs.log 2>&1
    mkdir -p "$1"
    mount -t "$2" -o "loop${4:+,$4}" "$1.img" "$1" 2>/dev/null || { echo "SKIP: $2 in a file cannot be mounted here" && exit 77; }
}

# To the last byte and the last file.
fill() { # DIR
    local i
    mkdir "$1/fill"
    head -c 200M /dev/zero >"$1/fill/bytes" 2>/dev/null || true
    for i in $(seq 2000); do echo >>"$1/fill/bytes" 2>/dev/null || break; done
    # shellcheck disable=SC2046
    (cd "$1/fill" && mkdir $(seq 1000) 2>/dev/null) || true
}
clear_disk() { rm -r "$1/fill"; } # DIR

# Starts the pilot and waits until its first tasks are shown as done and slow runs; of the others
# one runs too.
start() { # ARGS...
    touch ran
    pilot_start --cores 2 "$@" --verbose
    must_wait_until 20 shown 4
    must_wait_until 20 grep -qx slow ran
    must_wait_until 20 grep -qx t5 ran
}
shown() { [ "$(shown_ids | wc -l)" -ge "$1" ]; } # COUNT
shown_ids() { sed -n 's/.* ✓ \([^ ]*\) .*/\1/p' out | sort; }
said() { grep -qF "$1" out; } # TEXT

# What is shown as done is done in the database, and no more than that is in the summary.
assert_shown_is_stored() { # DB
    sql "select id from tasks where status = 'completed' order by id" "$1" | sort >stored.txt
    shown_ids >shown.txt
    assert_eq "shown as done, but not stored" "" "$(comm -13 stored.txt shown.txt)"
}
assert_nothing_ran_twice() { # TASK... that may have
    local id
    for id in $(sort ran | uniq -d); do
        case " $* " in *" $id "*) ;; *) fail "$id ran twice" ;; esac
    done
}
assert_all_done() { # DB
    assert_eq statuses "completed $TASKS" "$(statuses "$1")"
    assert_eq "failures counted" 0 "$(sql 'select sum(failures) from tasks' "$1")"
    assert_eq integrity ok "$(sqlite3 "$1" 'pragma integrity_check')"
}
resume() { # DB ARGS...: all is done then, and what had been shown did not run again
    local db=$1 before
    shift
    touch go rest
    before=$(shown_ids)
    expect 0 --cores 2 "$@" --resume --verbose
    assert_all_done "$db"
    # shellcheck disable=SC2086
    for id in $before; do assert_eq "runs of $id" 1 "$(grep -cx "$id" ran)"; done
    assert_nothing_left
}

cpu_ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; } # PID

test_the_state_fills_up_and_gets_room_again() {
    local ticks
    make_file
    mount_tmpfs disk size=1m
    start --db disk/state.db tasks.json
    fill disk
    touch go # slow ends, and at most one other starts before that is known not to be stored
    must_wait_until 20 said "no room for the state"
    must_wait_until 20 test -e gone
    sort ran >ran.before
    touch rest # the others end; their cores are free
    ticks=$(cpu_ticks "$pilot_pid")
    sleep 2 # in which nothing may happen
    assert_between "CPU seconds of waiting, hundredths" 0 20 $(($(cpu_ticks "$pilot_pid") - ticks))
    assert_eq "started without room" "" "$(sort ran | comm -13 ran.before -)"
    assert_lacks out "✓ slow"
    assert_shown_is_stored disk/state.db
    clear_disk disk
    must_wait_until 20 said "there is room for the state again"
    pilot_wait 30
    assert_eq status 0 "$status"
    assert_all_done disk/state.db
    assert_eq "shown as done" "$TASKS" "$(shown_ids | wc -l)"
    assert_nothing_ran_twice
    assert_nothing_left
}

test_a_kill_while_there_is_no_room_loses_nothing_shown() {
    make_file
    mount_tmpfs disk size=1m
    start --db disk/state.db tasks.json
    fill disk
    touch go rest
    must_wait_until 20 said "no room for the state"
    kill -9 "$pilot_pid"
    pilot_wait 20
    clear_disk disk
    resume disk/state.db --db disk/state.db
}

test_the_state_gets_no_room() {
    make_file
    mount_tmpfs disk size=1m
    start --db disk/state.db --disk-wait 1 tasks.json
    fill disk
    touch go # slow ends, t5 runs on
    pilot_wait 30
    assert_eq status 4 "$status"
    assert_contains err "cannot write to the state database disk/state.db: no space is left" "--resume" "could not be stored"
    assert_lacks out "✓ slow"
    assert_shown_is_stored disk/state.db
    assert_eq "completed in summary.json" "$(wc -l <stored.txt)" "$(json pilot_runs/summary.json 'd["completed"]')"
    assert_nothing_left
    clear_disk disk
    resume disk/state.db --db disk/state.db
}

# A person, or the end of the allocation, does not wait for a disk.
test_a_signal_ends_the_wait() {
    local begin
    make_file
    mount_tmpfs disk size=1m
    start --db disk/state.db --grace 0.5 tasks.json
    fill disk
    touch go
    must_wait_until 20 said "no room for the state"
    begin=$SECONDS
    kill -TERM "$pilot_pid"
    pilot_wait 20
    assert_eq status 4 "$status"
    assert_between "seconds until the end" 0 10 $((SECONDS - begin))
    assert_contains err "could not be stored"
    assert_nothing_left
    clear_disk disk
    resume disk/state.db --db disk/state.db
}

# On a disk of its own; what ends meanwhile is stored and shown.
test_the_output_fills_up_and_gets_room_again() {
    make_file
    mount_tmpfs disk size=1m,nr_inodes=200
    start --workdir disk/runs --db state.db tasks.json
    fill disk
    touch go rest
    must_wait_until 20 said "no room for the output of tasks: cannot write in $T/disk/runs on"
    must_wait_until 20 said "✓ slow"
    assert_shown_is_stored state.db
    clear_disk disk
    must_wait_until 20 said "there is room for the output of tasks again"
    pilot_wait 30
    assert_eq status 0 "$status"
    assert_all_done state.db
    assert_nothing_ran_twice
    assert_contains disk/runs/summary.json '"completed"'
    # Those that could not start say why, and are few: the first sign stops the others.
    assert_between "attempts that could not start" 1 2 "$(sql "select count(*) from attempts where reason = 'disk'" state.db)"
    assert_nothing_left
}

test_the_output_gets_no_room() {
    make_file
    mount_tmpfs disk size=1m,nr_inodes=200
    start --workdir disk/runs --db state.db --disk-wait 1 tasks.json
    fill disk
    touch rest # t5 ends, the next cannot start; slow may go on
    must_wait_until 20 grep -qF "it was waited for" err
    touch go
    pilot_wait 30
    assert_eq status 4 "$status"
    assert_contains err "cannot write in $T/disk/runs on" "no space is left" "--resume"
    assert_contains out "✓ slow" "✓ t5"
    assert_shown_is_stored state.db
    clear_disk disk
    resume state.db --workdir disk/runs --db state.db
    assert_eq "runs of slow" 1 "$(grep -cx slow ran)"
}

# Files can still be made, but not written: a task that fails for that has failed, but the others
# do not follow it.
test_few_tasks_fail_for_want_of_room() {
    local i failed
    mount_tmpfs disk size=1m
    echo '{"id": "first", "command": "until [ -e ../../go ]; do sleep 0.05; done"}' >tasks.json
    for i in $(seq 100); do echo "{\"id\": \"t$i\", \"command\": \"echo output\", \"depends_on\": [\"first\"]}"; done >>tasks.json
    pilot_start --cores 2 --workdir disk/runs --db state.db tasks.json
    must_wait_until 20 test -d disk/runs/first
    mkdir disk/fill
    head -c 2M /dev/zero >disk/fill/bytes 2>/dev/null || true
    touch disk/go
    must_wait_until 20 said "no room for the output of tasks"
    clear_disk disk
    pilot_wait 30
    assert_eq status 1 "$status"
    failed=$(sql "select count(*) from tasks where status = 'failed'" state.db)
    assert_between "failed tasks" 1 10 "$failed"
    assert_eq completed $((101 - failed)) "$(sql "select count(*) from tasks where status = 'completed'" state.db)"
    assert_nothing_left
}

# The usual place: one disk for all of it.
test_one_disk_for_both_fills_up_and_gets_room_again() {
    make_file
    mount_tmpfs disk size=1m,nr_inodes=200
    start --workdir disk/runs tasks.json
    fill disk
    touch go rest
    must_wait_until 20 said "no room for the state"
    clear_disk disk
    pilot_wait 30
    assert_eq status 0 "$status"
    assert_all_done disk/runs/state.db
    assert_nothing_ran_twice
    assert_nothing_left
}

# A part of it: what the pilot itself writes there goes on, so that it must learn from the tasks that
# the others need not be tried.
start_read_only() { # ARGS...
    local i
    mkdir -p disk/runs/sub
    mount --bind disk disk
    mount --bind disk/runs/sub disk/runs/sub
    echo '{"id": "first", "command": "until [ -e ../../../go ]; do sleep 0.05; done"}' >tasks.json
    for i in $(seq 20); do echo "{\"id\": \"sub/t$i\", \"command\": \"true\", \"depends_on\": [\"first\"]}"; done >>tasks.json
    pilot_start --cores 2 --workdir disk/runs --db state.db "$@" tasks.json
    must_wait_until 20 test -d disk/runs/first
    mount -o remount,bind,ro disk/runs/sub
    touch go
    must_wait_until 20 said "no room for the output of tasks"
}
bounced() { sql "select count(*) from attempts where reason = 'disk'" state.db; }
several_bounced() { [ "$(bounced)" -gt 2 ]; }

test_the_output_becomes_read_only_and_writable_again() {
    start_read_only
    must_wait_until 20 several_bounced
    assert_lacks out "there is room"
    mount -o remount,bind,rw disk/runs/sub
    pilot_wait 30
    assert_eq status 0 "$status"
    assert_contains out "Read-only file system" "there is room for the output of tasks again"
    assert_eq statuses "completed 21" "$(statuses state.db)"
    assert_eq "failures counted" 0 "$(sql 'select sum(failures) from tasks' state.db)"
    assert_between "attempts that could not start" 3 12 "$(bounced)"
    assert_nothing_left
    umount disk/runs/sub
    umount disk
}

test_a_lack_that_comes_and_goes_ends_the_run_too() {
    start_read_only --disk-wait 1
    pilot_wait 20
    assert_eq status 4 "$status"
    assert_eq "failures counted" 0 "$(sql 'select sum(failures) from tasks' state.db)"
    assert_between "attempts that could not start" 3 12 "$(bounced)"
    assert_nothing_left
    umount disk/runs/sub
    umount disk
}

# As after an error of the disk below it. It stays so until it is mounted anew.
test_the_state_becomes_read_only() {
    local device trigger
    make_file
    mount_file disk ext4 16M errors=remount-ro
    device=$(findmnt -no SOURCE disk)
    trigger=/sys/fs/ext4/${device##*/}/trigger_fs_error
    [ -w "$trigger" ] || { echo "SKIP: no $trigger" && exit 77; }
    start --db disk/state.db --disk-wait 1 tasks.json
    sync -f disk # also the shared memory of the log: its pages are clean and cannot become dirty
    echo "a test" >"$trigger"
    touch go
    pilot_wait 30
    assert_eq status 4 "$status"
    assert_contains err "cannot write to the state database disk/state.db: its file system has become read-only"
    assert_lacks out "✓ slow"
    assert_nothing_left
    umount disk
    mount -o loop disk.img disk
    assert_shown_is_stored disk/state.db
    resume disk/state.db --db disk/state.db
    umount disk
}

# A limit on what a directory may hold, as on the file systems of clusters.
test_a_quota() {
    make_file
    mount_file disk btrfs 120M
    if ! { btrfs quota enable disk && btrfs subvolume create disk/own && btrfs qgroup limit 2M disk/own; } >quota.log 2>&1; then
        echo "SKIP: btrfs has no quotas here" && exit 77
    fi
    start --workdir disk/own/runs tasks.json
    fill disk/own
    touch go rest
    must_wait_until 20 said "the disk quota is used up"
    btrfs qgroup limit none disk/own
    pilot_wait 60
    assert_eq status 0 "$status"
    assert_all_done disk/own/runs/state.db
    assert_nothing_ran_twice
    assert_nothing_left
    umount disk
}

run_tests "$@"
