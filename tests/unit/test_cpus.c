/* SPDX-License-Identifier: BSD-3-Clause */
/* Which cores tasks get, on topologies of machines that are not here. What a machine looks like is
 * written down here once more, by hand, so that hwloc's view and the placement are both checked. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/cpus.h"
#include "common/clock.h"

#define TOPOLOGY(name) TEST_DATA "/topologies/" name ".xml"
#define MAX_PUS 2048

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

/* ---- Tables of what tasks get
 * ---------------------------------------------------------------------- */

#define MAX_STEPS 16

struct step {
    enum { END, TAKE, MUST_WAIT, GIVE } what;
    unsigned n;       /* TAKE, MUST_WAIT: cores; GIVE: what step number n took */
    const char *list; /* TAKE */
};

struct sequence {
    const char *name;
    struct cpus_config config;
    unsigned total;
    struct step steps[MAX_STEPS];
};

static const struct sequence sequences[] = {
    {"4 threads on 2 L3 groups lie within one",
     {.synthetic = "pack:1 l3:2 core:6 pu:1"},
     12,
     {{TAKE, 4, "0-3"}, {TAKE, 4, "6-9"}, {TAKE, 2, "4-5"}, {TAKE, 2, "10-11"}}},
    {"the fullest L3 that fits comes first",
     {.synthetic = "pack:1 l3:4 core:4 pu:1"},
     16,
     {{TAKE, 3, "0-2"},
      {TAKE, 2, "4-5"},
      {TAKE, 1, "3"},
      {TAKE, 2, "6-7"},
      {TAKE, 4, "8-11"},
      {TAKE, 1, "12"}}},
    {"two L3 are taken as neighbours",
     {.synthetic = "pack:1 l3:5 core:4 pu:1"},
     20,
     {{TAKE, 4, "0-3"}, {TAKE, 4, "4-7"}, {GIVE, 0}, {TAKE, 8, "8-15"}, {TAKE, 8, "0-3,16-19"}}},
    {"a task over several L3 takes whole ones but one",
     {.synthetic = "pack:1 l3:4 core:4 pu:1"},
     16,
     {{TAKE, 1, "0"}, {TAKE, 6, "1-2,4-7"}}},
    {"a task too wide for an L3 stays within a package",
     {.xml = TOPOLOGY("epyc-128")},
     128,
     {{TAKE, 4, "0-3"},
      {TAKE, 16, "16-31"},
      {TAKE, 64, "64-127"},
      {TAKE, 40, "8-15,32-63"},
      {TAKE, 4, "4-7"}}},
    {"two packages: both threads of a core, numbered apart",
     {.xml = TOPOLOGY("xeon-2x8x2")},
     16,
     {{TAKE, 4, "0-3,16-19"},
      {TAKE, 6, "8-13,24-29"},
      {TAKE, 2, "14-15,30-31"},
      {TAKE, 1, "4,20"}}},
    {"two packages whose CPU numbers alternate",
     {.xml = TOPOLOGY("interleaved-2x4x2")},
     8,
     {{TAKE, 4, "0,2,4,6,8,10,12,14"}, {TAKE, 2, "1,3,9,11"}, {TAKE, 1, "5,13"}}},
    {"no L3: the package decides",
     {.xml = TOPOLOGY("no-l3-2x8x2")},
     16,
     {{TAKE, 3, "0-2,16-18"},
      {TAKE, 6, "8-13,24-29"},
      {TAKE, 5, "3-7,19-23"},
      {TAKE, 2, "14-15,30-31"}}},
    {"NUMA nodes smaller than the L3 come first",
     {.xml = TOPOLOGY("subnuma-2x2x6x2")},
     24,
     {{TAKE, 4, "0-3,24-27"},
      {TAKE, 6, "6-11,30-35"},
      {TAKE, 2, "4-5,28-29"},
      {TAKE, 7, "12-18,36-42"}}},
    {"hardware threads: single ones share a core, several get whole ones",
     {.xml = TOPOLOGY("xeon-2x8x2"), .use_hyperthreads = true},
     32,
     {{TAKE, 1, "0"},
      {TAKE, 2, "1,17"},
      {TAKE, 1, "16"},
      {TAKE, 1, "2"},
      {TAKE, 3, "3,18-19"},
      {TAKE, 4, "4-5,20-21"}}},
    {"hardware threads: several avoid an L3 of half-used cores",
     {.synthetic = "pack:1 l3:2 core:2 pu:2", .use_hyperthreads = true},
     8,
     {{TAKE, 1, "0"},   /* core 0 */
      {TAKE, 2, "2-3"}, /* core 1 */
      {TAKE, 2, "4-5"}, /* core 2: core 0 has but one thread free */
      {TAKE, 2, "6-7"},
      {TAKE, 1, "1"}}},
    {"hardware threads: all that is left are halves",
     {.synthetic = "pack:1 l3:1 core:4 pu:2", .use_hyperthreads = true, .allowed = "0,2-4,6"},
     5,
     {{TAKE, 1, "0"}, {TAKE, 2, "2-3"}, {TAKE, 2, "4,6"}}},
    {"hardware threads: several prefer untouched cores to a fuller L3",
     {.synthetic = "pack:1 l3:2 core:4 pu:2", .use_hyperthreads = true},
     16,
     {{TAKE, 1, "0"},
      {TAKE, 1, "1"},
      {TAKE, 1, "2"},
      {TAKE, 1, "3"},
      {TAKE, 1, "4"},
      {TAKE, 1, "5"},
      {TAKE, 1, "6"},
      {TAKE, 1, "7"},
      {GIVE, 1},
      {GIVE, 3},
      {GIVE, 5},
      {GIVE, 7},
      {TAKE, 4, "8-11"}}},
    {"hardware threads: a core that is given back is untouched again",
     {.synthetic = "pack:1 l3:2 core:2 pu:2", .use_hyperthreads = true},
     8,
     {{TAKE, 4, "0-3"}, {GIVE, 0}, {TAKE, 1, "0"}, {TAKE, 2, "2-3"}}},
    {"of L3 that are equally full the one in the fuller package comes first",
     {.synthetic = "pack:2 l3:2 core:4 pu:1"},
     16,
     {{TAKE, 4, "0-3"},
      {TAKE, 4, "4-7"},
      {TAKE, 4, "8-11"},
      {GIVE, 0},
      {GIVE, 1},
      {TAKE, 2, "12-13"}}},
    {"neighbours with a fuller one between them are nearer than those with two",
     {.synthetic = "pack:1 l3:6 core:4 pu:1"},
     24,
     {{TAKE, 4, "0-3"},
      {TAKE, 4, "4-7"},
      {TAKE, 4, "8-11"},
      {TAKE, 4, "12-15"},
      {TAKE, 4, "16-19"},
      {TAKE, 4, "20-23"},
      {GIVE, 0},
      {GIVE, 2},
      {GIVE, 5},
      {TAKE, 8, "0-3,8-11"}}},
    {"a crumb between two whole L3 is left where it is",
     {.synthetic = "pack:1 l3:5 core:4 pu:1"},
     20,
     {{TAKE, 4, "0-3"},
      {TAKE, 3, "4-6"},
      {TAKE, 4, "8-11"},
      {TAKE, 4, "12-15"},
      {TAKE, 4, "16-19"},
      {GIVE, 0},
      {GIVE, 2},
      {GIVE, 4},
      {TAKE, 8, "0-3,8-11"}}},
    {"of overlapping NUMA nodes the smaller one counts",
     {.synthetic = "pack:1 [numa] group:2 [numa] core:4 pu:1"},
     8,
     {{TAKE, 1, "0"}, {TAKE, 4, "4-7"}}},
    {"cores with and without a second thread",
     {.xml = TOPOLOGY("hybrid-4p-4e")},
     8,
     {{TAKE, 2, "0-3"}, {TAKE, 4, "4-8,10"}, {TAKE, 2, "12,14"}}},
    {"threads of cores with and without a second one",
     {.xml = TOPOLOGY("hybrid-4p-4e"), .use_hyperthreads = true},
     12,
     {{TAKE, 1, "8"}, {TAKE, 2, "0-1"}, {TAKE, 3, "2-3,10"}}},
    {"a recorded container: part of the cores, single threads",
     {.xml = TOPOLOGY("restricted-2x8x2")},
     9,
     {{TAKE, 4, "3-6,19-22"}, {TAKE, 3, "8-10"}, {TAKE, 2, "7,18,23"}}},
    {"a restricted cpuset: a core with one allowed thread counts, with that thread",
     {.xml = TOPOLOGY("xeon-2x8x2"), .allowed = "3-5,19,8-15"},
     11,
     {{TAKE, 3, "3-5,19"}, {TAKE, 4, "8-11"}, {MUST_WAIT, 5}, {TAKE, 4, "12-15"}}},
    {"CPUs that the node does not have are left out",
     {.xml = TOPOLOGY("recorded-vm-2-cores"), .allowed = "1-63"},
     1,
     {{TAKE, 1, "1"}}},
    {"the recorded machine as it is",
     {.xml = TOPOLOGY("recorded-vm-2-cores")},
     2,
     {{TAKE, 1, "0"}, {TAKE, 1, "1"}, {GIVE, 0}, {TAKE, 1, "0"}}},
    {"max_cores keeps the first ones in the order of the machine",
     {.xml = TOPOLOGY("interleaved-2x4x2"), .max_cores = 5},
     5,
     {{TAKE, 4, "0,2,4,6,8,10,12,14"}, {TAKE, 1, "1,9"}}},
    {"max_cores counts hardware threads when they are the unit",
     {.xml = TOPOLOGY("xeon-2x8x2"), .max_cores = 5, .use_hyperthreads = true},
     5,
     {{TAKE, 5, "0-2,16-17"}}},
    {"max_cores beyond what there is changes nothing",
     {.synthetic = "pack:1 core:2 pu:1", .max_cores = 99},
     2,
     {{TAKE, 2, "0-1"}}},
    {"virtual cores stand for no CPU",
     {.virtual_cores = 10000},
     10000,
     {{TAKE, 1, ""}, {TAKE, 9999, ""}, {GIVE, 0}, {TAKE, 1, ""}}},
};

