/* SPDX-License-Identifier: BSD-3-Clause */
/* How well mixed tasks fill a machine, and what that costs each of them:
 *
 *     bench_mixed TASKS SEED [ESTIMATE [NODES [CORES]]]
 *
 * Tasks of 1 to 64 cores (log-uniform) and 5 to 500 s (a Pareto distribution with exponent 1, cut
 * off) are all there at the beginning. The production core runs them under a virtual clock; it is
 * told that each takes at most ESTIMATE percent of what it takes (0, the default: nobody knows). So
 * do two plain policies, which know each duration beforehand, for they could reserve nothing else:
 *
 *   strict    in the order of the file; the first that does not fit has a reservation, and nothing
 *             behind it starts before it does;
 *   backfill  the same, but what cannot delay the reserved start goes first (of each width the
 * first waiting task is looked at).
 *
 * Prints one line of words and numbers: the makespan and its lower bound, and for both policies the
 * worst wait of a task in units of its wait there. Waits under FLOOR_MS count as that: who waits
 * two seconds instead of none has not been starved. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../sim/world.h"
#include "sim/campaign.h"

#define WIDEST 64
#define FLOOR_MS (2 * SCHED_PATIENCE_MS)
#define NONE UINT32_MAX

struct mixed {
    uint32_t tasks, nodes, cores;
    struct campaign_task *list;
    int64_t *ours_ms, *plain_ms; /* waits */
    double area;                 /* core milliseconds */
    int64_t longest_ms;
};

static double uniform(uint64_t seed, uint64_t a, uint64_t b)
{
    return (double)(random_of(seed, a, b) >> 11) / 9007199254740992.0;
}

static void make_tasks(struct mixed *m, uint64_t seed, unsigned estimate)
{
    for (uint32_t i = 0; i < m->tasks; i++) {
        struct campaign_task *t = &m->list[i];

        t->cores = (uint32_t)pow(WIDEST + 1, uniform(seed, i, 1));
        t->duration_ms = (int64_t)(5000 / (1 - uniform(seed, i, 2) * (1 - 5.0 / 500)));
        t->timeout_ms = t->duration_ms * estimate / 100;
        m->area += (double)t->cores * (double)t->duration_ms;
        if (t->duration_ms > m->longest_ms)
            m->longest_ms = t->duration_ms;
    }
}

/* ---- The production core, which tells no starts in campaign_run; the makespans must agree
 * -------- */

static int64_t run_core(struct mixed *m)
{
    struct sched_config config = {.patience_ms = SCHED_PATIENCE_MS, .look_ms = SCHED_LOOK_MS};
    struct sched_task *batch = calloc(m->tasks, sizeof(*batch));
    struct sched *s = sched_create(&config);
    struct sched_actions out = {0};
    struct happenings todo = {0};
    struct happening h;
    int64_t now_ms = 0;

    if (s == NULL || batch == NULL)
        world_fail("no memory");
    for (node_id_t n = 0; n < m->nodes; n++)
        if (sched_apply(s,
                        &(struct sched_event){.type = SCHED_NODE_UP, .node = n, .cores = m->cores},
                        0, &out) < 0)
            world_fail("sched_apply");
    for (uint32_t i = 0; i < m->tasks; i++) {
        batch[i].cores = m->list[i].cores;
        batch[i].timeout_ms = m->list[i].timeout_ms;
    }
    if (sched_add(s, batch, m->tasks, 0, &out) < 0)
        world_fail("sched_add");
    for (;;) {
        int64_t next_ms, wake_ms;

        if (sched_place(s, now_ms, &out) < 0)
            world_fail("sched_place");
        for (size_t i = 0; i < out.len; i++) {
            const struct sched_action *a = &out.v[i];

            if (a->type != SCHED_START)
                continue;
            m->ours_ms[a->task] = now_ms;
            happenings_add(&todo, now_ms + m->list[a->task].duration_ms, 0,
                           (struct sched_event){.type = SCHED_ATTEMPT_ENDED,
                                                .node = a->node,
                                                .task = a->task,
                                                .attempt = a->attempt,
                                                .reason = REASON_EXIT});
        }
        out.len = 0;
        next_ms = happenings_next_ms(&todo);
        if (next_ms == INT64_MAX)
            break;
        wake_ms = sched_next_ms(s, now_ms);
        now_ms = wake_ms > now_ms && wake_ms < next_ms ? wake_ms : next_ms;
        while (happenings_next_ms(&todo) == now_ms && happenings_pop(&todo, &h))
            if (sched_apply(s, &h.event, now_ms, &out) < 0)
                world_fail("sched_apply");
    }
    sched_destroy(s);
    sched_actions_fini(&out);
    happenings_fini(&todo);
    free(batch);
    return now_ms;
}

