/* SPDX-License-Identifier: BSD-3-Clause */
/* What tasks find in their environment. The variables below are those that real launchers were seen
 * to set; tests/integration/nested_mpi.sh shows that the result works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/taskenv.h"
#include "common/buf.h"

#define LIST(...) ((char *[]){__VA_ARGS__, NULL})

/* The value of name; NULL: not there. Fails when it is there twice. */
static const char *get(char *const *env, const char *name)
{
    const char *value = NULL;
    size_t len = strlen(name);

    for (size_t i = 0; env[i] != NULL; i++)
        if (strncmp(env[i], name, len) == 0 && env[i][len] == '=') {
            if (value != NULL)
                fail_msg("%s is there twice", name);
            value = env[i] + len + 1;
        }
    return value;
}

static void expect(char *const *env, const char *name, const char *value)
{
    const char *got = get(env, name);

    if (value == NULL ? got != NULL : got == NULL || strcmp(got, value) != 0)
        fail_msg("%s is %s, not %s", name, got != NULL ? got : "unset",
                 value != NULL ? value : "unset");
}

/* ---- The base
 * -------------------------------------------------------------------------------------- */

/* One variable in, among those of a launcher or alone. */
static const struct {
    const char *entry;
    bool stays; /* under a launcher */
    bool stays_alone;
    const char *comes_back; /* under this name; NULL: no */
} variables[] = {
    /* the user's own */
    {"PATH=/bin", true, true, NULL},
    {"HOME=/root", true, true, NULL},
    {"OMP_PROC_BIND=close", true, true, NULL},
    {"EMPTY=", true, true, NULL},
    {"PILOT_MPI=/opt/pilot-mpi", true, true, NULL},
    {"UCX_TLS=self", true, true, NULL},
    {"I_MPI_FABRICS=shm", true, true, NULL},
    {"I_MPI_ROOT=/opt/intel", true, true, NULL},
    {"OPAL_PREFIX=/opt/ompi", true, true, NULL},
    {"MPICH_ASYNC_PROGRESS=1", true, true, NULL},
    {"FLUX_URI=local:///x", true, true, NULL},
    {"OMPI_ALLOW_RUN_AS_ROOT=1", true, true, NULL},
    {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", true, true, NULL},
    {"PRTE_ALLOW_RUN_AS_ROOT=1", true, true, NULL},
    {"SLURM=x", true, true, NULL},
    {"MY_OMPI_COMM_WORLD_RANK=1", true, true, NULL},
    {"XPMI_RANK=1", true, true, NULL},
    /* the user's or a launcher's */
    {"OMPI_MCA_btl=self,vader", false, true, NULL},
    {"PMIX_MCA_gds=hash", false, true, NULL},
    {"PRTE_MCA_plm=ssh", false, true, NULL},
    {"MPIR_CVAR_CH3_INTERFACE_HOSTNAME=n1", false, true, NULL},
    /* a launcher's */
    {"OMPI_COMM_WORLD_RANK=0", false, false, NULL},
    {"OMPI_UNIVERSE_SIZE=2", false, false, NULL},
    {"OMPI_FILE_LOCATION=/tmp/x", false, false, NULL},
    {"OPAL_USER_PARAMS_GIVEN=1", false, false, NULL},
    {"PMIX_RANK=0", false, false, NULL},
    {"PMIX_SERVER_URI41=x", false, false, NULL},
    {"PRTE_LAUNCHED=1", false, false, NULL},
    {"ORTE_X=1", false, false, NULL},
    {"PMI_RANK=0", false, false, NULL},
    {"PMI_FD=7", false, false, NULL},
    {"PMI2_FD=7", false, false, NULL},
    {"HYDI_CONTROL_FD=7", false, false, NULL},
    {"HYD_X=1", false, false, NULL},
    {"HYDRA_LAUNCHER=slurm", false, false, NULL},
    {"I_MPI_HYDRA_BOOTSTRAP=slurm", false, false, NULL},
    {"I_MPI_MPIRUN=mpirun", false, false, NULL},
    {"MPI_LOCALRANKID=0", false, false, NULL},
    {"MPI_LOCALNRANKS=1", false, false, NULL},
    {"MPIR_X=1", false, false, NULL},
    {"PALS_RANKID=0", false, false, NULL},
    {"JSM_NAMESPACE_RANK=0", false, false, NULL},
    {"MV2_COMM_WORLD_RANK=0", false, false, NULL},
    {"FLUX_JOB_ID=f1", false, false, NULL},
    {"FLUX_TASK_RANK=0", false, false, NULL},
    {"FLUX_KVS_NAMESPACE=job", false, false, NULL},
    /* Slurm's */
    {"SLURM_CONF=/etc/slurm.conf", true, true, NULL},
    {"SLURM_JOB_ID=7", false, false, "PILOT_SLURM_JOB_ID=7"},
    {"SLURM_NODELIST=n[1-4]", false, false, "PILOT_SLURM_NODELIST=n[1-4]"},
    {"SLURM_CPU_BIND=quiet,mask_cpu:0x1", false, false, "PILOT_SLURM_CPU_BIND=quiet,mask_cpu:0x1"},
    {"SLURM_STEP_RESV_PORTS=", false, false, "PILOT_SLURM_STEP_RESV_PORTS="},
    /* an outer pilot's */
    {"PILOT_TASK_ID=a", false, false, NULL},
    {"PILOT_CPUS=0", false, false, NULL},
    {"PILOT_SOCKET=/tmp/pilot-mpi.x/control", false, false, NULL},
    {"PILOT_SLURM_CLUSTER_NAME=c", true, true, NULL},
};
#define VARIABLES (sizeof(variables) / sizeof(variables[0]))

static bool has(char *const *env, const char *entry)
{
    size_t n = 0;

    for (size_t i = 0; env[i] != NULL; i++)
        n += strcmp(env[i], entry) == 0;
    assert_true(n <= 1);
    return n == 1;
}

static void test_each_variable_stays_or_goes_under_a_launcher(void **state)
{
    char *all[VARIABLES + 1] = {NULL};
    char **base;

    (void)state;
    for (size_t i = 0; i < VARIABLES; i++)
        all[i] = (char *)variables[i].entry;
    base = taskenv_base(all, false);
    assert_non_null(base);
    for (size_t i = 0; i < VARIABLES; i++) {
        if (has(base, variables[i].entry) != variables[i].stays)
            fail_msg("%s %s", variables[i].entry, variables[i].stays ? "is gone" : "stayed");
        if (variables[i].comes_back != NULL)
            assert_true(has(base, variables[i].comes_back));
    }
    strv_free(base);
}

static void test_each_variable_stays_or_goes_by_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < VARIABLES; i++) {
        char **base = taskenv_base(LIST((char *)variables[i].entry), false);

        assert_non_null(base);
        if (has(base, variables[i].entry) != variables[i].stays_alone)
            fail_msg("%s %s", variables[i].entry, variables[i].stays_alone ? "is gone" : "stayed");
        assert_int_equal(strv_len(base),
                         variables[i].stays_alone || variables[i].comes_back != NULL);
        strv_free(base);
    }
}

