#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One sanitizer build and its tests: unit, simulator, and those of the whole program that do without
# MPI in the pilot.
#
#   sanitize.sh address,undefined|thread BUILD_DIR [CTEST-ARGS...]
#
# Exit status 77: this compiler or this machine cannot run programs with that sanitizer.
set -eu

kind=$1 build=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
jobs=$(getconf _NPROCESSORS_ONLN)

# The thread sanitizer of older compilers does not start where the kernel randomises addresses more
# than it knows; without randomisation it does.
mkdir -p "$build"
echo 'int main(void) { return 0; }' >"$build/probe.c"
if ! cc "-fsanitize=$kind" -o "$build/probe" "$build/probe.c" 2>"$build/probe.txt"; then
    echo "SKIP: the compiler has no -fsanitize=$kind ($(head -n 1 "$build/probe.txt"))"
    exit 77
fi
run=
if ! "$build/probe" 2>"$build/probe.txt"; then
    run="setarch -R"
    if ! $run "$build/probe" 2>"$build/probe.txt"; then
        echo "SKIP: programs with -fsanitize=$kind do not start here ($(head -n 1 "$build/probe.txt"))"
        exit 77
    fi
fi

generator=()
if [ ! -e "$build/CMakeCache.txt" ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
cmake -S "$root" -B "$build" "${generator[@]}" "-DPILOT_SANITIZE=$kind" -DPILOT_TESTS=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$build/configure.txt" 2>&1 ||
    { cat "$build/configure.txt" && exit 1; }
cmake --build "$build" --parallel "$jobs" >"$build/build.txt" 2>&1 || { tail -n 40 "$build/build.txt" && exit 1; }

# Leaks are looked for everywhere but in MPI, which has its own ideas; a report is a failed test.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:exitcode=99}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1:exitcode=99}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:exitcode=99}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$root/tests/lsan.supp:print_suppressions=0}
# Threads are the store's and MPI's; the rest would only be slow.
if [ $# -eq 0 ] && [ "$kind" = thread ]; then
    # What recovers damaged states has the store's threads before and after, not while it reads.
    export PILOT_TEST_SEEDS="${PILOT_TEST_SEEDS:-3}"
    # What tasks may use is measured by unit-launch_memory: the shadow memory counts too.
    set -- -R '^(unit-(store|launch|transport|proto)|integration-(cli|inputs|run_basic|resume)$)' -E '^unit-launch_memory$'
fi
[ $# -gt 0 ] || set -- -L 'unit|sim|sanitizable'
cd "$build"
exec $run ctest --output-on-failure -j "$jobs" "$@"