static void assert_ascending(const struct cpus_set *set)
{
    for (unsigned i = 1; i < set->count; i++)
        assert_true(set->cores[i - 1] < set->cores[i]);
}

static void take_step(struct cpus *c, const struct sequence *s, unsigned i, struct cpus_set *set)
{
    bool wanted[MAX_PUS], got[MAX_PUS];
    const struct step *step = &s->steps[i];
    struct pilot_error err;

    if (cpus_take(c, step->n, set, &err) < 0)
        fail_msg("%s: step %u: %s", s->name, i, err.text);
    assert_int_equal(set->count, step->n);
    assert_ascending(set);
    parse(step->list, wanted);
    parse(set->list, got);
    if (memcmp(wanted, got, sizeof(got)) != 0)
        fail_msg("%s: step %u: got %s, not %s", s->name, i, set->list, step->list);
}

static void run_sequence(const struct sequence *s)
{
    struct cpus *c = make(&s->config);
    struct cpus_set sets[MAX_STEPS] = {0};

    assert_int_equal(cpus_total(c), s->total);
    for (unsigned i = 0; i < MAX_STEPS && s->steps[i].what != END; i++) {
        const struct step *step = &s->steps[i];
        unsigned before = cpus_free(c);

        if (step->what == GIVE) {
            before += sets[step->n].count;
            cpus_give(c, &sets[step->n]);
            assert_null(sets[step->n].cores);
        } else if (step->what == MUST_WAIT) {
            assert_int_equal(cpus_take(c, step->n, &sets[i], NULL), PILOT_EAGAIN);
        } else {
            before -= step->n;
            take_step(c, s, i, &sets[i]);
        }
        assert_int_equal(cpus_free(c), before);
    }
    for (unsigned i = 0; i < MAX_STEPS; i++)
        cpus_give(c, &sets[i]);
    assert_int_equal(cpus_free(c), s->total);
    cpus_destroy(c);
}

