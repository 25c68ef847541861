#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A minute of tests/torture.sh with small workloads, the way of starting the pilot another in each round.
# PILOT_TEST_SEED (1), PILOT_TEST_MINUTES (1), PILOT_TEST_TASKS (300).
here=$(cd "$(dirname "$0")" && pwd)
python3 -B "$here/../torture/test_audit.py" || exit 1
exec bash "$here/../torture.sh" --minutes "${PILOT_TEST_MINUTES:-1}" --seed "${PILOT_TEST_SEED:-1}" \
    --tasks "${PILOT_TEST_TASKS:-300}" --lost-after 2
