/* SPDX-License-Identifier: BSD-3-Clause */
/* Random takes and gives on machines that are not here, against a model: no CPU is ever given
 * twice, and every task lies where the rule of placement.h puts it, worked out anew. Prints its
 * seed; PILOT_TEST_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/cpus.h"
#include "common/clock.h"

#define TOPOLOGY(name) TEST_DATA "/topologies/" name ".xml"
#define MAX_PUS 2048
#define MAX_CORES 1024

/* ---- Helpers
 * ------------------------------------------------------------------------------------- */

static struct cpus *make(const struct cpus_config *config)
{
    struct pilot_error err;
    struct cpus *c;

    if (cpus_create(&c, config, &err) < 0)
        fail_msg("%s", err.text);
    return c;
}

/* A parser of lists of its own. */
static unsigned parse(const char *list, bool set[MAX_PUS])
{
    unsigned n = 0;

    memset(set, 0, MAX_PUS * sizeof(*set));
    while (*list != '\0') {
        char *end;
        unsigned long first = strtoul(list, &end, 10), last = first;

        assert_ptr_not_equal(end, list);
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        assert_true(first <= last && last < MAX_PUS);
        for (unsigned long i = first; i <= last; i++, n++)
            set[i] = true;
        list = *end == ',' ? end + 1 : end;
    }
    return n;
}

static void assert_ascending(const struct cpus_set *set)
{
    for (unsigned i = 1; i < set->count; i++)
        assert_true(set->cores[i - 1] < set->cores[i]);
}

/* ---- Random takes against a model
 * ------------------------------------------------------------------ */

#define MAX_DOMAIN_LEVELS 4

/* A machine as its maker would describe it. Core i (in the machine's order) has CPUs pus(i). */
struct model {
    const char *name;
    struct cpus_config config;
    unsigned cores;
    unsigned threads;                  /* of a core */
    unsigned sizes[MAX_DOMAIN_LEVELS]; /* cores of a domain, finest first; 0 ends them */
    unsigned (*pu)(unsigned core, unsigned thread);
};

static unsigned pu_xeon(unsigned core, unsigned thread)
{
    return core + 16 * thread;
}

static unsigned pu_interleaved(unsigned core, unsigned thread)
{
    return core / 4 + core % 4 * 2 + 8 * thread;
}

static unsigned pu_subnuma(unsigned core, unsigned thread)
{
    return core + 24 * thread;
}

static unsigned pu_pairs(unsigned core, unsigned thread)
{
    return 2 * core + thread;
}

static unsigned pu_four(unsigned core, unsigned thread)
{
    return 4 * core + thread;
}

static unsigned pu_single(unsigned core, unsigned thread)
{
    (void)thread;
    return core;
}

static const struct model models[] = {
    {"xeon", {.xml = TOPOLOGY("xeon-2x8x2")}, 16, 2, {8}, pu_xeon},
    {"xeon, threads",
     {.xml = TOPOLOGY("xeon-2x8x2"), .use_hyperthreads = true},
     16,
     2,
     {8},
     pu_xeon},
    {"no L3", {.xml = TOPOLOGY("no-l3-2x8x2")}, 16, 2, {8}, pu_xeon},
    {"interleaved", {.xml = TOPOLOGY("interleaved-2x4x2")}, 8, 2, {4}, pu_interleaved},
    {"sub-NUMA", {.xml = TOPOLOGY("subnuma-2x2x6x2")}, 24, 2, {6, 12}, pu_subnuma},
    {"sub-NUMA, threads",
     {.xml = TOPOLOGY("subnuma-2x2x6x2"), .use_hyperthreads = true},
     24,
     2,
     {6, 12},
     pu_subnuma},
    {"epyc", {.xml = TOPOLOGY("epyc-128")}, 128, 1, {8, 16, 64}, pu_single},
    {"recorded", {.xml = TOPOLOGY("recorded-vm-2-cores")}, 2, 1, {0}, pu_single},
    {"1024 cores",
     {.synthetic = "pack:4 numa:4 l3:8 core:8 pu:1"},
     1024,
     1,
     {8, 64, 256},
     pu_single},
    {"4 threads a core",
     {.synthetic = "pack:2 l3:2 core:3 pu:4", .use_hyperthreads = true},
     12,
     4,
     {3, 6},
     pu_four},
    {"overlapping NUMA nodes",
     {.synthetic = "pack:1 [numa] group:2 [numa] core:4 pu:1"},
     8,
     1,
     {4},
     pu_single},
    {"a package a core", {.synthetic = "pack:12 l3:1 core:1 pu:2"}, 12, 2, {0}, pu_pairs},
};