static void test_tasks_get_the_cores_of_the_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++)
        run_sequence(&sequences[i]);
}

/* ---- Scattered sets
 * -------------------------------------------------------------------------------- */

/* Every second core of 512, and what happens where even that list is too long. */
static void test_scattered_sets_have_whole_lists_or_fail_clearly(void **state)
{
    static const struct {
        const char *topology;
        unsigned cores;
        int rc;
    } cases[] = {{"pack:1 core:512 pu:1", 512, 0}, {"pack:1 core:2000 pu:1", 2000, PILOT_ESYS}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct cpus *c = make(&(struct cpus_config){.synthetic = cases[i].topology});
        static struct cpus_set singles[2000];
        struct cpus_set set;
        struct pilot_error err;
        unsigned n = cases[i].cores;
        bool pus[MAX_PUS];

        for (unsigned j = 0; j < n; j++)
            assert_int_equal(cpus_take(c, 1, &singles[j], NULL), 0);
        for (unsigned j = 0; j < n; j += 2)
            cpus_give(c, &singles[j]);
        assert_int_equal(cpus_take(c, n / 2, &set, &err), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_int_equal(parse(set.list, pus), n / 2);
            for (unsigned j = 0; j < n; j++)
                assert_int_equal(pus[j], j % 2 == 0);
            cpus_give(c, &set);
        } else {
            assert_non_null(strstr(err.text, "scattered"));
            assert_int_equal(set.count, 0);
        }
        assert_int_equal(cpus_free(c), n / 2); /* nothing is kept by a failed take */
        for (unsigned j = 1; j < n; j += 2)
            cpus_give(c, &singles[j]);
        cpus_destroy(c);
    }
}