/* ---- The plain policies -------------------------------------------------------------------------
 */

struct plain_node {
    uint32_t free, running;
    struct plain_end {
        int64_t at_ms;
        uint32_t cores;
    } * ends; /* of what runs: at most as many as cores */
};

struct plain {
    struct mixed *m;
    struct plain_node *nodes;
    struct happenings todo;                 /* ends; event.node, event.task */
    uint32_t *next;                         /* the next task of the same width */
    uint32_t first[WIDEST + 1];             /* the first waiting task of each width */
    uint32_t reserved, reserved_for, extra; /* node; task; cores left beside it at from_ms */
    int64_t from_ms, now_ms;
};

static void start_plain(struct plain *p, uint32_t task, uint32_t node)
{
    const struct campaign_task *t = &p->m->list[task];
    struct plain_node *n = &p->nodes[node];
    struct sched_event end = {.node = node, .task = task};

    p->m->plain_ms[task] = p->now_ms;
    n->free -= t->cores;
    n->ends[n->running++] = (struct plain_end){p->now_ms + t->duration_ms, t->cores};
    happenings_add(&p->todo, p->now_ms + t->duration_ms, 0, end);
    p->first[t->cores] = p->next[task];
}

static void end_plain(struct plain *p, const struct sched_event *ev)
{
    struct plain_node *n = &p->nodes[ev->node];
    uint32_t cores = p->m->list[ev->task].cores, i = 0;

    while (n->ends[i].at_ms != p->now_ms || n->ends[i].cores != cores)
        i++;
    n->ends[i] = n->ends[--n->running];
    n->free += cores;
}

/* The fullest node with so much room, but not that one; NONE: there is none. */
static uint32_t fullest(const struct plain *p, uint32_t cores, uint32_t but)
{
    uint32_t best = NONE;

    for (uint32_t i = 0; i < p->m->nodes; i++)
        if (i != but && p->nodes[i].free >= cores &&
            (best == NONE || p->nodes[i].free < p->nodes[best].free))
            best = i;
    return best;
}

static int by_time(const void *a, const void *b)
{
    const struct plain_end *x = a, *y = b;

    return x->at_ms < y->at_ms ? -1 : x->at_ms > y->at_ms;
}

static void reserve(struct plain *p, uint32_t task)
{
    uint32_t cores = p->m->list[task].cores;

    p->reserved_for = task;
    p->from_ms = INT64_MAX;
    for (uint32_t i = 0; i < p->m->nodes; i++) {
        struct plain_node *n = &p->nodes[i];
        uint32_t free = n->free, k = 0;

        qsort(n->ends, n->running, sizeof(*n->ends), by_time);
        while (free < cores)
            free += n->ends[k++].cores;
        if (k == 0 || n->ends[k - 1].at_ms >= p->from_ms)
            continue;
        p->from_ms = n->ends[k - 1].at_ms;
        while (k < n->running && n->ends[k].at_ms == p->from_ms)
            free += n->ends[k++].cores;
        p->reserved = i;
        p->extra = free - cores;
    }
}

static uint32_t head_of(const struct plain *p, uint32_t after)
{
    uint32_t head = NONE;

    for (uint32_t w = 1; w <= WIDEST; w++)
        if (p->first[w] < head && (after == NONE || p->first[w] > after))
            head = p->first[w];
    return head;
}

/* Where the task may start without delaying the reserved one; NONE: nowhere. */
static uint32_t beside(struct plain *p, uint32_t task)
{
    const struct campaign_task *t = &p->m->list[task];
    uint32_t node = fullest(p, t->cores, p->reserved);

    if (node != NONE || p->nodes[p->reserved].free < t->cores)
        return node;
    if (p->now_ms + t->duration_ms <= p->from_ms)
        return p->reserved;
    if (t->cores > p->extra)
        return NONE;
    p->extra -= t->cores;
    return p->reserved;
}

static void pass_plain(struct plain *p, bool backfill)
{
    uint32_t head, node;

    while ((head = head_of(p, NONE)) != NONE &&
           (node = fullest(p, p->m->list[head].cores, NONE)) != NONE)
        start_plain(p, head, node);
    if (head == NONE || !backfill)
        return;
    if (p->reserved_for != head)
        reserve(p, head);
    for (uint32_t task = head; (task = head_of(p, task)) != NONE;)
        if ((node = beside(p, task)) != NONE)
            start_plain(p, task, node);
}

