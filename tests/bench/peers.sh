#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# pilot-mpi beside other tools that run many tasks, on this machine, in one run: installs those that
# the package registries serve, gives all of them the same work, and writes docs/performance.md.
#
#   tests/bench/peers.sh                 all tools, all workloads, 5 rounds
#   tests/bench/peers.sh --quick         small sizes, 1 round, 5 to 10 minutes; docs/ is left alone
#   --rounds N                           rounds (5; with --quick 1)
#   --add                                more rounds to the results that there are
#   --tools LIST --workloads LIST        only these, with commas between them (docs/performance.md
#                                        has the workloads; a wrong name lists those that there are)
#   --cap SECONDS                        a slow tool gets so many tasks as this is enough for (15)
#   --long-cap SECONDS                   the same for the others (120)
#   --timeout SECONDS                    no run takes longer (600)
#   --no-install                         measure what is there
#   --report                             measure nothing; write the page from the results
#
# Everything goes below build/peers (BUILD names another build directory), but Debian's packages.
# Results: build/peers/results.json (with --quick: quick.json), and without --quick
# docs/performance.md, docs/performance-peers.svg and docs/performance-peers.json.
#
# Exit status: 0; 1 when pilot-mpi did not do all its work, or when the page lacks the reason for a
# peer that is ahead; 2 usage; 3 something to build or measure with is missing.
set -u

ROOT=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
BUILD=$(realpath -m "${BUILD:-$ROOT/build}")
HERE=$ROOT/tests/bench/peers
OUT=$BUILD/peers
VENV=$OUT/venv

# Versions are not fixed: the comparison is with what a person gets today; the page names them.
PYPI="hyperqueue parsl dask distributed qcg-pilotjob disbatch snakemake"
APT="parallel:parallel make:make ninja:ninja-build tsp:task-spooler"

install=yes measure=yes quick= rounds= options=()
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=yes ;;
        --add) options+=(--add) ;;
        --no-install) install=no ;;
        --report) measure=no ;;
        --rounds | --tools | --workloads | --cap | --long-cap | --timeout)
            [ $# -ge 2 ] || { echo "peers: $1 wants a value" >&2 && exit 2; }
            if [ "$1" = --rounds ]; then rounds=$2; else options+=("$1" "$2"); fi
            shift
            ;;
        -h | --help) sed -n '/^# pilot-mpi beside/,/^# Exit/s/^# \{0,1\}//p' "$0" && exit 0 ;;
        *) echo "peers: '$1' is not an option; --help lists them" >&2 && exit 2 ;;
    esac
    shift
done
[ "${rounds:-1}" -gt 0 ] 2>/dev/null || { echo "peers: --rounds wants a number, not '$rounds'" >&2 && exit 2; }

# What cannot be installed is left out, and the page says so; only pilot-mpi must be there.
install_peers() {
    local pair missing=()
    for pair in $APT; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
                --no-install-recommends "${missing[@]}"; } >"$OUT/apt.log" 2>&1 ||
                echo "peers: apt-get did not install ${missing[*]} ($OUT/apt.log)" >&2
        else
            echo "peers: not installed: ${missing[*]}" >&2
        fi
    fi
    [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV" || return
    # One by one: one that does not install must not cost the others.
    for pair in $PYPI; do
        "$VENV/bin/python" -c "import importlib.metadata as m; m.version('$pair')" 2>/dev/null ||
            "$VENV/bin/pip" install -q "$pair" >>"$OUT/pip.log" 2>&1 ||
            echo "peers: pip did not install $pair ($OUT/pip.log)" >&2
    done
}

results=$OUT/results.json
if [ -n "$quick" ]; then
    results=$OUT/quick.json
    options+=(--quick)
fi
mkdir -p "$OUT" || exit 3
# Two at a time would measure each other.
exec 9>"$OUT/lock"
flock -n 9 || { echo "peers: another one is measuring in $OUT" >&2 && exit 3; }

if [ $measure = yes ]; then
    for program in "$BUILD/pilot-mpi" "$BUILD/tests/bench/bench_spawn"; do
        [ -x "$program" ] || { echo "peers: no $program; build with -DPILOT_TESTS=ON first" >&2 && exit 3; }
    done
    [ $install = no ] || install_peers
    ${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -o "$OUT/peer_task" "$HERE/peer_task.c" || exit 3
    # In the background, as bash hears a signal only then; it kills what it started and ends. The
    # lock is not for those that are started.
    trap '[ -z "${pid:-}" ] || kill "$pid" 2>/dev/null' HUP INT TERM
    python3 "$HERE/measure.py" --root "$ROOT" --build "$BUILD" --venv "$VENV" --work "$OUT/work" \
        --results "$results" --peer-task "$OUT/peer_task" --cores "$(nproc)" \
        --rounds "${rounds:-$([ -n "$quick" ] && echo 1 || echo 5)}" "${options[@]}" 9>&- &
    pid=$!
    wait $pid
    status=$?
    if [ $status -gt 128 ]; then wait $pid; fi # a signal ended the first wait
    [ $status = 0 ] || exit $status
fi
if [ -n "$quick" ]; then
    python3 "$HERE/report.py" --results "$results" --page "$OUT/quick.md" --template "$ROOT/docs/performance.md"
else
    python3 "$HERE/report.py" --results "$results" --page "$ROOT/docs/performance.md"
fi
