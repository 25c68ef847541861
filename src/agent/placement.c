/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the free units and their counts per domain. Must not allocate, or do work beyond the
 * domains looked at, once it is built: a one-core task takes well under a microsecond.
 *
 * The best way to span several domains is a packing problem; what is done here is exact for the
 * number of domains and for the width of the window they lie in, and greedy beyond that. */
#include "agent/placement.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "pilot.h"

#define MAX_LEVELS 8

struct domain {
    unsigned first, end; /* units first..end-1 */
    unsigned parent;     /* domain of the level above */
    unsigned free;       /* free units */
    unsigned untouched;  /* those of them in cores that are free as a whole; = free without SMT */
};

struct level {
    struct domain *domains;
    unsigned *domain_of; /* by unit */
    unsigned count;
};

struct placement {
    unsigned total;
    unsigned char *is_free;          /* by unit: 1 or 0 */
    struct level levels[MAX_LEVELS]; /* coarse to fine; the first is the machine */
    unsigned level_count;
    bool smt;            /* the last level is cores, units are hardware threads */
    unsigned core_width; /* hardware threads of the widest core; 1 without smt */
    unsigned *out;       /* where placement_take writes */
    unsigned out_len;
    unsigned *order; /* scratch: domains, sorted */
    unsigned *top;   /* scratch: free counts, sorted */
};

static unsigned min_u(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* ---- Building ----------------------------------------------------------------------------------
 */

static int level_alloc(struct level *l, unsigned units)
{
    l->domains = calloc(units, sizeof(*l->domains));
    l->domain_of = calloc(units, sizeof(*l->domain_of));
    l->count = 0;
    return l->domains != NULL && l->domain_of != NULL ? 0 : PILOT_ENOMEM;
}

static void level_free(struct level *l)
{
    free(l->domains);
    free(l->domain_of);
    memset(l, 0, sizeof(*l));
}

/* Cuts the domains of above (NULL: none) wherever key changes. */
static void level_divide(struct level *l, const struct level *above, const unsigned *key,
                         unsigned units)
{
    for (unsigned u = 0; u < units; u++) {
        unsigned parent = above != NULL ? above->domain_of[u] : 0;

        if (u == 0 || (key != NULL && key[u] != key[u - 1]) ||
            l->domains[l->count - 1].parent != parent)
            l->domains[l->count++] = (struct domain){.first = u, .end = u, .parent = parent};
        l->domain_of[u] = l->count - 1;
        l->domains[l->count - 1].end = u + 1;
        l->domains[l->count - 1].free++;
        l->domains[l->count - 1].untouched++;
    }
}

struct placement *placement_create(unsigned units)
{
    struct placement *p;

    BUG_ON(units == 0);
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->total = units;
    p->core_width = 1;
    p->is_free = malloc(units);
    p->order = calloc(units, sizeof(*p->order));
    p->top = calloc(units, sizeof(*p->top));
    if (p->is_free == NULL || p->order == NULL || p->top == NULL ||
        level_alloc(&p->levels[0], units) < 0) {
        level_free(&p->levels[0]);
        placement_destroy(p);
        return NULL;
    }
    memset(p->is_free, 1, units);
    level_divide(&p->levels[0], NULL, NULL, units);
    p->level_count = 1;
    return p;
}

void placement_destroy(struct placement *p)
{
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->level_count; i++)
        level_free(&p->levels[i]);
    free(p->is_free);
    free(p->order);
    free(p->top);
    free(p);
}

int placement_add_level(struct placement *p, const unsigned *key)
{
    const struct level *above = &p->levels[p->level_count - 1];
    struct level *l = &p->levels[p->level_count];

    BUG_ON(p->smt || p->level_count == MAX_LEVELS);
    if (level_alloc(l, p->total) < 0) {
        level_free(l);
        return PILOT_ENOMEM;
    }
    level_divide(l, above, key, p->total);
    if (l->count == above->count || l->count == p->total)
        level_free(l);
    else
        p->level_count++;
    return 0;
}

int placement_add_cores(struct placement *p, const unsigned *key)
{
    struct level *l = &p->levels[p->level_count];

    BUG_ON(p->smt || p->level_count == MAX_LEVELS);
    if (level_alloc(l, p->total) < 0) {
        level_free(l);
        return PILOT_ENOMEM;
    }
    level_divide(l, &p->levels[p->level_count - 1], key, p->total);
    if (l->count == p->total) { /* one thread a core: nothing to tell apart */
        level_free(l);
        return 0;
    }
    for (unsigned i = 0; i < l->count; i++)
        if (l->domains[i].free > p->core_width)
            p->core_width = l->domains[i].free;
    p->smt = true;
    p->level_count++;
    return 0;
}

unsigned placement_total(const struct placement *p)
{
    return p->total;
}