static void test_keep_drops_nothing_but_the_way_to_an_outer_pilot(void **state)
{
    char *all[VARIABLES + 1] = {NULL};
    char **base;

    (void)state;
    for (size_t i = 0; i < VARIABLES; i++)
        all[i] = (char *)variables[i].entry;
    base = taskenv_base(all, true);
    assert_non_null(base);
    for (size_t i = 0; i < VARIABLES; i++) {
        /* The way to an outer pilot would be followed; the others are replaced for each task. */
        bool leads_out = strncmp(variables[i].entry, "PILOT_SOCKET=", 13) == 0;

        assert_true(has(base, variables[i].entry) == !leads_out);
        if (variables[i].comes_back != NULL)
            assert_true(has(base, variables[i].comes_back));
    }
    strv_free(base);
}

/* A pilot in a task of a pilot, in an allocation of its own. */
static void test_what_an_outer_pilot_set_is_replaced(void **state)
{
    char **base = taskenv_base(LIST("PILOT_SLURM_JOB_ID=1", "SLURM_JOB_ID=2", "PILOT_TASK_ID=outer",
                                    "PILOT_CORES=4", "OMP_NUM_THREADS=4",
                                    "OMPI_MCA_orte_set_default_slots=4"),
                               false);

    (void)state;
    assert_non_null(base);
    expect(base, "PILOT_SLURM_JOB_ID", "2");
    assert_int_equal(strv_len(base), 1);
    strv_free(base);

    base = taskenv_base(LIST("PILOT_CORES=4", "OMP_NUM_THREADS=2"), false);
    assert_non_null(base);
    expect(base, "OMP_NUM_THREADS", "2"); /* that was the person */
    strv_free(base);
}

