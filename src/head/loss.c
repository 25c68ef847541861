/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: heartbeats, who is lost, and what follows from it. Nobody is asked twice: a rank that was
 * lost gets one last word (LEAVE) and is never listened to again, so nothing that it still does or
 * says can count.
 *
 * Signs of life are messages, and bells, which a thread of the other side rings when its loop is
 * held up (transport/beat.c). A rank is lost when
 *   - none came for --lost-after. Time in which we did not listen ourselves does not count;
 *   - none came for three heartbeats, and its host says that the process is not there any more;
 *   - it says so (LEAVE), or its node's launcher has died (GONE; then the rank itself stays).
 *
 * An agent gives us up after two thirds of that time, and so has killed its tasks before they start
 * elsewhere, unless it was stopped: then its guardian does that (launch/guardian.c). */
#include "head/impl.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/units.h"

#define REFUSED_BEATS 3

int64_t loss_agents_patience_ms(const struct head *h)
{
    return h->opt->lost_after_ms / 3 * 2;
}

/* ---- Losing ---------------------------------------------------------------------------------- */

/* The rank may be there and well; its node can run nothing more. */
static void node_down(struct head *h, node_id_t id, const char *why)
{
    struct node *n = &h->nodes[id];
    bool up = n->state == NODE_UP;

    if (n->state == NODE_LOST || n->state == NODE_LEFT)
        return;
    n->state = NODE_LOST;
    buf_clear(&n->out);
    log_warn("node %s is lost: %s", n->name, why);
    if (up)
        actions_node_lost(h, id, clock_mono_ms());
}

void loss_drop_rank(struct head *h, int rank)
{
    h->ranks[rank].lost = h->lost_ranks = true;
    transport_drop(h->mpi, rank);
}

void loss_of_rank(struct head *h, int rank, const char *why)
{
    struct rank *r = &h->ranks[rank];

    if (r->lost || rank == 0)
        return;
    /* If it was only stopped or cut off: it must not go on with what runs elsewhere. */
    ranks_tell(h, rank, MSG_LEAVE);
    transport_flush(h->mpi);
    loss_drop_rank(h, rank);
    if (r->is_agent)
        node_down(h, r->node, why);
    else
        log_info("rank %d, which ran nothing, is lost: %s", rank, why);
}

void loss_handle_gone(struct head *h, int rank)
{
    struct rank *r = &h->ranks[rank];

    if (h->released) {
        r->gone = true;
        if (r->is_agent && h->nodes[r->node].state != NODE_LOST)
            h->nodes[r->node].state = NODE_LEFT;
    } else if (r->is_agent) {
        r->is_agent = false; /* from here on it waits for the end, as a surplus rank does */
        node_down(h, r->node, "its launcher process has died");
    }
}

void loss_late_word(struct head *h, int rank)
{
    struct rank *r = &h->ranks[rank];

    if (!r->late && r->is_agent)
        log_warn("node %s, which was lost, speaks again; what it says does not count any more",
                 h->nodes[r->node].name);
    r->late = true;
}

/* ---- Signs of life --------------------------------------------------------------------------- */

/* Silence while nobody listened (this process was stopped, or in a callback) is no silence. */
static void forgive(struct head *h, int64_t now_ms)
{
    int64_t away_ms = now_ms - h->listened_ms;

    h->listened_ms = now_ms;
    if (away_ms <= h->opt->heartbeat_ms)
        return;
    for (int i = 0; i < h->rank_count; i++)
        if (h->ranks[i].heard_ms + away_ms <= now_ms)
            h->ranks[i].heard_ms += away_ms;
        else
            h->ranks[i].heard_ms = now_ms;
}

static void check(struct head *h, int rank, int64_t now_ms)
{
    struct transport_signs signs = transport_signs(h->mpi, rank);
    const struct rank *r = &h->ranks[rank];
    int64_t silent_ms = now_ms - (signs.heard_ms > r->heard_ms ? signs.heard_ms : r->heard_ms);
    char why[80];

    if (signs.refused && silent_ms > REFUSED_BEATS * h->opt->heartbeat_ms) {
        snprintf(why, sizeof(why), "the process of rank %d has died", rank);
        loss_of_rank(h, rank, why);
    } else if (silent_ms > h->opt->lost_after_ms) {
        snprintf(why, sizeof(why), "nothing heard from it for %.0f s",
                 (double)h->opt->lost_after_ms / 1000);
        loss_of_rank(h, rank, why);
    }
}

