#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Reads the output of the sweep's tasks and prints a line a temperature: means over the run, and
# the diffusion coefficient from the slope of the mean square displacement.
#
#   sh parse_results.sh [WORKDIR]        WORKDIR: the pilot's (default: pilot_runs)
#
# Exit status 1 when an output is missing or has no complete run.
set -eu

work=${1:-pilot_runs}
status=0
set -- "$work"/T*/stdout.txt
if [ ! -e "$1" ]; then
    echo "parse_results.sh: no $work/T*/stdout.txt; is $work the pilot's work directory?" >&2
    exit 1
fi

echo "#   T set  samples    T mean    E_pot/atom       pressure    MSD at end           D"
echo "#     (K)                (K)          (eV)          (bar)         (A^2)    (cm^2/s)"
for t in $(printf '%s\n' "$@" | sed 's,.*/T\(.*\)/stdout.txt,\1,' | sort -n); do
    awk -v name="$t" '
        # The block after the second header (with the displacement) is the run that counts; its
        # first row, at step 0, is where the displacement starts.
        /c_msd\[4\]/ { in_run = 1; n = 0; next }
        /^Loop time/ { if (in_run) done = 1; in_run = 0 }
        in_run && NF == 6 && $1 + 0 == $1 {
            n++; temp += $3; pe += $4; press += $5; msd = $6
            x = $2; y = $6; sx += x; sy += y; sxx += x * x; sxy += x * y
        }
        END {
            if (!done || n < 2) { printf "T%s: no complete run in its output\n", name > "/dev/stderr"; exit 1 }
            # D = slope / 6; 1 A^2/ps = 1e-4 cm^2/s
            slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
            printf "%9s %8d %9.2f %13.6f %14.1f %13.4f %11.2e\n", name, n, temp / n, pe / n, press / n, msd, slope / 6 * 1e-4
        }' "$work/T$t/stdout.txt" || status=1
done
exit $status
