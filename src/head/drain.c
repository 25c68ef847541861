/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: what the end of the allocation means for a run. At --drain-margin before it nothing starts
 * any more and what runs is ended; when only late tasks are left, there is no need to wait for
 * that. */
#include "head/impl.h"

#include "common/log.h"
#include "head/walltime.h"

void drain_set_end(struct head *h, int64_t end_ms)
{
    h->end_ms = h->drain_ms = end_ms;
    if (end_ms == INT64_MAX)
        return;
    h->drain_ms = end_ms - h->opt->drain_margin_ms;
    if (h->drain_ms < 1) /* 0 is no deadline; the clock may have begun a moment ago */
        h->drain_ms = 1;
}

int64_t drain_left_ms(const struct head *h, int64_t now_ms)
{
    if (h->drain_ms == INT64_MAX)
        return INT64_MAX;
    return h->drain_ms > now_ms ? h->drain_ms - now_ms : 0;
}

void drain_announce(const struct head *h, int64_t now_ms)
{
    char left[40], margin[40];

    if (h->end_ms == INT64_MAX)
        return;
    log_info("the allocation ends in %s; what still runs %s before that is ended and waits for the "
             "next one",
             walltime_text(h->end_ms - now_ms, left, sizeof(left)),
             walltime_text(h->opt->drain_margin_ms, margin, sizeof(margin)));
    if (h->opt->grace_ms >= h->opt->drain_margin_ms && h->opt->drain_margin_ms > 0)
        log_warn(
            "--grace is not shorter than --drain-margin: at the end of the allocation tasks have "
            "less than that between TERM and KILL");
}

void drain_turn(struct head *h, int64_t now_ms)
{
    char left[40];

    if (now_ms < h->drain_ms || h->stop >= STOP_TERM)
        return;
    walltime_text(h->end_ms - now_ms, left, sizeof(left));
    log_warn("the allocation ends in %s: ending the running tasks; --resume goes on later", left);
    head_stop(h, STOP_TERM, "the allocation ends in %s", left);
}

int64_t drain_next_ms(const struct head *h)
{
    return h->stop < STOP_TERM ? h->drain_ms : INT64_MAX;
}

/* The last quarter of the margin is for the state and the way out. */
int64_t drain_kill_ms(const struct head *h, int64_t wanted_ms, int64_t now_ms)
{
    int64_t last_ms;

    if (h->end_ms == INT64_MAX)
        return wanted_ms;
    last_ms = h->end_ms - h->opt->drain_margin_ms / 4;
    if (last_ms < now_ms)
        last_ms = now_ms;
    return last_ms < wanted_ms ? last_ms : wanted_ms;
}

void drain_late(struct head *h, task_id_t late, int64_t now_ms)
{
    char left[40];

    head_stop(h, STOP_DRAIN, "%u task%s more time than is left (the allocation ends in %s)", late,
              late == 1 ? " needs" : "s need",
              walltime_text(h->end_ms - now_ms, left, sizeof(left)));
}