/* Nodes, and ranks that are none: surplus ones, and at the start those that have said HELLO and
 * wait for the others to do so. */
static void ping(struct head *h, int64_t now_ms)
{
    for (unsigned i = 0; i < h->node_count; i++) {
        struct node *n = &h->nodes[i];

        if (n->transport == h->mpi && n->state != NODE_LOST && n->state != NODE_LEFT &&
            n->out.len == 0 && now_ms - n->sent_ms >= h->opt->heartbeat_ms)
            msg_put_empty(&n->out, MSG_PING);
    }
    if (now_ms - h->others_pinged_ms < h->opt->heartbeat_ms)
        return;
    h->others_pinged_ms = now_ms;
    for (int i = 1; i < h->rank_count; i++)
        if (!h->ranks[i].is_agent && !h->ranks[i].lost && h->ranks[i].hello != NULL)
            ranks_tell(h, i, MSG_PING);
}

void loss_turn(struct head *h, int64_t now_ms)
{
    if (h->mpi == NULL)
        return;
    forgive(h, now_ms);
    for (int i = 1; i < h->rank_count; i++)
        if (!h->ranks[i].lost && !h->ranks[i].gone && h->ranks[i].hello != NULL)
            check(h, i, now_ms);
    ping(h, now_ms);
}

int64_t loss_next_ms(const struct head *h)
{
    int64_t next = INT64_MAX;

    for (unsigned i = 0; h->mpi != NULL && i < h->node_count; i++)
        if (h->nodes[i].transport == h->mpi && h->nodes[i].state != NODE_LOST &&
            h->nodes[i].sent_ms + h->opt->heartbeat_ms < next)
            next = h->nodes[i].sent_ms + h->opt->heartbeat_ms;
    return next;
}

/* ---- When too little is left ----------------------------------------------------------------- */

static const struct node *largest(const struct head *h, bool lost)
{
    const struct node *most = NULL;

    for (unsigned i = 0; i < h->node_count; i++) {
        const struct node *n = &h->nodes[i];

        if ((lost ? n->state == NODE_LOST : n->state == NODE_UP) &&
            (most == NULL || n->cores > most->cores))
            most = n;
    }
    return most;
}

/* Could a node that is up ever run such a task? */
static bool can_hold(const struct head *h, unsigned cores, int64_t memory)
{
    for (unsigned i = 0; i < h->node_count; i++) {
        const struct node *n = &h->nodes[i];

        if (n->state == NODE_UP && n->cores >= cores && (n->memory == 0 || n->memory >= memory))
            return true;
    }
    return false;
}

void loss_explain_stuck(const struct head *h, struct pilot_error *err)
{
    const struct node *up = largest(h, false), *lost = largest(h, true);
    struct sched_task_info info;
    task_id_t task = 0;
    char was[MSG_NAME_MAX + 64] = "", size[16];

    if (up == NULL) {
        err_set(err, PILOT_ELOST,
                "no node is left to run tasks%s; --resume goes on in a new allocation",
                h->opt->head_only ? " (--head-only: rank 0's own runs none)" : "");
        return;
    }
    do
        sched_get_task(h->sched, task++, &info);
    while (task < h->tasks.len &&
           (info.status != TASK_PENDING || can_hold(h, info.cores, h->tasks.v[task - 1].memory)));
    if (info.cores <= up->cores) {
        err_set(
            err, PILOT_ELOST,
            "task '%.200s' needs %u cores and %s of memory on one node, which none of those that "
            "are left has; --resume goes on in a new allocation",
            head_task_id(h, task - 1), info.cores,
            units_size_text(h->tasks.v[task - 1].memory, size, sizeof(size)));
        return;
    }
    if (lost != NULL && lost->cores > up->cores)
        snprintf(was, sizeof(was), " (%s, which was lost, had %u)", lost->name, lost->cores);
    err_set(
        err, PILOT_ELOST,
        "task '%.200s' needs %u cores, but the largest node that is left, %s, has %u%s; --resume "
        "goes on in a new allocation",
        head_task_id(h, task - 1), info.cores, up->name, up->cores, was);
}