/* ---- Refusals
 * ---------------------------------------------------------------------------------------- */

static void test_bad_configurations_are_refused_with_a_reason(void **state)
{
    static const struct {
        struct cpus_config config;
        int rc;
        const char *says;
    } cases[] = {
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "8-9"}, PILOT_EINVAL, "8-9"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = ""}, PILOT_EINVAL, "0-3"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "0-"}, PILOT_EINVAL, "list of CPU"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "3-1"}, PILOT_EINVAL, "list of CPU"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "1,"}, PILOT_EINVAL, "list of CPU"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = ",1"}, PILOT_EINVAL, "list of CPU"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "1 2"}, PILOT_EINVAL, "list of CPU"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "-1"}, PILOT_EINVAL, "list of CPU"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "0x3"}, PILOT_EINVAL, "list of CPU"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "99999999999999999999"},
         PILOT_EINVAL,
         "list of CPU"},
        {{.synthetic = "nonsense"}, PILOT_EINVAL, "nonsense"},
        {{.xml = TOPOLOGY("absent")}, 0, "absent"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pilot_error err = {.text = ""};
        struct cpus *c = NULL;
        int rc = cpus_create(&c, &cases[i].config, &err);

        assert_true(rc < 0);
        if (cases[i].rc < 0)
            assert_int_equal(rc, cases[i].rc);
        if (strstr(err.text, cases[i].says) == NULL)
            fail_msg("case %zu says: %s", i, err.text);
        assert_null(c);
    }
}