static void test_an_empty_environment_is_one(void **state)
{
    char *none[] = {NULL};
    char **base = taskenv_base(none, false);

    (void)state;
    assert_non_null(base);
    assert_null(base[0]);
    strv_free(base);
}

/* ---- One attempt
 * --------------------------------------------------------------------------------------- */

#define POLICY "OMPI_MCA_hwloc_base_binding_policy"

static char **make(char **base, const char *cpus, const char *xml, char **own)
{
    struct taskenv_task t = {
        .id = "sweep/7",
        .dir = "/work/sweep/7",
        .cores = 4,
        .memory = INT64_C(3) << 30,
        .attempt = 2,
        .cpus = cpus,
        .node = "n1",
        .xml = xml,
        .env = own,
        .left_s = -1,
    };
    char **settings = taskenv_settings(base);
    char **env = settings != NULL ? taskenv_task(settings, &t) : NULL;

    strv_free(settings);
    assert_non_null(env);
    return env;
}

/* Also when only what taskenv_settings leaves of the base is looked at. */
static void test_what_the_user_has_set_for_all_tasks_stays(void **state)
{
    char **base = LIST(
        "PATH=/bin", "OMP_NUM_THREADS=1", POLICY "=core", "OMPI_MCA_rmaps_base_oversubscribe=0",
        "OMPI_MCA_orte_set_default_slots=1", "PRTE_MCA_hwloc_default_binding_policy=core",
        "PRTE_MCA_rmaps_default_mapping_policy=slot", "PRTE_MCA_prte_set_default_slots=1",
        "OMPI_MCA_orte_tmpdir_base=/a", "OMPI_MCA_btl_vader_backing_directory=/a");
    char **settings = taskenv_settings(base);
    struct taskenv_task t = {.id = "a",
                             .dir = "/work/a",
                             .cores = 4,
                             .attempt = 1,
                             .cpus = "",
                             .node = "n1",
                             .scratch = "/b",
                             .left_s = -1};
    char **env;

    (void)state;
    assert_non_null(settings);
    assert_int_equal(strv_len(settings), strv_len(base) - 1);
    env = taskenv_task(settings, &t);
    assert_non_null(env);
    for (size_t i = 0; env[i] != NULL; i++)
        if (strncmp(env[i], "PILOT_", 6) != 0)
            fail_msg("put in although the user has set it: %s", env[i]);
    strv_free(env);
    strv_free(settings);
}

static void test_a_task_is_told_what_it_is(void **state)
{
    char **env = make(LIST("PATH=/bin"), "0-3", "/run/t.xml", NULL);

    (void)state;
    expect(env, "PILOT_TASK_ID", "sweep/7");
    expect(env, "PILOT_TASK_DIR", "/work/sweep/7");
    expect(env, "PILOT_CORES", "4");
    expect(env, "PILOT_MEMORY", "3221225472");
    expect(env, "PILOT_CPUS", "0-3");
    expect(env, "PILOT_NODE", "n1");
    expect(env, "PILOT_ATTEMPT", "2");
    expect(env, "OMP_NUM_THREADS", "4");
    expect(env, "PATH", NULL); /* the base is not repeated */
    strv_free(env);
}

static void test_a_task_is_told_the_socket_if_there_is_one(void **state)
{
    struct taskenv_task t = {.id = "a", .dir = "/w/a", .cores = 1, .cpus = "", .node = "n"};
    char **env = taskenv_task(LIST("PATH=/bin"), &t);

    (void)state;
    assert_non_null(env);
    expect(env, "PILOT_SOCKET", NULL);
    expect(env, "PILOT_MEMORY", NULL);
    strv_free(env);

    t.socket = "/tmp/pilot-mpi.abcdef/control";
    t.env = LIST("PILOT_SOCKET=/elsewhere");
    env = taskenv_task(LIST("PATH=/bin"), &t);
    assert_non_null(env);
    expect(env, "PILOT_SOCKET", "/tmp/pilot-mpi.abcdef/control");
    strv_free(env);
}

