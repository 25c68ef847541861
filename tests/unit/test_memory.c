/* SPDX-License-Identifier: BSD-3-Clause */
/* What a node has for tasks, out of the files and variables that the kernel and Slurm make; and
 * amounts in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/memory.h"
#include "common/units.h"

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static char root[] = "/tmp/test_memory.XXXXXX";

static const char *const files[] = {"proc/meminfo",     "proc/vmstat",   "proc/self/mountinfo",
                                    "proc/self/cgroup", "cg/memory.max", "cg/memory.events"};

static void put(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    (void)unlink(path);
    if (text == NULL)
        return;
    f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_root(void **state)
{
    static const char *const dirs[] = {"proc", "proc/self", "cg"};

    (void)state;
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < 3; i++) {
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    put("proc/self/mountinfo", "36 24 0:31 / /cg rw - cgroup2 cgroup2 rw\n");
    put("proc/self/cgroup", "0::/\n");
    return 0;
}

static int remove_root(void **state)
{
    static const char *const dirs[] = {"proc/self", "proc", "cg", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        put(files[i], NULL);
    for (size_t i = 0; i < 4; i++) {
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
        assert_int_equal(rmdir(path), 0);
    }
    return 0;
}

#define NODE_64 "MemFree: 5 kB\nMemTotal:       67108864 kB\n"

static void the_least_of_what_is_known_counts(void **state)
{
    static const struct {
        const char *meminfo, *max;
        const char *env[4];
        int64_t bytes;
    } rows[] = {
        {NULL, NULL, {NULL}, 0},
        {NODE_64, NULL, {NULL}, 64 * GIB - 64 * GIB / 20}, /* the system has its part */
        {NODE_64, "max\n", {NULL}, 64 * GIB - 64 * GIB / 20},
        {"MemTotal: 2097152 kB\n", NULL, {NULL}, 2 * GIB - 256 * MIB},
        {"MemTotal: 524288 kB\n", NULL, {NULL}, 384 * MIB},
        {"MemTotal: 4294967296 kB\n", NULL, {NULL}, 4096 * GIB - 8 * GIB},
        {NODE_64, "17179869184\n", {NULL}, 16 * GIB}, /* a limit is taken as it is */
        {NODE_64, NULL, {"SLURM_MEM_PER_NODE=16384"}, 16 * GIB},
        {NODE_64, "8589934592\n", {"SLURM_MEM_PER_NODE=16384"}, 8 * GIB},
        {NODE_64, NULL, {"SLURM_MEM_PER_CPU=2048", "SLURM_CPUS_ON_NODE=4"}, 8 * GIB},
        {NODE_64, NULL, {"SLURM_MEM_PER_CPU=2048"}, 64 * GIB - 64 * GIB / 20},
        {NODE_64, NULL, {"SLURM_MEM_PER_NODE=0"}, 64 * GIB - 64 * GIB / 20},
        {NODE_64, NULL, {"SLURM_MEM_PER_NODE=9223372036854775807"}, 64 * GIB - 64 * GIB / 20},
        {NODE_64, NULL, {"SLURM_MEM_PER_NODE=131072"}, 64 * GIB - 64 * GIB / 20},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put("proc/meminfo", rows[i].meminfo);
        put("cg/memory.max", rows[i].max);
        assert_int_equal(memory_for_tasks((char *const *)rows[i].env, root), rows[i].bytes);
    }
}

static void kills_of_the_node_and_of_the_group_are_counted(void **state)
{
    (void)state;
    assert_int_equal(memory_oom_kills(root), 0);
    put("proc/vmstat", "nr_free_pages 1\noom_kill 4\nmore 2\n");
    assert_int_equal(memory_oom_kills(root), 4);
    put("cg/memory.events", "oom 3\noom_kill 2\n");
    assert_int_equal(memory_oom_kills(root), 6);
}

static void sizes_are_worded(void **state)
{
    static const struct {
        int64_t bytes;
        const char *text, *below;
    } rows[] = {
        {0, "0", "0"},
        {1023, "1023", "1023"},
        {1536, "1.5K", "1536"},
        {2 * MIB, "2M", "2048K"},
        {GIB * 21 / 10, "2.1G", "2150M"},
        {64 * GIB - 1, "64G", "65535M"},
        {UNITS_SIZE_MAX, "1024P", "1048576T"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[32];
        int64_t bytes = -1;

        assert_string_equal(units_size_text(rows[i].bytes, text, sizeof(text)), rows[i].text);
        assert_string_equal(units_size_below(rows[i].bytes, text, sizeof(text)), rows[i].below);
        /* Who asks for what the words say gets no more than there is. */
        assert_true(units_parse_size(text, &bytes));
        assert_true(bytes <= rows[i].bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_of_what_is_known_counts),
        cmocka_unit_test(kills_of_the_node_and_of_the_group_are_counted),
        cmocka_unit_test(sizes_are_worded),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