static void test_counts_that_cannot_be_are_told_from_those_that_must_wait(void **state)
{
    struct cpus *c = make(&(struct cpus_config){.synthetic = "pack:1 core:4 pu:2"});
    struct cpus_set all, more;
    struct pilot_error err;

    (void)state;
    assert_int_equal(cpus_take(c, 0, &more, &err), PILOT_EINVAL);
    assert_int_equal(cpus_take(c, 5, &more, &err), PILOT_EINVAL);
    assert_non_null(strstr(err.text, "has 4"));
    assert_int_equal(cpus_take(c, 4, &all, &err), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(all.cores[i], i);
    assert_int_equal(cpus_take(c, 1, &more, &err), PILOT_EAGAIN);
    assert_int_equal(cpus_take(c, 5, &more, &err), PILOT_EINVAL);
    cpus_give(c, &all);
    cpus_destroy(c);
}

/* ---- For people
 * -------------------------------------------------------------------------------------- */

static void test_describe_says_what_is_used(void **state)
{
    static const struct {
        struct cpus_config config;
        const char *text;
    } cases[] = {
        {{.synthetic = "pack:2 l3:2 core:4 pu:2"},
         "2 packages, 4 L3 groups, 16 cores (32 threads): 0-31; "
         "L3: 0-7 | 8-15 | 16-23 | 24-31"},
        {{.xml = TOPOLOGY("recorded-vm-2-cores")}, "1 package, 1 L3 group, 2 cores: 0-1"},
        {{.xml = TOPOLOGY("xeon-2x8x2"), .use_hyperthreads = true},
         "2 packages, 2 L3 groups, 16 cores used as 32 hardware threads: 0-31; "
         "L3: 0-7,16-23 | 8-15,24-31"},
        {{.xml = TOPOLOGY("restricted-2x8x2")},
         "2 packages, 2 L3 groups, 9 cores (14 threads): 3-10,18-23; L3: 3-7,18-23 | 8-10"},
        {{.xml = TOPOLOGY("no-l3-2x8x2")},
         "2 packages, 16 cores (32 threads): 0-31; NUMA: 0-7,16-23 | 8-15,24-31"},
        {{.xml = TOPOLOGY("epyc-128")},
         "2 packages, 8 NUMA nodes, 16 L3 groups, 128 cores: 0-127; L3: 0-7 | 8-15 | 16-23 | 24-31 "
         "| "
         "32-39 | 40-47 | 48-55 | 56-63 | ... (16 in all)"},
        {{.synthetic = "pack:1 core:64 pu:1",
          .allowed = "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,32,34"},
         "1 package, 18 cores: 0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,..."},
        {{.virtual_cores = 4}, "4 virtual cores, not pinned"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cpus *c = make(&cases[i].config);
        char text[512], cut[16];

        cpus_describe(c, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
        cpus_describe(c, cut, sizeof(cut));
        assert_true(strlen(cut) == sizeof(cut) - 1);
        assert_memory_equal(cut, text, sizeof(cut) - 1);
        cpus_destroy(c);
    }
}

/* ---- Topology files
 * ------------------------------------------------------------------------------------ */

/* Lines of a file that hold text. */
static unsigned count_in_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "r");
    char line[4096];
    unsigned n = 0;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL)
        n += strstr(line, text) != NULL;
    fclose(f);
    return n;
}

