#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Whose files: what the pilot makes for itself is for its owner alone, whatever the umask; what it
# makes for people follows the umask. And who runs it: an ordinary user can do all that root can,
# and nothing is said differently.
export PILOT_TEST_TMP=${PILOT_USERS_TMP:-/var/tmp} # where other users come in
. "$(dirname "$0")/lib.sh"
chmod 755 "$TEST_DIR"

NOBODY=65534

# Starts a shell command as another user, with a home of its own, and the marker. Its library and
# the program are copies, since the build directory may be closed to others.
as() { # UID COMMAND...
    local uid=$1
    shift
    env -i PATH="$PATH" LC_ALL=C.UTF-8 HOME="$TEST_DIR/home-$uid" TEST_MARKER="$TEST_MARKER" \
        LD_LIBRARY_PATH="$TEST_DIR/bin" PILOT="$TEST_DIR/bin/pilot-mpi" \
        setpriv --reuid="$uid" --regid="$uid" --clear-groups --no-new-privs timeout -k 5 60 "$@"
}

need_users() {
    [ "$(id -u)" = 0 ] || skip "only root can become another user"
    need setpriv util-linux
    [ -d "$TEST_DIR/bin" ] && return
    mkdir "$TEST_DIR/bin"
    # shellcheck disable=SC2046
    cp "$PILOT" $(ldd "$PILOT" | awk '/libpilot/ { print $3 }') "$TEST_DIR/bin"
    for uid in $NOBODY 1; do
        mkdir "$TEST_DIR/home-$uid"
        chown $uid:$uid "$TEST_DIR/home-$uid"
    done
}

mode() { stat -c %a "$1"; }

assert_modes() { # MODE FILE...
    local mode=$1 file
    shift
    for file; do assert_eq "mode of $file" "$mode" "$(mode "$file")"; done
}

has_socket() { [ -s "pilot_runs/.pilot/$(hostname)/socket" ]; }
has_inbox() { [ -e pilot_runs/.pilot/inbox/alive ]; }
has_output() { [ -s pilot_runs/t/stdout.txt ]; }

# umask, mode of directories for people, mode of files for people
test_what_is_the_pilots_is_for_its_owner() {
    local umask dirs files socket
    while read -r umask dirs files; do
        mkdir "u$umask" && cd "u$umask"
        cat >f.json <<'END'
[{"id": "t", "command": "umask; until [ -e ../../go ]; do sleep 0.05; done", "cores": 1},
 {"id": "set/deep", "command": "true", "depends_on": ["t"]}]
END
        (umask "$umask" && exec "$PILOT" f.json >out 2>err) &
        pilot_pid=$!
        must_wait_until 20 has_output
        must_wait_until 20 has_socket
        must_wait_until 20 has_inbox
        must_wait_until 20 test -e pilot_runs/state.db-wal
        socket=$(cat "pilot_runs/.pilot/$(hostname)/socket")
        assert_modes 600 pilot_runs/state.db pilot_runs/state.db-wal pilot_runs/state.db.lock \
            "pilot_runs/.pilot/$(hostname)/socket" pilot_runs/.pilot/inbox/alive "$socket"
        assert_modes 700 pilot_runs/.pilot "pilot_runs/.pilot/$(hostname)" pilot_runs/.pilot/inbox \
            "$(dirname "$socket")"
        # Nothing that is the pilot's was forgotten above.
        find pilot_runs -path pilot_runs/t -prune -o -path pilot_runs/set -prune -o -type f -perm /077 -print >open.log
        assert_eq "files of the pilot that others can read or write" "" "$(cat open.log)"
        touch go
        pilot_wait 20
        assert_eq "exit status" 0 "$status"
        assert_modes 600 pilot_runs/state.db
        assert_modes "$dirs" pilot_runs pilot_runs/t pilot_runs/set pilot_runs/set/deep
        assert_modes "$files" pilot_runs/t/stdout.txt pilot_runs/t/stderr.txt pilot_runs/summary.json
        assert_file pilot_runs/t/stdout.txt "0$umask"
        cd ..
    done <<'END'
000 777 666
022 755 644
077 700 600
END
}

# A person who has opened the state to a group keeps that.
test_the_mode_of_a_state_that_is_there_stays() {
    echo '[{"id": "a", "command": "true"}]' >f.json
    expect 0 f.json
    chmod 640 pilot_runs/state.db
    echo '[{"id": "a", "command": "true"}, {"id": "b", "command": "true"}]' >f.json
    expect 0 --resume f.json
    assert_modes 640 pilot_runs/state.db
}

