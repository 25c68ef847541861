#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Installs what the tests need, builds into build/, and runs every test through ctest.
#
#   sh tests/run.sh                        everything (the sanitizer builds are tests among the others)
#   sh tests/run.sh -L unit                any arguments of ctest: -R NAME, -L LABEL, -V, ...
#   sh tests/run.sh --sanitize LIST [...]  in a sanitizer build (build-asan, build-tsan); LIST is
#                                          address,undefined or thread; default there: -L 'unit|sim|sanitizable'
#   sh tests/run.sh --no-install [...]     do not install packages
#
# A test that cannot run on this machine is skipped; its reason is printed before ctest's summary,
# which ends the output and names and counts them.
#
# Exit status: that of ctest; 1 when the build failed, 2 usage, 3 when packages that building needs
# could not be installed.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
PACKAGES_ROOT=$root
. "$root/cmake/packages.sh"

install=yes sanitize= build=$root/build
while [ $# -gt 0 ]; do
    case $1 in
        --no-install) install=no ;;
        --sanitize)
            case ${2:-} in
                address,undefined | address | undefined) build=$root/build-asan ;;
                thread) build=$root/build-tsan ;;
                *)
                    echo "tests/run.sh: --sanitize wants address,undefined or thread" >&2
                    exit 2
                    ;;
            esac
            sanitize=$2
            shift
            ;;
        -h | --help)
            sed -n '/^# Installs/,/^# could not/s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *) break ;;
    esac
    shift
done

# Building needs some packages; every other one is a test more that can run. So the former must
# install, and of the latter as many as will.
install_packages() {
    packages_need_build
    packages_have_lib cmocka || packages_note cmocka
    if [ -n "$PACKAGES_MISSING" ]; then packages_install || exit 3; fi
    PACKAGES_MISSING=
    packages_need_tests
    [ -n "$PACKAGES_MISSING" ] || return 0
    packages_install 2>/dev/null && return 0
    for thing in $PACKAGES_MISSING; do
        PACKAGES_MISSING=$thing
        packages_install 2>/dev/null || echo "Not installed: $thing. Tests that need it will be skipped."
    done
}
[ "$install" = no ] || install_packages

jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
# A build directory keeps the generator it was made with; only a new one may choose.
generator=
if [ ! -e "$build/CMakeCache.txt" ] && packages_have ninja; then generator="-G Ninja"; fi
# shellcheck disable=SC2086
cmake -S "$root" -B "$build" $generator -DPILOT_TESTS=ON "-DPILOT_SANITIZE=$sanitize" || exit 1
cmake --build "$build" --parallel "$jobs" || exit 1

if [ -n "$sanitize" ] && [ $# -eq 0 ]; then set -- -L 'unit|sim|sanitizable'; fi

# ctest does not print why a test was skipped. Its summary is held back until the reasons, which the
# tests print as "SKIP: ...", have been taken from its log.
held=$build/Testing/summary.txt
mkdir -p "$build/Testing" && : >"$held" || exit 1
cd "$build" || exit 1
{
    ctest --output-on-failure -j "$jobs" "$@"
    echo "pilot-ctest-status $?"
} 2>&1 | {
    status=1 summary=no
    while IFS= read -r line; do
        case $line in
            'pilot-ctest-status '*) status=${line##* } && continue ;;
            *'% tests passed'*) summary=yes ;;
        esac
        if [ $summary = yes ]; then
            printf '%s\n' "$line" >>"$held"
        else
            printf '%s\n' "$line"
        fi
    done
    # The log has a block a test, which begins with "3/20 Testing: NAME".
    sed -n -e 's,^[0-9]*/[0-9]* Testing: \(.*\),\1,;t name' -e '/^SKIP: /{G;s/SKIP: \(.*\)\n\(.*\)/Skipped in \2: \1/p;}' \
        -e 'b' -e ':name' -e 'h' Testing/Temporary/LastTest.log 2>/dev/null
    cat "$held"
    rm -f "$held"
    exit "$status"
}