unsigned placement_free(const struct placement *p)
{
    return p->levels[0].domains[0].free;
}

/* ---- Changing one unit
 * --------------------------------------------------------------------------- */

static unsigned domain_size(const struct domain *d)
{
    return d->end - d->first;
}

/* How many units leave or enter the untouched cores when unit u is taken from, or given to, a state
 * in which its core is wholly free but for the change itself. */
static unsigned untouched_by(const struct placement *p, unsigned u, bool taking)
{
    const struct level *cores = &p->levels[p->level_count - 1];
    const struct domain *core;

    if (!p->smt)
        return 1;
    core = &cores->domains[cores->domain_of[u]];
    return core->free == domain_size(core) - (taking ? 0 : 1) ? domain_size(core) : 0;
}

static void take_unit(struct placement *p, unsigned u)
{
    unsigned spoiled = untouched_by(p, u, true);

    BUG_ON(!p->is_free[u]);
    p->is_free[u] = 0;
    for (unsigned i = 0; i < p->level_count; i++) {
        struct domain *d = &p->levels[i].domains[p->levels[i].domain_of[u]];

        d->free--;
        d->untouched -= spoiled;
    }
    p->out[p->out_len++] = u;
}

static void give_unit(struct placement *p, unsigned u)
{
    unsigned mended = untouched_by(p, u, false);

    BUG_ON(u >= p->total || p->is_free[u]);
    p->is_free[u] = 1;
    for (unsigned i = 0; i < p->level_count; i++) {
        struct domain *d = &p->levels[i].domains[p->levels[i].domain_of[u]];

        d->free++;
        d->untouched += mended;
    }
}

/* Takes the first count free units of d, which has so many. */
static void take_lowest(struct placement *p, const struct domain *d, unsigned count)
{
    const unsigned char *at = p->is_free + d->first;

    for (; count > 0; count--) {
        at = memchr(at, 1, (size_t)(p->is_free + d->end - at));
        BUG_ON(at == NULL);
        take_unit(p, (unsigned)(at - p->is_free));
    }
}

/* ---- Choosing
 * ------------------------------------------------------------------------------------ */

/* Whether domain a of a level has a fuller parent (or parent's parent ...) than b. */
static bool parent_fuller(const struct placement *p, unsigned level, unsigned a, unsigned b)
{
    while (level > 0) {
        a = p->levels[level].domains[a].parent;
        b = p->levels[level].domains[b].parent;
        if (a == b)
            return false;
        level--;
        if (p->levels[level].domains[a].free != p->levels[level].domains[b].free)
            return p->levels[level].domains[a].free < p->levels[level].domains[b].free;
    }
    return false;
}

/* Among domains from..to-1 of a level the fullest with count free units, of which untouched lie in
 * untouched cores; UINT32_MAX: none. */
static unsigned best_fit(const struct placement *p, unsigned level, unsigned from, unsigned to,
                         unsigned count, unsigned untouched)
{
    const struct domain *domains = p->levels[level].domains;
    unsigned best = UINT32_MAX;

    for (unsigned i = from; i < to; i++) {
        if (domains[i].free < count || domains[i].untouched < untouched)
            continue;
        if (best == UINT32_MAX || domains[i].free < domains[best].free ||
            (domains[i].free == domains[best].free && parent_fuller(p, level, i, best)))
            best = i;
    }
    return best;
}

/* Takes count hardware threads from cores from..to-1: first cores that are used up as a whole, the
 * widest first, and what then remains from the core where it fits best. */
static void take_threads(struct placement *p, unsigned from, unsigned to, unsigned count)
{
    const struct level *cores = &p->levels[p->level_count - 1];

    for (unsigned want = p->core_width; count > 0; want--) {
        unsigned rest;

        BUG_ON(want == 0);
        for (unsigned i = from; i < to && count >= want; i++) {
            if (cores->domains[i].free != want)
                continue;
            take_lowest(p, &cores->domains[i], want);
            count -= want;
        }
        rest = count > 0 ? best_fit(p, p->level_count - 1, from, to, count, 0) : UINT32_MAX;
        if (rest != UINT32_MAX) {
            take_lowest(p, &cores->domains[rest], count);
            count = 0;
        }
    }
}

/* The fewest of domains from..to-1 that have count free units together. */
static unsigned fewest_domains(struct placement *p, const struct domain *domains, unsigned from,
                               unsigned to, unsigned count)
{
    unsigned n = 0, sum = 0;

    /* Insertion sort, descending: few domains, or all alike. */
    for (unsigned i = from; i < to; i++) {
        unsigned at = n++;

        for (; at > 0 && p->top[at - 1] < domains[i].free; at--)
            p->top[at] = p->top[at - 1];
        p->top[at] = domains[i].free;
    }
    for (unsigned i = 0; i < n; i++) {
        sum += p->top[i];
        if (sum >= count)
            return i + 1;
    }
    BUG("%u free units in a domain that was to have %u", sum, count);
}