static void test_a_task_is_told_the_time_that_is_left_if_that_is_known(void **state)
{
    static const struct {
        int64_t left_s;
        const char *expected;
    } cases[] = {{-1, NULL}, {0, "0"}, {5000000000, "5000000000"}};
    struct taskenv_task t = {.id = "a", .dir = "/w/a", .cores = 1, .cpus = "", .node = "n"};
    char **env;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t.left_s = cases[i].left_s;
        env = taskenv_task(LIST("PATH=/bin"), &t);
        assert_non_null(env);
        expect(env, "PILOT_TIME_LEFT", cases[i].expected);
        strv_free(env);
    }
    /* That of another pilot says nothing about this one. */
    for (int keep = 0; keep < 2; keep++) {
        env = taskenv_base(LIST("PILOT_TIME_LEFT=9", "PATH=/bin"), keep);
        assert_non_null(env);
        expect(env, "PILOT_TIME_LEFT", NULL);
        strv_free(env);
    }
}

/* Both or neither: what a person sets instead may be no directory for the other. */
static void test_mpi_files_lie_in_the_tasks_directory(void **state)
{
    static const char session[] = "OMPI_MCA_orte_tmpdir_base",
                      mine[] = "OMPI_MCA_orte_tmpdir_base=/mine";
    static const char shared[] = "OMPI_MCA_btl_vader_backing_directory";
    struct taskenv_task t = {
        .id = "a", .dir = "/w/a", .cores = 1, .cpus = "", .node = "n1", .left_s = -1};
    char **env;

    (void)state;
    env = taskenv_task(LIST("PATH=/bin"), &t);
    expect(env, session, NULL);
    expect(env, shared, NULL);
    strv_free(env);
    t.scratch = "/dev/shm/x/3";
    env = taskenv_task(LIST("PATH=/bin"), &t);
    expect(env, session, "/dev/shm/x/3");
    expect(env, shared, "/dev/shm/x/3");
    strv_free(env);
    env = taskenv_task(LIST("PATH=/bin", (char *)mine), &t);
    expect(env, session, NULL); /* that of the base */
    expect(env, shared, NULL);
    strv_free(env);
    t.env = LIST((char *)mine);
    env = taskenv_task(LIST("PATH=/bin"), &t);
    expect(env, session, "/mine");
    expect(env, shared, NULL);
    strv_free(env);
}

