#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The "simulation": a Gaussian peak at 6.2 with some noise. Prints x and y.
#   sh model.sh X
set -eu
awk -v x="$1" 'BEGIN {
    # The noise is a hash of x, so that x has the same y whenever and wherever it is computed.
    n = int(2 * x + 0.5) + 1
    for (i = 0; i < 3; i++) n = (n * 16807) % 2147483647
    printf "%g %.4f\n", x, exp(-(x - 6.2) ^ 2 / 2) + 0.2 * (n / 2147483647 - 0.5)
}'