struct world {
    const struct model *m;
    unsigned width;           /* units of a core */
    unsigned free[MAX_CORES]; /* by core, units */
    bool busy[MAX_PUS];
    unsigned free_units;
};

static unsigned domain_free(const struct world *w, unsigned size, unsigned domain)
{
    unsigned n = 0;

    for (unsigned i = domain * size; i < (domain + 1) * size; i++)
        n += w->free[i];
    return n;
}

/* The fewest domains of this size, among those of cores from..to-1, that have count free units. */
static unsigned fewest(const struct world *w, unsigned size, unsigned from, unsigned to,
                       unsigned count)
{
    unsigned free[MAX_CORES], n = 0, used = 0;

    for (unsigned d = from / size; d < to / size; d++)
        free[n++] = domain_free(w, size, d);
    while (count > 0) {
        unsigned best = 0;

        for (unsigned i = 1; i < n; i++)
            if (free[i] > free[best])
                best = i;
        assert_true(free[best] > 0);
        count -= free[best] < count ? free[best] : count;
        free[best] = 0;
        used++;
    }
    return used;
}

/* What the set took, by core, after checking that nothing in it was taken. */
static void add_set(struct world *w, const struct cpus_set *set, unsigned taken[MAX_CORES])
{
    bool pus[MAX_PUS];
    unsigned n = parse(set->list, pus), seen = 0;

    assert_ascending(set);
    memset(taken, 0, MAX_CORES * sizeof(*taken));
    for (unsigned core = 0; core < w->m->cores; core++) {
        unsigned here = 0;

        for (unsigned t = 0; t < w->m->threads; t++) {
            unsigned pu = w->m->pu(core, t);

            if (!pus[pu])
                continue;
            if (w->busy[pu])
                fail_msg("%s: CPU %u given twice", w->m->name, pu);
            w->busy[pu] = true;
            here++;
        }
        seen += here;
        if (w->width == 1)
            assert_true(here == 0 || here == w->m->threads); /* whole cores */
        taken[core] = w->width == 1 ? here / w->m->threads : here;
    }
    assert_int_equal(n, seen);
    assert_int_equal(set->count, w->width == 1 ? n / w->m->threads : n);
}

static void remove_set(struct world *w, const struct cpus_set *set)
{
    bool pus[MAX_PUS];

    parse(set->list, pus);
    for (unsigned core = 0; core < w->m->cores; core++)
        for (unsigned t = 0; t < w->m->threads; t++)
            if (pus[w->m->pu(core, t)]) {
                assert_true(w->busy[w->m->pu(core, t)]);
                w->busy[w->m->pu(core, t)] = false;
                if (w->width > 1 || t == 0)
                    w->free[core]++;
            }
    w->free_units += set->count;
}

/* The domain of this size that holds all of it; UINT32_MAX: there is more than one. */
static unsigned only_domain(const struct world *w, const unsigned *taken, unsigned size,
                            unsigned *domains)
{
    unsigned last = UINT32_MAX;

    *domains = 0;
    for (unsigned core = 0; core < w->m->cores; core++)
        if (taken[core] > 0 && core / size != last) {
            last = core / size;
            ++*domains;
        }
    return *domains == 1 ? last : UINT32_MAX;
}

/* Hardware threads: at most one core that was untouched is left half used, and a single thread goes
 * to the core with the fewest free ones. */
static void check_threads(const struct world *w, const unsigned *taken, unsigned count)
{
    unsigned broken = 0, smallest = UINT32_MAX, from = 0;

    for (unsigned core = 0; core < w->m->cores; core++) {
        if (taken[core] > 0 && taken[core] < w->width && w->free[core] == w->width)
            broken++;
        if (w->free[core] > 0 && w->free[core] < smallest)
            smallest = w->free[core];
        if (taken[core] > 0)
            from = w->free[core];
    }
    assert_true(broken <= 1);
    if (count == 1)
        assert_int_equal(from, smallest);
}