static void test_mpi_launchers_are_kept_on_the_tasks_cores(void **state)
{
    static const struct {
        const char *name;
        const char *cpus, *xml;
        const char *policy, *file;
    } cases[] = {
        {"pinned", "0-3", "/run/t.xml", "core:overload-allowed", "/run/t.xml"},
        {"pinned without a topology", "0-3", NULL, "none", NULL},
        {"not pinned", "", NULL, "none", NULL},
        {"not pinned, though there is a file", "", "/run/t.xml", "none", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char **env = make(LIST("PATH=/bin"), cases[i].cpus, cases[i].xml, NULL);

        expect(env, "HWLOC_XMLFILE", cases[i].file);
        expect(env, "HWLOC_THISSYSTEM", cases[i].file != NULL ? "1" : NULL);
        expect(env, POLICY, cases[i].policy);
        expect(env, "PRTE_MCA_hwloc_default_binding_policy", cases[i].policy);
        expect(env, "OMPI_MCA_rmaps_base_oversubscribe", "1");
        expect(env, "PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
        expect(env, "OMPI_MCA_orte_set_default_slots", "4");
        expect(env, "PRTE_MCA_prte_set_default_slots", "4");
        expect(env, "PILOT_CPUS", cases[i].cpus);
        strv_free(env);
    }
}

static void test_threads_of_the_person_decide_about_binding(void **state)
{
    static const struct {
        const char *base, *own;
        const char *threads; /* in the list on top of the base */
        const char *policy;
    } cases[] = {
        {"X=", "X=", "4", "core:overload-allowed"},
        {"OMP_NUM_THREADS=1", "X=", NULL, "core:overload-allowed"},
        {"OMP_NUM_THREADS=2", "X=", NULL, "none"},
        {"X=", "OMP_NUM_THREADS=2", "2", "none"},
        {"X=", "OMP_NUM_THREADS=2,2", "2,2", "none"},
        {"OMP_NUM_THREADS=2", "OMP_NUM_THREADS=1", "1", "core:overload-allowed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char **env =
            make(LIST((char *)cases[i].base), "0-3", "/run/t.xml", LIST((char *)cases[i].own));

        expect(env, "OMP_NUM_THREADS", cases[i].threads);
        expect(env, POLICY, cases[i].policy);
        strv_free(env);
    }
}

static void test_the_tasks_own_variables_win_over_all_but_the_pilots(void **state)
{
    char **env = make(LIST("PATH=/bin"), "0-3", "/run/t.xml",
                      LIST("A=1", "A=2", POLICY "=socket", "OMPI_MCA_btl=tcp,self",
                           "HWLOC_XMLFILE=/mine.xml", "PILOT_TASK_ID=other", "PILOT_CORES=99",
                           "PILOT_MINE=1", "EMPTY="));

    (void)state;
    expect(env, "A", "2");
    expect(env, POLICY, "socket");
    expect(env, "OMPI_MCA_btl", "tcp,self");
    expect(env, "HWLOC_XMLFILE", "/mine.xml");
    expect(env, "PILOT_TASK_ID", "sweep/7");
    expect(env, "PILOT_CORES", "4");
    expect(env, "PILOT_MINE", "1");
    expect(env, "EMPTY", "");
    strv_free(env);
}

/* Of the base only what contains a task is overruled. */
static void test_settings_of_the_person_stay(void **state)
{
    char **env = make(
        LIST(POLICY "=none", "OMPI_MCA_rmaps_base_oversubscribe=0", "HWLOC_XMLFILE=/outer.xml"),
        "0-3", "/run/t.xml", NULL);

    (void)state;
    expect(env, POLICY, NULL);
    expect(env, "OMPI_MCA_rmaps_base_oversubscribe", NULL);
    expect(env, "HWLOC_XMLFILE", "/run/t.xml");
    expect(env, "OMPI_MCA_orte_set_default_slots", "4");
    strv_free(env);
}

static void test_many_variables_of_a_task_all_arrive(void **state)
{
    enum { MANY = 500 };
    char text[MANY][32], *own[MANY + 1] = {NULL};
    char **env;

    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(text[i], sizeof(text[i]), "V%d=%d", i, i);
        own[i] = text[i];
    }
    env = make(LIST("PATH=/bin"), "0-3", "/run/t.xml", own);
    for (int i = 0; i < MANY; i++)
        assert_true(has(env, text[i]));
    expect(env, "PILOT_TASK_ID", "sweep/7");
    strv_free(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_variable_stays_or_goes_under_a_launcher),
        cmocka_unit_test(test_each_variable_stays_or_goes_by_itself),
        cmocka_unit_test(test_keep_drops_nothing_but_the_way_to_an_outer_pilot),
        cmocka_unit_test(test_what_an_outer_pilot_set_is_replaced),
        cmocka_unit_test(test_an_empty_environment_is_one),
        cmocka_unit_test(test_what_the_user_has_set_for_all_tasks_stays),
        cmocka_unit_test(test_a_task_is_told_what_it_is),
        cmocka_unit_test(test_a_task_is_told_the_socket_if_there_is_one),
        cmocka_unit_test(test_a_task_is_told_the_time_that_is_left_if_that_is_known),
        cmocka_unit_test(test_mpi_files_lie_in_the_tasks_directory),
        cmocka_unit_test(test_mpi_launchers_are_kept_on_the_tasks_cores),
        cmocka_unit_test(test_threads_of_the_person_decide_about_binding),
        cmocka_unit_test(test_the_tasks_own_variables_win_over_all_but_the_pilots),
        cmocka_unit_test(test_settings_of_the_person_stay),
        cmocka_unit_test(test_many_variables_of_a_task_all_arrive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
