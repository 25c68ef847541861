#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs one fuzz target under libFuzzer with the address and undefined sanitizers, from its corpus.
#
#   libfuzzer.sh NAME SECONDS FILE_OR_DIRECTORY...
#
# The target is built by clang, in a build directory of its own that all targets share. What is
# found stays in $PILOT_BUILD/fuzz/found/ (a file that ends the target, or that it is too slow
# for): mend it, and add the file to tests/fuzz/corpus/NAME. Exit status 77: no clang with libFuzzer.
set -eu

name=$1 seconds=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${PILOT_BUILD:-$root/build}/fuzz
mkdir -p "$build/found"

command -v clang >/dev/null || { echo "SKIP: no clang (Debian: clang)" && exit 77; }
{
    flock 9
    if [ ! -e "$build/probe" ]; then
        echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return p && n > 9999999; }' >"$build/probe.c"
        clang -w -fsanitize=fuzzer,address,undefined -o "$build/probe" "$build/probe.c" 2>"$build/probe.txt" || {
            echo "SKIP: clang cannot build for libFuzzer ($(head -n 1 "$build/probe.txt"); Debian: libclang-rt-dev)"
            exit 77
        }
    fi
    generator=()
    if [ ! -e "$build/CMakeCache.txt" ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
    cmake -S "$root" -B "$build" "${generator[@]}" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DPILOT_SANITIZE=fuzzer-no-link,address,undefined -DPILOT_TESTS=ON >"$build/configure.txt" 2>&1 ||
        { cat "$build/configure.txt" && exit 1; }
    cmake --build "$build" --target "fuzz_$name" --parallel "$(getconf _NPROCESSORS_ONLN)" >"$build/build-$name.txt" 2>&1 ||
        { tail -n 40 "$build/build-$name.txt" && exit 1; }
} 9>"$build/lock"

# What it finds new is kept for the time of the run only; the corpus is for people to add to.
work=$(mktemp -d "$build/$name.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/new" "$work/start"
for from; do
    if [ -d "$from" ]; then cp "$from"/* "$work/start"; else cp "$from" "$work/start"; fi
done
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
status=0
"$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
    -print_final_stats=1 -artifact_prefix="$build/found/$name-" "$work/new" "$work/start" >"$work/log" 2>&1 || status=$?
if [ $status != 0 ]; then
    tail -n 60 "$work/log"
    exit 1
fi
grep -E '^stat::number_of_executed_units|^stat::average_exec' "$work/log" || tail -n 5 "$work/log"
