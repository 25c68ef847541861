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
    local id lines attempts
    sql "select id, attempts from tasks" >known
    while IFS='|' read -r id attempts; do
        lines=0
        if [ -e "journal/$id" ]; then lines=$(wc -l <"journal/$id"); fi
        [ "$lines" -le "$attempts" ] || fail "$id ran $lines times, the state knows $attempts"
        if [ "$lines" -gt 1 ]; then assert_eq "attempts of $id" "" "$(sort "journal/$id" | uniq -d)"; fi
    done <known
}
