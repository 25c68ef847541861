#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# From a fresh clone to tasks that run: installs what is missing, builds pilot-mpi into build/, and
# runs examples/simple.json.
#
#   sh examples/quickstart.sh              from anywhere; as often as you like
#
# Exit status: 0 done; 1 building or running failed; 2 usage; 3 something has to be installed by
# you (which packages is printed, for apt, dnf, conda and Spack).
#
# The first run writes to pilot_runs/quickstart below the current directory (below the build
# directory when that cannot be written).
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
PACKAGES_ROOT=$root
. "$root/cmake/packages.sh"

say() { printf '\n==> %s\n' "$*"; }
fail() { # STATUS MESSAGE
    status=$1
    shift
    printf '\nquickstart: %s\n' "$*" >&2
    exit "$status"
}

case ${1:-} in
    '') ;;
    *)
        sed -n '/^# From/,/^# directory when/s/^# \{0,1\}//p' "$0"
        case $1 in -h | --help) exit 0 ;; esac
        exit 2
        ;;
esac

say "Looking for a C compiler, CMake, MPI, hwloc, SQLite and cJSON"
packages_need_build
if [ -z "$PACKAGES_MISSING" ]; then
    echo "All there."
else
    packages_install || exit 3
fi

build=$root/build
say "Building into $build"
# A build directory keeps the generator it was made with; only a new one may choose.
generator=
if [ ! -e "$build/CMakeCache.txt" ] && packages_have ninja; then generator="-G Ninja"; fi
# shellcheck disable=SC2086
cmake -S "$root" -B "$build" $generator -DPILOT_TESTS=OFF ||
    fail 1 "CMake did not succeed. After a change of compiler or MPI, remove $build and try again."
cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)" ||
    fail 1 "the build failed; the compiler's messages are above"
pilot=$build/pilot-mpi
[ -x "$pilot" ] || fail 1 "the build ended without $pilot"

work=$PWD/pilot_runs/quickstart
if ! mkdir -p "$work" 2>/dev/null || [ ! -w "$work" ]; then work=$build/quickstart; fi

say "Running examples/simple.json: $pilot --fresh --workdir $work $root/examples/simple.json"
# --fresh: this is a show, and a second one must not be refused because of the first.
"$pilot" --fresh --workdir "$work" "$root/examples/simple.json" ||
    fail 1 "pilot-mpi ended with status $?; the outputs of the tasks are below $work"

say "That was it. What to try now"
cat <<END
  the output of a task     cat $work/hello/stdout.txt
  what became of each      sqlite3 $work/state.db 'select id, status, exit_code, attempts from tasks'
  the task file            less $root/examples/simple.json
  your own                 printf 'echo one\necho two\n' | $pilot -
  all options              $pilot --help
  more examples            ls $root/examples          (a sweep, OpenMP, MPI, LAMMPS)
  in a Slurm allocation    less $root/slurm/README.md
  all tests                sh $root/tests/run.sh
END
