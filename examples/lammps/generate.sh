#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Writes the inputs of a temperature sweep of argon, one directory a temperature, and the task file.
#
#   sh generate.sh [OPTIONS]
#     --dir DIR              where to (default: sweep, below the current directory)
#     --temperatures "T..."  in K (default: "80 90 100 110 120")
#     --lattice A            edge of the fcc cell in Angstrom (default: 5.26)
#     --ranks N              MPI ranks, and cores, a task (default: 2)
#     --steps N              steps of 5 fs after equilibration (default: 60000)
#   pilot-mpi sweep/tasks.json
set -eu

dir=sweep temperatures="80 90 100 110 120" lattice=5.26 ranks=2 steps=60000
while [ $# -gt 0 ]; do
    if [ $# -lt 2 ]; then
        sed -n '/^# Writes/,/^#   pilot-mpi/s/^# \{0,1\}//p' "$0" >&2
        exit 2
    fi
    case $1 in
        --dir) dir=$2 ;;
        --temperatures) temperatures=$2 ;;
        --lattice) lattice=$2 ;;
        --ranks) ranks=$2 ;;
        --steps) steps=$2 ;;
        *)
            echo "generate.sh: unknown option $1" >&2
            exit 2
            ;;
    esac
    shift 2
done

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
json_dir=$(printf '%s' "$dir" | sed 's/[\\"]/\\&/g')

comma=
{
    printf '{"defaults": {"cores": %s, "timeout": 300, "max_retries": 1},\n "tasks": [\n' "$ranks"
    for t in $temperatures; do
        mkdir -p "$dir/T$t"
        # 256 atoms: 4 x 4 x 4 cells of 4.
        sed -e "s/@TEMPERATURE@/$t/g" -e "s/@LATTICE@/$lattice/g" -e "s/@CELLS@/4/g" \
            -e "s/@SEED@/4928459/g" -e "s/@EQUILIBRATION@/$((steps / 10))/g" \
            -e "s/@STEPS@/$steps/g" -e "s/@EVERY@/$((steps / 100 > 0 ? steps / 100 : 1))/g" \
            "$here/in.argon" >"$dir/T$t/input.lmp"
        # The task starts where its input lies; what it prints goes to its own directory as always.
        printf '%s  {"id": "T%s", "command": "mpirun -np %s lmp -in input.lmp",\n' "$comma" "$t" "$ranks"
        printf '   "workdir": "%s/T%s", "tags": {"temperature": %s}}' "$json_dir" "$t" "$t"
        comma=',
'
    done
    printf '\n ]}\n'
} >"$dir/tasks.json"
echo "$dir/tasks.json: $(echo "$temperatures" | wc -w | tr -d ' ') tasks, $ranks cores each"
