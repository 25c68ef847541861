/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the counting of lines in seconds. Must not write.
 *
 * A second that wanted too many closes the one after it to ordinary lines, so that a steady flood
 * is shown as counts only, not as 50 arbitrary lines in each second of an hour. */
#include "report/hold.h"

#include <string.h>

#include "report/text.h"

void hold_init(struct hold *h, int64_t now_ms)
{
    memset(h, 0, sizeof(*h));
    h->second_ms = now_ms;
    h->count_due_ms = INT64_MAX;
    h->count_every_ms = HOLD_COUNT_MS;
}

static void next_second(struct hold *h, int64_t now_ms)
{
    int64_t passed = (now_ms - h->second_ms) / 1000;

    if (passed < 1)
        return;
    h->closed = passed == 1 && h->wanted > HOLD_LINES;
    h->second_ms += passed * 1000;
    h->wanted = 0;
    h->failures = 0;
}

bool hold_pass(struct hold *h, enum hold_kind kind, bool urgent, int64_t now_ms)
{
    next_second(h, now_ms);
    if (urgent) {
        if (h->failures < HOLD_FAILURES) {
            h->failures++;
            return true;
        }
    } else {
        h->wanted++;
        if (!h->closed && h->wanted <= HOLD_LINES)
            return true;
    }
    h->held[kind]++;
    if (h->count_due_ms == INT64_MAX)
        h->count_due_ms = now_ms + h->count_every_ms;
    return false;
}

int64_t hold_due_ms(const struct hold *h)
{
    return h->count_due_ms;
}

bool hold_count(struct hold *h, bool failures_only, int64_t now_ms, struct buf *b)
{
    static const char *const words[HOLD_KINDS] = {
        "started", "completed", "failed", "retried", "skipped", "cancelled",
    };
    const char *between = "... ";
    char n[TEXT_NUM];
    bool first = true;

    next_second(h, now_ms);
    for (int i = 0; i < HOLD_KINDS; i++) {
        if (h->held[i] == 0 || (failures_only && i != HOLD_FAILED && i != HOLD_RETRIED))
            continue;
        text_add(b, "%s%s %s%s", between, text_count(n, h->held[i]), first ? "more " : "",
                 words[i]);
        between = ", ";
        first = false;
    }
    memset(h->held, 0, sizeof(h->held));
    h->count_due_ms = INT64_MAX;
    if (h->closed && h->count_every_ms < HOLD_COUNT_MAX_MS / 2)
        h->count_every_ms *= 2;
    else
        h->count_every_ms = h->closed ? HOLD_COUNT_MAX_MS : HOLD_COUNT_MS;
    return !first;
}