static void test_an_exported_topology_has_the_tasks_cores_and_no_others(void **state)
{
    static const struct {
        struct cpus_config config;
        const char *list;
        unsigned cores, nodes;
        const char *text;
    } cases[] = {
        {{.xml = TOPOLOGY("xeon-2x8x2")},
         "2-3,18-19",
         2,
         1,
         "1 package, 1 L3 group, 2 cores (4 threads): 2-3,18-19"},
        {{.xml = TOPOLOGY("xeon-2x8x2"), .use_hyperthreads = true},
         "7-8,24",
         2,
         2,
         "2 packages, 2 L3 groups, 2 cores (3 threads): 7-8,24; L3: 7 | 8,24"},
        {{.xml = TOPOLOGY("epyc-128")}, "120-127", 8, 1, "1 package, 1 L3 group, 8 cores: 120-127"},
        {{.synthetic = "pack:1 core:4 pu:1", .allowed = "1-3"}, "3", 1, 1, "1 package, 1 core: 3"},
    };
    char dir[] = "/tmp/test_cpus.XXXXXX", path[64], text[256];

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/t.xml", dir);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cpus *c = make(&cases[i].config), *part;
        struct pilot_error err;
        struct stat st;

        if (cpus_export_xml(c, cases[i].list, path, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(count_in_file(path, "type=\"NUMANode\""), cases[i].nodes);
        part = make(&(struct cpus_config){.xml = path});
        assert_int_equal(cpus_total(part), cases[i].cores);
        cpus_describe(part, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
        cpus_destroy(part);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(cpus_total(c) > cases[i].cores, 1); /* the original is whole */
        cpus_destroy(c);
    }
    assert_int_equal(rmdir(dir), 0); /* no temporary file is left */
}

static void test_an_export_that_cannot_be_is_refused(void **state)
{
    struct cpus *real = make(&(struct cpus_config){.synthetic = "pack:1 core:4 pu:1"});
    struct cpus *virtual = make(&(struct cpus_config){.virtual_cores = 4});
    char dir[] = "/tmp/test_cpus.XXXXXX", path[64];
    struct pilot_error err;

    (void)state;
    assert_int_equal(cpus_export_xml(real, "0-1", "/nowhere/t.xml", &err), PILOT_EIO);
    assert_non_null(strstr(err.text, "/nowhere/t.xml"));
    assert_int_equal(cpus_export_xml(real, "7", "/nowhere/t.xml", &err), PILOT_EINVAL);
    assert_int_equal(cpus_export_xml(real, "", "/nowhere/t.xml", &err), PILOT_EINVAL);
    assert_int_equal(cpus_export_xml(real, "x", "/nowhere/t.xml", &err), PILOT_EINVAL);
    assert_int_equal(cpus_export_xml(virtual, "0", "/nowhere/t.xml", &err), PILOT_EINVAL);
    cpus_destroy(virtual);

    /* A name that is taken by a directory: nothing of the new file is left beside it. */
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/t.xml", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(cpus_export_xml(real, "0-1", path, &err), PILOT_EIO);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0);
    cpus_destroy(real);
}

/* ---- Masks of processes
 * -------------------------------------------------------------------------------- */

static void test_this_machine_offers_what_the_process_may_use(void **state)
{
    cpu_set_t old, one;
    struct pilot_error err;
    struct cpus *c;
    struct cpus_set set;
    char all[TASK_CPUS_MAX], list[TASK_CPUS_MAX], wanted[16];
    int last = -1;
    bool pus[MAX_PUS];

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &old))
            last = i;
    assert_int_equal(cpus_mask_of(0, all, sizeof(all), &err), 0);
    assert_int_equal(parse(all, pus), (unsigned)CPU_COUNT(&old));
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    snprintf(wanted, sizeof(wanted), "%d", last);
    assert_int_equal(cpus_mask_of(0, list, sizeof(list), &err), 0);
    assert_string_equal(list, wanted);
    assert_int_equal(cpus_mask_of(getpid(), list, sizeof(list), &err), 0);
    assert_string_equal(list, wanted);

    c = make(&(struct cpus_config){0});
    assert_int_equal(cpus_total(c), 1);
    assert_int_equal(cpus_take(c, 1, &set, &err), 0);
    assert_string_equal(set.list, wanted);
    cpus_give(c, &set);
    cpus_destroy(c);

    c = make(&(struct cpus_config){.allowed = all}); /* wider than this process's own mask */
    assert_true(cpus_total(c) >= 1);
    assert_true(cpus_total(c) <= (unsigned)CPU_COUNT(&old));
    cpus_destroy(c);
    assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
}

static void test_a_mask_that_cannot_be_read_is_an_error(void **state)
{
    struct pilot_error err;
    char list[64];

    (void)state;
    /* Process ids end at 4194304 (PID_MAX_LIMIT). */
    assert_int_equal(cpus_mask_of(4194305, list, sizeof(list), &err), PILOT_ENOENT);
    assert_int_equal(cpus_mask_of(0, list, 1, &err), PILOT_ESYS);
    assert_string_equal(list, "");
}

