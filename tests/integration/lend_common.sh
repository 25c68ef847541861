# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests of lending share. Sourced after lib.sh.

CORES=2 # of each node

# Each attempt leaves a line: which one it was.
journal_tasks() { # COUNT [SECONDS]
    mkdir -p journal
    for ((i = 1; i <= $1; i++)); do
        echo "{\"id\": \"t$i\", \"command\": \"echo \$PILOT_ATTEMPT >>$PWD/journal/t$i${2-; sleep 0.02}\"}"
    done
}

begun() { find journal -type f | wc -l; }
at_least_begun() { [ "$(begun)" -ge "$1" ]; }

# What ran, the state knows, and knows once.
check_journal() {
    sql "select id, attempts from tasks" >known
    find journal -type f -printf '%f\n' | sort >ran
    (cd journal && xargs -d '\n' awk '{ print FILENAME, $0 }') <ran >lines
    awk 'FNR == NR { split($0, row, "|"); known[row[1]] = row[2]; next }
        { if (seen[$0]++) print "attempt", $2, "of", $1, "ran twice"; times[$1]++ }
        END { for (id in times) if (times[id] > known[id]) print id, "ran", times[id], "times, the state knows", known[id] + 0 }' known lines >wrong
    [ ! -s wrong ] || fail "$(head -n 5 wrong)"
}
