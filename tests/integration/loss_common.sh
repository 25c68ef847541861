# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests of losses share, whatever started the ranks. Sourced after lib.sh.

# Short times, so that a test is short. An agent gives the head up after two thirds of the second.
LOSS_FLAGS=(--heartbeat 0.2 --lost-after 2 --grace 1)

# What strikes a rank at a certain moment of its start (at_start.c): put before a launcher.
AT_START_LIB=${AT_START_LIB:-${PILOT_BUILD:-$ROOT/build}/tests/integration/libat_start.so}
struck=()
strike() { # "RANK MOMENT DEED,..."; none: nothing
    [ -e "$AT_START_LIB" ] || skip "$AT_START_LIB is not built (cmake -DPILOT_TESTS=ON)"
    struck=(${1:+env "AT_START=$1" "LD_PRELOAD=$AT_START_LIB"})
}

# Tasks that say when they run: every 0.1 s a line "ID ATTEMPT NODE NANOSECONDS" in pilot_runs/ticks,
# until the file pilot_runs/go or pilot_runs/go-ID-ATTEMPT is there.
ticking() { # COUNT
    local i
    for i in $(seq "$1"); do
        echo "{\"id\": \"k$i\", \"command\": \"sh ../../tick.sh\"}"
    done >tasks.json
    cat >tick.sh <<'END'
while :; do
    echo "$PILOT_TASK_ID $PILOT_ATTEMPT $PILOT_NODE $(date +%s%N)" >>../ticks
    if [ -e ../go ] || [ -e "../go-$PILOT_TASK_ID-$PILOT_ATTEMPT" ]; then exit 0; fi
    sleep 0.1
done
END
}

go() { touch pilot_runs/go; }

# Starts it in the background, with its pid in $launcher_pid.
start() { # COMMAND...
    "$@" >out 2>err </dev/null &
    launcher_pid=$!
}

# $status: of whatever start started.
finish() { # SECONDS
    wait_until "$1" ended "$launcher_pid" || fail "it did not end within $1 s"
    status=0
    wait "$launcher_pid" || status=$?
}

running() { sql "select count(*) from tasks where status = 'running'" 2>/dev/null || echo 0; }
all_run() { [ "$(running)" = "$1" ]; }
tick_count() { cut -d' ' -f1,2 pilot_runs/ticks 2>/dev/null | sort -u | wc -l; }
all_tick() { [ "$(tick_count)" -ge "$1" ]; } # attempts that have begun

on_node() { # NODE: ids of the tasks that run there, one line
    sql "select id from tasks where status = 'running' and node = '$1' order by id" | paste -sd' '
}

# All of these attempts have run for a second: the run is in its middle, and every rank has been
# heard for long enough to be known to be reachable by bells.
in_the_middle() { # ATTEMPTS
    all_tick "$1" && awk '{ n[$1 " " $2]++ } END { for (a in n) if (n[a] < 8) exit 1 }' pilot_runs/ticks
}

# Pids of the tasks of a rank, that is of all below its slots.
tasks_of() { # RANK
    local guardian slot
    guardian=$(guardian_of "$1")
    for slot in $(children_named "$guardian" pilot-slot); do pgrep -P "$slot" || true; done
}

gone() { # PID...
    local pid
    for pid; do ended "$pid" || return 1; done
}

said() { grep -qF -e "$1" err; }

# The end of a run in which so many attempts were lost, and nothing else went wrong.
assert_all_completed() { # TASKS LOST
    assert_eq statuses "completed $1" "$(statuses)"
    assert_eq "exit status of the pilot" 0 "$(json pilot_runs/summary.json "d['exit_status']")"
    assert_eq "attempts lost" "$2" "$(json pilot_runs/summary.json "d['lost']")"
    assert_eq "attempts lost, in the state" "$2" "$(sql "select count(*) from attempts where reason = 'lost'")"
    assert_eq "losses of tasks" "$2" "$(sql 'select sum(losses) from tasks')"
    assert_eq "failures" 0 "$(sql 'select sum(failures) from tasks')"
    # Nothing counts twice: one successful attempt a task, and no attempt beyond the lost ones.
    assert_eq "successful attempts" "$1" "$(sql "select count(*) from attempts where reason = 'exit' and exit_code = 0")"
    assert_eq "attempts" $(($1 + $2)) "$(sql 'select count(*) from attempts')"
}

# No attempt of a task ran while another one did: the last tick of one comes before the first of the
# next.
assert_no_overlap() {
    sort -k1,1 -k4,4n pilot_runs/ticks | awk '
        $1 != id { id = $1; attempt = $2; next }
        $2 < attempt { print "  " id ": attempt " $2 " still ran when attempt " attempt " did"; bad = 1 }
        { attempt = $2 }
        END { exit bad }' >&2 || fail "two attempts of a task ran at once (above)"
}