static void test_unions(void **state)
{
    static const struct {
        const char *a, *b, *both;
    } cases[] = {
        {"", "", ""},
        {"0-3", "", "0-3"},
        {"", "5", "5"},
        {"0-3", "2-6", "0-6"},
        {"0,2,4", "1,3,5", "0-5"},
        {"8", "0-3", "0-3,8"},
        {"7", "7", "7"},
        {"0-31", "64-95", "0-31,64-95"},
        {"2047", "0", "0,2047"},
    };
    struct pilot_error err;
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(cpus_union(cases[i].a, cases[i].b, out, sizeof(out), &err), 0);
        assert_string_equal(out, cases[i].both);
    }
    assert_int_equal(cpus_union("0-3", "x", out, sizeof(out), &err), PILOT_EINVAL);
    assert_int_equal(cpus_union("0", "2", out, 3, &err), PILOT_ESYS);
    assert_int_equal(cpus_union("0", "2", out, 4, &err), 0);
    memcpy(out, "0-3", 4); /* dst may be one of the operands */
    assert_int_equal(cpus_union(out, "5", out, sizeof(out), &err), 0);
    assert_string_equal(out, "0-3,5");
}

/* ---- Speed
 * --------------------------------------------------------------------------------------------- */

/* Limits are 20 times and more what was measured, so that only a change of order fails. */
static void test_taking_is_fast(void **state)
{
    static const struct {
        struct cpus_config config;
        unsigned count;
        double limit_us;
    } cases[] = {
        {{.xml = TOPOLOGY("epyc-128")}, 1, 10},
        {{.xml = TOPOLOGY("epyc-128")}, 100, 100},
        {{.synthetic = "pack:4 numa:4 l3:8 core:8 pu:1"}, 1, 20},
        {{.synthetic = "pack:4 numa:4 l3:8 core:8 pu:2", .use_hyperthreads = true}, 1, 100},
        {{.virtual_cores = 10000}, 1, 20},
        {{.virtual_cores = 10000}, 5000, 4000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t start = clock_mono_us(), created, used;
        struct cpus *c = make(&cases[i].config);
        unsigned fit = cpus_total(c) / cases[i].count, rounds = 20000 / fit + 1;
        struct cpus_set *sets = calloc(fit, sizeof(*sets));
        double each;

        assert_non_null(sets);
        created = clock_mono_us() - start;
        start = clock_mono_us();
        for (unsigned r = 0; r < rounds; r++) {
            for (unsigned j = 0; j < fit; j++)
                assert_int_equal(cpus_take(c, cases[i].count, &sets[j], NULL), 0);
            for (unsigned j = 0; j < fit; j++)
                cpus_give(c, &sets[j]);
        }
        used = clock_mono_us() - start;
        each = (double)used / rounds / fit;
        print_message("%5u units, %4u a task: created in %.1f ms, take and give %.2f us\n",
                      cpus_total(c), cases[i].count, (double)created / 1000, each);
        assert_true(each < cases[i].limit_us);
        free(sets);
        cpus_destroy(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_get_the_cores_of_the_tables),
        cmocka_unit_test(test_scattered_sets_have_whole_lists_or_fail_clearly),
        cmocka_unit_test(test_bad_configurations_are_refused_with_a_reason),
        cmocka_unit_test(test_counts_that_cannot_be_are_told_from_those_that_must_wait),
        cmocka_unit_test(test_describe_says_what_is_used),
        cmocka_unit_test(test_an_exported_topology_has_the_tasks_cores_and_no_others),
        cmocka_unit_test(test_an_export_that_cannot_be_is_refused),
        cmocka_unit_test(test_this_machine_offers_what_the_process_may_use),
        cmocka_unit_test(test_a_mask_that_cannot_be_read_is_an_error),
        cmocka_unit_test(test_unions),
        cmocka_unit_test(test_taking_is_fast),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
