#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# examples/quickstart.sh from a copy of the sources, from another directory, twice.
. "$(dirname "$0")/lib.sh"

copy_sources() {
    mkdir "$1"
    (cd "$ROOT" && tar cf - --exclude=./.git --exclude='./build*' --exclude=./pilot_runs .) | tar xf - -C "$1"
}

test_twice_from_elsewhere() {
    copy_sources "with space"
    mkdir elsewhere && cd elsewhere
    sh "../with space/examples/quickstart.sh" >../first.log 2>&1 || fail "first run (see first.log)"
    grep -q 'Completed: 9 | Failed: 0' ../first.log || fail "no summary (see first.log)"
    sh "../with space/examples/quickstart.sh" >../second.log 2>&1 || fail "second run (see second.log)"
    grep -q 'Completed: 9 | Failed: 0' ../second.log || fail "no summary (see second.log)"
    # All was there: no package manager was called.
    assert_lacks ../second.log "apt-get"
    assert_lacks ../second.log "Installing"
}

test_what_is_missing_is_named_for_every_package_manager() {
    # A machine without apt and without anything.
    mkdir bin
    for tool in sh sed dirname id cat; do ln -s "$(command -v $tool)" bin/; done
    sed 's,/usr/sbin/,/nosuch/,g; s,/sbin/,/nosuch/,g' "$ROOT/cmake/packages.sh" >packages.sh
    status=0
    PATH=$PWD/bin sh -c '. ./packages.sh; packages_need_build; packages_install' >out 2>err || status=$?
    assert_eq status 3 "$status"
    assert_contains err "apt-get install" libcjson-dev "dnf install" cjson-devel "conda install" libhwloc "spack install" openmpi
}

run_tests "$@"
