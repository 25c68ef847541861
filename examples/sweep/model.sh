#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The "simulation": the long-time mean of the logistic map x <- rate x (1 - x).
#   sh model.sh RATE SEED
set -eu
awk -v rate="$1" -v seed="$2" 'BEGIN {
    x = (seed * 0.137 + 0.1) % 1
    for (i = 0; i < 1000; i++) x = rate * x * (1 - x)
    for (i = 0; i < 200000; i++) { x = rate * x * (1 - x); sum += x }
    printf "%s %s %.6f\n", rate, seed, sum / 200000
}'