/* The smallest end so that `fewest` of the domains from..end-1 have count free units; to + 1: none
 * up to `to`. */
static unsigned window_end(struct placement *p, const struct domain *domains, unsigned from,
                           unsigned to, unsigned fewest, unsigned count)
{
    unsigned n = 0, sum = 0;

    for (unsigned i = from; i < to; i++) {
        unsigned at = n;

        if (domains[i].free == 0)
            continue;
        if (n == fewest) { /* the smallest of the best makes room, if it is smaller */
            if (domains[i].free <= p->top[n - 1])
                continue;
            sum -= p->top[n - 1];
            at = n - 1;
        } else {
            n++;
        }
        for (; at > 0 && p->top[at - 1] < domains[i].free; at--)
            p->top[at] = p->top[at - 1];
        p->top[at] = domains[i].free;
        sum += domains[i].free;
        if (sum >= count)
            return i + 1;
    }
    return to + 1;
}

/* Narrows *from..*to-1 to the first of the narrowest windows in which `fewest` domains have count
 * free units together. */
static void narrow_window(struct placement *p, const struct domain *domains, unsigned *from,
                          unsigned *to, unsigned fewest, unsigned count)
{
    unsigned best_from = *from, best_to = *to;

    for (unsigned i = *from; i + fewest <= *to && best_to - best_from > fewest; i++) {
        unsigned limit = min_u(*to, i + (best_to - best_from) - 1);
        unsigned end;

        if (domains[i].free == 0)
            continue;
        end = window_end(p, domains, i, limit, fewest, count);
        if (end <= limit) {
            best_from = i;
            best_to = end;
        }
    }
    *from = best_from;
    *to = best_to;
}

static void take_within(struct placement *p, unsigned level, unsigned domain, unsigned count);

/* Takes count units out of several of the domains from..to-1 of a level, none of which has so many.
 */
static void take_across(struct placement *p, unsigned level, unsigned from, unsigned to,
                        unsigned count)
{
    const struct domain *domains = p->levels[level].domains;
    unsigned fewest = fewest_domains(p, domains, from, to, count);
    unsigned n = 0;

    narrow_window(p, domains, &from, &to, fewest, count);
    for (unsigned i = from; i < to; i++) { /* stable, descending */
        unsigned at = n++;

        for (; at > 0 && domains[p->order[at - 1]].free < domains[i].free; at--)
            p->order[at] = p->order[at - 1];
        p->order[at] = i;
    }
    for (unsigned i = 0; i + 1 < fewest; i++) {
        count -= domains[p->order[i]].free;
        take_lowest(p, &domains[p->order[i]], domains[p->order[i]].free);
    }
    take_within(p, level, best_fit(p, level, from, to, count, 0), count);
}

/* Takes count units out of one domain, which has so many. */
static void take_within(struct placement *p, unsigned level, unsigned domain, unsigned count)
{
    const struct domain *d = &p->levels[level].domains[domain];
    const struct level *below = &p->levels[level + 1];
    unsigned from, to, fits;

    if (level + 1 == p->level_count || count == d->free) {
        take_lowest(p, d, count);
        return;
    }
    from = below->domain_of[d->first];
    to = below->domain_of[d->end - 1] + 1;
    if (p->smt && level + 2 == p->level_count) {
        take_threads(p, from, to, count);
        return;
    }
    fits = best_fit(p, level + 1, from, to, count, 0);
    if (fits != UINT32_MAX)
        take_within(p, level + 1, fits, count);
    else
        take_across(p, level + 1, from, to, count);
}

static int compare_unsigned(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

    return (x > y) - (x < y);
}

bool placement_take(struct placement *p, unsigned count, unsigned *out)
{
    /* A single thread breaks no untouched core if it can help it; several want whole ones. */
    unsigned untouched = p->smt ? count / p->core_width * p->core_width : 0;

    if (count == 0 || count > placement_free(p))
        return false;
    p->out = out;
    p->out_len = 0;
    for (unsigned level = p->level_count; level-- > 0 && p->out_len == 0;) {
        unsigned n = p->levels[level].count;
        unsigned domain = best_fit(p, level, 0, n, count, untouched);

        if (domain == UINT32_MAX && untouched > 0)
            domain = best_fit(p, level, 0, n, count, 0);
        if (domain != UINT32_MAX)
            take_within(p, level, domain, count);
    }
    BUG_ON(p->out_len != count);
    p->out = NULL;
    if (count > 1)
        qsort(out, count, sizeof(*out), compare_unsigned);
    return true;
}

void placement_give(struct placement *p, const unsigned *units, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        give_unit(p, units[i]);
}