static int64_t run_plain(struct mixed *m, bool backfill)
{
    struct plain p = {.m = m, .reserved_for = NONE};
    struct happening h;

    p.nodes = calloc(m->nodes, sizeof(*p.nodes));
    p.next = calloc(m->tasks, sizeof(*p.next));
    if (p.nodes == NULL || p.next == NULL)
        world_fail("no memory");
    memset(p.first, 0xff, sizeof(p.first));
    for (uint32_t i = m->tasks; i-- > 0;) {
        p.next[i] = p.first[m->list[i].cores];
        p.first[m->list[i].cores] = i;
    }
    for (uint32_t i = 0; i < m->nodes; i++) {
        p.nodes[i].free = m->cores;
        p.nodes[i].ends = calloc(m->cores, sizeof(*p.nodes[i].ends));
        if (p.nodes[i].ends == NULL)
            world_fail("no memory");
    }
    for (pass_plain(&p, backfill); happenings_next_ms(&p.todo) != INT64_MAX;
         pass_plain(&p, backfill)) {
        p.now_ms = happenings_next_ms(&p.todo);
        while (happenings_next_ms(&p.todo) == p.now_ms && happenings_pop(&p.todo, &h))
            end_plain(&p, &h.event);
    }
    for (uint32_t i = 0; i < m->nodes; i++)
        free(p.nodes[i].ends);
    free(p.nodes);
    free(p.next);
    happenings_fini(&p.todo);
    return p.now_ms;
}

static void compare(struct mixed *m, const char *policy, bool backfill)
{
    int64_t makespan_ms = run_plain(m, backfill);
    double worst = 0;
    uint32_t over = 0, which = 0;

    for (uint32_t i = 0; i < m->tasks; i++) {
        double ours = (double)m->ours_ms[i], plain = (double)m->plain_ms[i];
        double ratio = (ours < FLOOR_MS ? FLOOR_MS : ours) / (plain < FLOOR_MS ? FLOOR_MS : plain);

        over += ratio > 2;
        if (ratio > worst) {
            worst = ratio;
            which = i;
        }
    }
    printf(" %s-makespan %.1f %s-worst %.3f %s-over-2 %u %s-task %u,%u,%.1f,%.1f,%.1f", policy,
           (double)makespan_ms / 1e3, policy, worst, policy, over, policy, which,
           m->list[which].cores, (double)m->list[which].duration_ms / 1e3,
           (double)m->ours_ms[which] / 1e3, (double)m->plain_ms[which] / 1e3);
}

int main(int argc, char **argv)
{
    struct mixed m = {.nodes = 100, .cores = 128};
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    unsigned estimate = 0;
    struct campaign_result r;
    struct pilot_error err;
    double bound_ms;

    m.tasks = argc > 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    if (argc > 3)
        estimate = (unsigned)strtoul(argv[3], NULL, 10);
    if (argc > 4)
        m.nodes = (uint32_t)strtoul(argv[4], NULL, 10);
    if (argc > 5)
        m.cores = (uint32_t)strtoul(argv[5], NULL, 10);
    if (m.tasks < 1 || argc > 6 || m.nodes < 1 || m.cores < WIDEST) {
        fputs("usage: bench_mixed TASKS SEED [ESTIMATE [NODES [CORES]]], CORES at least 64\n",
              stderr);
        return 2;
    }
    m.list = calloc(m.tasks, sizeof(*m.list));
    m.ours_ms = calloc(m.tasks, sizeof(*m.ours_ms));
    m.plain_ms = calloc(m.tasks, sizeof(*m.plain_ms));
    if (m.list == NULL || m.ours_ms == NULL || m.plain_ms == NULL)
        world_fail("no memory");
    world_set_seed(seed);
    make_tasks(&m, seed, estimate);
    if (campaign_run(m.list, m.tasks,
                     &(struct campaign_machine){.nodes = m.nodes, .cores_per_node = m.cores}, &r,
                     &err) < 0)
        world_fail("%s", err.text);
    if (run_core(&m) != r.makespan_ms)
        world_fail("campaign_run and this program do not agree about the makespan");
    bound_ms = m.area / m.nodes / m.cores;
    if (bound_ms < (double)m.longest_ms)
        bound_ms = (double)m.longest_ms;
    printf("makespan %.1f bound %.1f area %.1f longest %.1f", (double)r.makespan_ms / 1e3,
           bound_ms / 1e3, m.area / m.nodes / m.cores / 1e3, (double)m.longest_ms / 1e3);
    compare(&m, "strict", false);
    compare(&m, "backfill", true);
    putchar('\n');
    free(m.list);
    free(m.ours_ms);
    free(m.plain_ms);
    return 0;
}
