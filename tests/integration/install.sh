#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# cmake --install: the program, the library with its header, pkg-config file and CMake package, the
# man page, the examples; and programs built against them elsewhere.
. "$(dirname "$0")/lib.sh"

BUILD=${PILOT_BUILD:-$ROOT/build}

install_it() { cmake --install "$BUILD" --prefix "$PWD/prefix" >install.log 2>&1 || fail "install (see install.log)"; }

write_program() {
    cat >prog.c <<'END'
#include <pilot.h>
#include <stdio.h>

int main(void)
{
    struct pilot_options opt = PILOT_OPTIONS_INIT;
    struct pilot_error err;
    struct pilot_summary sum;
    struct pilot *p;
    int rc;

    opt.quiet = true;
    if (pilot_create(&p, &opt, &err) < 0 || pilot_load_file(p, "tasks.txt", &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 4;
    }
    rc = pilot_run(p, &err);
    pilot_get_summary(p, &sum);
    printf("version %s: %d completed\n", pilot_version(), (int)sum.completed);
    pilot_destroy(p);
    return rc;
}
END
    printf 'echo one\necho two\n' >tasks.txt
}

test_files() {
    install_it
    for f in bin/pilot-mpi include/pilot.h share/man/man1/pilot-mpi.1 share/pilot-mpi/examples/simple.json; do
        [ -e "prefix/$f" ] || fail "$f was not installed"
    done
    find prefix -name 'libpilot.*' | grep . >/dev/null || fail "no library"
    prefix/bin/pilot-mpi --version
    echo 'echo hi' | prefix/bin/pilot-mpi - >/dev/null
    assert_file pilot_runs/1/stdout.txt hi
    [ ! -e prefix/share/pilot-mpi/examples/quickstart.sh ] || fail "quickstart.sh needs the sources; it is no example"
    # The scripts can be run where they are.
    [ -x prefix/share/pilot-mpi/examples/lammps/generate.sh ] || fail "generate.sh is not executable"
}

test_a_program_by_pkg_config() {
    install_it
    write_program
    PKG_CONFIG_PATH=$(dirname "$(find "$PWD/prefix" -name pilot.pc)")
    export PKG_CONFIG_PATH
    # shellcheck disable=SC2046
    cc -o prog prog.c $(pkg-config --cflags --libs --static pilot) >cc.log 2>&1 || fail "link (see cc.log)"
    LD_LIBRARY_PATH=$(dirname "$(find "$PWD/prefix" -name 'libpilot.*' | head -n 1)") ./prog >prog.log
    assert_contains prog.log "2 completed"
    assert_file pilot_runs/2/stdout.txt two
}

test_a_program_by_cmake() {
    install_it
    write_program
    cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.20)
project(prog C)
find_package(pilot REQUIRED)
add_executable(prog prog.c)
target_link_libraries(prog PRIVATE pilot::pilot)
END
    { cmake -S . -B b "-DCMAKE_PREFIX_PATH=$PWD/prefix" && cmake --build b; } >cmake.log 2>&1 || fail "build (see cmake.log)"
    b/prog >prog.log
    assert_contains prog.log "2 completed"
}

run_tests "$@"