/* The rule of placement.h, worked out anew from the state before the take. */
static void check_place(const struct world *w, const unsigned *taken, unsigned count)
{
    unsigned parent_from = 0, parent_to = w->m->cores, below = 0, used;

    for (unsigned l = 0; l < MAX_DOMAIN_LEVELS && w->m->sizes[l] > 0; l++) {
        unsigned size = w->m->sizes[l];
        unsigned chosen = only_domain(w, taken, size, &used), room = 0, least = UINT32_MAX;

        for (unsigned d = 0; d < w->m->cores / size; d++) {
            unsigned free = domain_free(w, size, d);

            if (free >= count) {
                room++;
                least = free < least ? free : least;
            }
        }
        if (room == 0) {
            below = size;
            continue;
        }
        if (chosen == UINT32_MAX)
            fail_msg("%s: %u units over %u domains of %u cores, though %u had room", w->m->name,
                     count, used, size, room);
        if (w->width == 1) /* with threads, untouched cores come before fullness */
            assert_int_equal(domain_free(w, size, chosen), least);
        parent_from = chosen * size;
        parent_to = parent_from + size;
        break;
    }
    if (below > 0) {
        only_domain(w, taken, below, &used);
        assert_int_equal(used, fewest(w, below, parent_from, parent_to, count));
    }
    if (w->width > 1)
        check_threads(w, taken, count);
}

static unsigned random_count(unsigned *seed, unsigned total)
{
    static const unsigned small[] = {1, 1, 1, 2, 2, 3, 4, 4, 6, 8, 16};
    unsigned r = (unsigned)rand_r(seed);

    if (r % 8 == 0)
        return 1 + (unsigned)rand_r(seed) % (total + 1);
    return small[r % (sizeof(small) / sizeof(small[0]))];
}

static void try_take(struct cpus *c, struct world *w, unsigned count, struct cpus_set *set)
{
    unsigned taken[MAX_CORES], before[MAX_CORES];
    struct pilot_error err;
    int rc = cpus_take(c, count, set, &err);

    if (count > w->free_units) {
        assert_int_equal(rc, count > cpus_total(c) ? PILOT_EINVAL : PILOT_EAGAIN);
        assert_int_equal(set->count, 0);
        return;
    }
    if (rc < 0)
        fail_msg("%s: %s", w->m->name, err.text);
    add_set(w, set, taken);
    memcpy(before, w->free, sizeof(before));
    check_place(w, taken, count);
    for (unsigned core = 0; core < w->m->cores; core++)
        w->free[core] -= taken[core];
    w->free_units -= count;
}

static void run_model(const struct model *m, unsigned seed)
{
    struct cpus *c = make(&m->config);
    static struct cpus_set sets[MAX_PUS];
    struct world w = {.m = m, .width = m->config.use_hyperthreads ? m->threads : 1};
    unsigned held = 0, rounds = m->cores > 500 ? 1500 : 4000;

    for (unsigned i = 0; i < m->cores; i++)
        w.free[i] = w.width;
    w.free_units = m->cores * w.width;
    assert_int_equal(cpus_total(c), w.free_units);
    for (unsigned round = 0; round < rounds; round++) {
        bool give = held > 0 && (unsigned)rand_r(&seed) % 100 < (round / 300 % 2 == 0 ? 35u : 60u);

        if (give) {
            unsigned i = (unsigned)rand_r(&seed) % held;

            remove_set(&w, &sets[i]);
            cpus_give(c, &sets[i]);
            sets[i] = sets[--held];
        } else {
            try_take(c, &w, random_count(&seed, cpus_total(c)), &sets[held]);
            held += sets[held].count > 0;
        }
        assert_int_equal(cpus_free(c), w.free_units);
    }
    while (held > 0)
        cpus_give(c, &sets[--held]);
    assert_int_equal(cpus_free(c), cpus_total(c));
    cpus_destroy(c);
}

static void test_random_takes_follow_the_rule_and_never_overlap(void **state)
{
    const char *given = getenv("PILOT_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_mono_us();

    (void)state;
    print_message("PILOT_TEST_SEED=%u\n", seed);
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
        run_model(&models[i], seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_takes_follow_the_rule_and_never_overlap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