# All that a campaign does, in one script for any user.
campaign() {
    cat <<'END'
set -eu
umask 022
cat >f.json <<'J'
[{"id": "a", "command": "echo a"}, {"id": "fails", "command": "exit 3", "max_retries": 1},
 {"id": "dep", "command": "echo d", "depends_on": ["a"]},
 {"id": "adds", "command": "$PILOT add --id added --command 'echo added'", "timeout": 30}]
J
s=0; "$PILOT" f.json >out 2>err || s=$?
echo "run: $s"
cat pilot_runs/*/stdout.txt
s=0; "$PILOT" --resume f.json >out2 2>err2 || s=$?
echo "resume: $s"
cat >hook <<'J'
#!/bin/sh
while read -r line; do
    case $line in
        *'"event":"ended"'*'"id":"one"'*) echo '{"ack": 1, "tasks": [{"id": "two", "command": "echo two"}]}' ;;
        *'"event":"ended"'*) echo '{"ack": 2}' ;;
    esac
done
J
chmod +x hook
echo '[{"id": "one", "command": "echo one"}]' >h.json
s=0; "$PILOT" --workdir hooked --on-complete ./hook --max-output 3 h.json >out3 2>err3 || s=$?
echo "hook: $s"
cat hooked/one/stdout.txt hooked/two/stdout.txt
s=0; "$PILOT" --dry-run --resume f.json >out4 2>err4 || s=$?
echo "dry run: $s"
END
}

# Times, places and names of accounts differ; words must not.
words() { # DIRECTORY
    sed -E -e "s,$1,HERE,g" -e 's/[0-9]+(\.[0-9]+)?( ?%|x| ?m?s)?\b/N/g' "$1"/{result,out,err,out2,err2,out3,err3,out4,err4} | sort
}

test_an_ordinary_user_is_told_what_root_is_told() {
    local status=0
    need_users
    campaign >"$TEST_DIR/home-$NOBODY/campaign.sh"
    mkdir "$T/root"
    for uid in 0 $NOBODY; do
        local dir=$T/root
        [ $uid = 0 ] || dir=$TEST_DIR/home-$NOBODY
        if [ $uid = 0 ]; then
            (cd "$dir" && env -i PATH="$PATH" LC_ALL=C.UTF-8 HOME="$dir" TEST_MARKER="$TEST_MARKER" PILOT="$PILOT" \
                sh "$TEST_DIR/home-$NOBODY/campaign.sh" >result)
        else
            (cd "$dir" && as $uid sh -c 'sh campaign.sh >result')
        fi
    done
    assert_file "$TEST_DIR/home-$NOBODY/result" "run: 1
a
added
added
d
resume: 1
hook: 0
one
[pilot-mpi: cut here: 1 bytes more were not kept]
two
[pilot-mpi: cut here: 1 bytes more were not kept]
dry run: 0"
    words "$T/root" >root.log
    words "$TEST_DIR/home-$NOBODY" >nobody.log
    diff root.log nobody.log >&2 || fail "root and nobody are told different things (above)"
    assert_eq "files that are not nobody's" "" "$(find "$TEST_DIR/home-$NOBODY" ! -uid $NOBODY ! -name campaign.sh)"
    assert_eq "files that nobody cannot read" "" "$(cd "$TEST_DIR/home-$NOBODY" && as $NOBODY find . ! -readable)"
    assert_nothing_left
}

test_an_ordinary_user_under_mpirun_and_killed() {
    need_users
    need mpirun openmpi-bin
    local home=$TEST_DIR/home-$NOBODY
    cat >"$home/mpi.sh" <<'END'
set -eu
printf 'echo %s\n' 1 2 3 4 5 6 7 8 >cmds
mpirun --oversubscribe -np 2 "$PILOT" --workdir ranks cmds >mpi.out 2>&1
cat ranks/*/stdout.txt | tr -d '\n'
echo
echo '[{"id": "inner", "command": "mpirun --oversubscribe -np 2 echo rank"}]' >inner.json
"$PILOT" --workdir nested inner.json >nested.out 2>&1
cat nested/inner/stdout.txt
echo '[{"id": "once", "command": "echo once >>../../log"}, {"id": "long", "command": "if [ -e ../../again ]; then echo again; else sleep 1000; fi", "depends_on": ["once"]}]' >long.json
"$PILOT" --workdir killed long.json >killed.out 2>&1 &
pid=$!
until [ -d killed/long ] && [ "$(cat log)" = once ]; do sleep 0.05; done
kill -9 $pid
touch again
s=1; until [ $s = 0 ]; do s=0; "$PILOT" --workdir killed --resume >resumed.out 2>&1 || s=$?; [ $s = 0 ] || sleep 0.1; done
cat log killed/long/stdout.txt
END
    (cd "$home" && as $NOBODY sh mpi.sh >result2 2>mpi.err) || { tail "$home"/*.out "$home"/mpi.err >&2 && fail "as nobody"; }
    assert_file "$home/result2" "12345678
rank
rank
once
again"
    assert_nothing_left
}

# Even with a work directory that all may enter.
test_another_user_gets_nothing() {
    local home=$TEST_DIR/home-$NOBODY s=0
    need_users
    echo '[{"id": "t", "command": "until [ -e ../../go ]; do sleep 0.05; done"}]' >"$home/wait.json"
    chmod 755 "$home"
    (cd "$home" && rm -rf pilot_runs && umask 000 && as $NOBODY "$TEST_DIR/bin/pilot-mpi" wait.json >out 2>err) &
    pilot_pid=$!
    cd "$home"
    must_wait_until 20 has_socket
    must_wait_until 20 has_inbox
    as 1 "$TEST_DIR/bin/pilot-mpi" add --workdir "$home/pilot_runs" --id x --command 'touch /tmp/x' >"$T/out" 2>"$T/err" || s=$?
    assert_eq "exit status of another user's add" 3 "$s"
    assert_contains "$T/err" "Permission denied"
    for file in state.db state.db-wal state.db.lock .pilot "$(cat pilot_runs/.pilot/"$(hostname)"/socket)"; do
        case $file in /*) ;; *) file=$home/pilot_runs/$file ;; esac
        ! as 1 cat "$file" >/dev/null 2>"$T/cat.log" || fail "another user can read $file"
        assert_contains "$T/cat.log" "Permission denied"
    done
    touch go
    pilot_wait 20
    assert_eq "exit status" 0 "$status"
    assert_eq "tasks" "t" "$(sql 'select id from tasks')"
}

run_tests "$@"
