/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: which variables reach a task. Must not read the process's own environment.
 *
 * MPI libraries recognise a launcher by its variables, and misbehave in their own ways when they
 * find those of another: a nested mpirun ends without a word, a singleton aborts or hangs, and
 * Slurm's make mpirun call srun, perhaps on another node. So everything that a launcher sets is
 * taken out, by prefix, since the names differ from version to version.
 *
 * A launcher and its user cannot be told apart in NAME_MCA_x: mpirun hands its own command line on
 * that way. They are dropped where a launcher was at work, and are the user's where none was.
 *
 * What is put in for MPI tasks (measured with Open MPI 4.1.4 and 5.0, MPICH 4.0 and 5.0, Intel MPI
 * 2021):
 *   HWLOC_XMLFILE    Open MPI ignores the CPU mask that it inherits and binds from the machine's
 *                    first core on; with a topology of just the task's cores there are no others.
 *                    Contains --bind-to of all of them, and gives mpirun without -np its number.
 *   binding policy   "core" puts every rank on a core of its own, while Open MPI by itself does so
 *                    for up to two ranks only; overload-allowed: more ranks than cores share them.
 *                    "none" where binding would be wrong: no topology, or ranks with threads.
 *   oversubscribe    more ranks than cores are the user's decision; Open MPI refuses by default.
 *   default slots    mpirun without -np: the task's cores, when they are not those of hwloc
 *                    (virtual cores, hardware threads).
 *   tmpdir base, backing directory
 *                    where Open MPI 4 keeps session files and shared memory of the task, so that
 * what a killed mpirun leaves is known and goes (agent/scratch.c). mpirun makes it. Not set:
 * odls_base_sigkill_timeout=0. It saves 2 s where a rank fails, but ranks are then killed at the
 * same moment as they get TERM, so that none can write a checkpoint at a timeout. */
#include "agent/taskenv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/quick.h"

/* ---- Lists
 * --------------------------------------------------------------------------------------- */

struct list {
    char **v; /* NULL-terminated */
    size_t len, cap;
    bool failed; /* memory was short */
};

static bool list_init(struct list *l, size_t cap)
{
    l->v = calloc(cap + 1, sizeof(*l->v));
    l->len = 0;
    l->cap = cap;
    l->failed = l->v == NULL;
    return !l->failed;
}

/* The list, or NULL (and nothing kept) when memory was short at any time. */
static char **list_finish(struct list *l)
{
    if (!l->failed)
        return l->v;
    strv_free(l->v);
    return NULL;
}

static bool has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool same_name(const char *a, const char *b)
{
    /* For each task a dozen names are looked for in the whole environment: most differ at once. */
    for (; *a == *b && *a != '\0' && *a != '='; a++, b++)
        ;
    return (*a == '\0' || *a == '=') && (*b == '\0' || *b == '=');
}

/* The value of entry's name in list; NULL: not there. The last one counts. */
static const char *find(char *const *list, const char *entry)
{
    const char *value = NULL;

    for (size_t i = 0; list != NULL && list[i] != NULL; i++)
        if (same_name(list[i], entry) && list[i][strcspn(list[i], "=")] == '=')
            value = list[i] + strcspn(list[i], "=") + 1;
    return value;
}

/* Adds entry, whose memory goes to the list; NULL: memory was short. */
static void list_add(struct list *l, char *entry)
{
    if (!l->failed && entry != NULL && l->len == l->cap) {
        char **v = realloc(l->v, (l->cap * 2 + 8 + 1) * sizeof(*v));

        if (v != NULL) {
            l->v = v;
            l->cap = l->cap * 2 + 8;
        }
    }
    if (l->failed || entry == NULL || l->len == l->cap) {
        free(entry);
        l->failed = true;
        return;
    }
    l->v[l->len++] = entry;
    l->v[l->len] = NULL;
}

/* The same, in place of an entry of that name if there is one among those from the index first on.
 */
static void list_put_from(struct list *l, size_t first, char *entry)
{
    for (size_t i = first; !l->failed && entry != NULL && i < l->len; i++) {
        if (!same_name(l->v[i], entry))
            continue;
        free(l->v[i]);
        l->v[i] = entry;
        return;
    }
    list_add(l, entry);
}

static void list_put(struct list *l, char *entry)
{
    list_put_from(l, 0, entry);
}

static char *join(const char *name, const char *value)
{
    size_t name_len = strlen(name), value_len = strlen(value);
    char *entry = malloc(name_len + value_len + 2);

    if (entry == NULL)
        return NULL;
    memcpy(entry, name, name_len);
    entry[name_len] = '=';
    memcpy(entry + name_len + 1, value, value_len + 1);
    return entry;
}

/* ---- The base
 * ------------------------------------------------------------------------------------ */

enum fate {
    KEEP,
    DROP,
    CONFIG, /* the user's, unless a launcher was at work */
    RENAME, /* SLURM_X becomes PILOT_SLURM_X */
};

/* The first prefix that fits decides; what fits none is kept. */
static const struct {
    const char *prefix;
    enum fate fate;
} rules[] = {
    {"OMPI_ALLOW_RUN_AS_ROOT", KEEP},
    {"PRTE_ALLOW_", KEEP},
    {"SLURM_CONF", KEEP}, /* where sbatch and squeue find their cluster */
    {"OMPI_MCA_", CONFIG},
    {"PMIX_MCA_", CONFIG},
    {"PRTE_MCA_", CONFIG},
    {"MPIR_CVAR_", CONFIG},
    {"OMPI_", DROP},
    {"OPAL_USER_PARAMS_GIVEN", DROP}, /* not OPAL_PREFIX: a moved installation needs it */
    {"ORTE_", DROP},
    {"PRTE_", DROP},
    {"PMIX_", DROP},
    {"PMI_", DROP}, /* Flux, Cray and Slurm too */
    {"PMI2_", DROP},
    {"MPI_LOCALRANKID", DROP},
    {"MPI_LOCALNRANKS", DROP},
    {"MPIR_", DROP},
    {"HYDI_", DROP},
    {"HYD_", DROP},
    {"HYDRA_", DROP},
    {"I_MPI_HYDRA_", DROP},
    {"I_MPI_MPIRUN", DROP},
    {"MV2_COMM_WORLD_", DROP},
    {"MPISPAWN_", DROP},
    {"PALS_", DROP},
    {"JSM_", DROP},
    {"FLUX_JOB_", DROP}, /* FLUX_URI stays: flux commands work in tasks */
    {"FLUX_TASK_", DROP},
    {"FLUX_KVS_NAMESPACE", DROP},
    {"SLURM_", RENAME},
    {"PILOT_SLURM_", KEEP}, /* of an outer pilot; SLURM_X of now replaces it */
    {"PILOT_MPI=", KEEP},   /* where a person has the program, for tasks that add or nest */
    {"PILOT_", DROP},
};

static enum fate fate_of(const char *entry)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (has_prefix(entry, rules[i].prefix))
            return rules[i].fate;
    return KEEP;
}

/* An outer pilot counts: it sets variables of Open MPI as mpirun does. */
static bool launched(char *const *env)
{
    static const char *const marks[] = {
        "OMPI_COMM_WORLD_", "OMPI_UNIVERSE_SIZE", "PMIX_RANK",       "PMIX_NAMESPACE", "PMI_RANK",
        "PMI_FD",           "PMI_SIZE",           "MPI_LOCALRANKID", "HYDI_",          "PALS_",
        "MV2_COMM_WORLD_",  "PILOT_TASK_ID",
    };

    for (size_t i = 0; env[i] != NULL; i++)
        for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++)
            if (has_prefix(env[i], marks[m]))
                return true;
    return false;
}

/* OMP_NUM_THREADS as an outer pilot sets it for its tasks, not as a person sets it. */
static bool is_outer_default(char *const *env, const char *entry)
{
    const char *cores = find(env, "PILOT_CORES");

    return cores != NULL && has_prefix(entry, "OMP_NUM_THREADS=") &&
           strcmp(entry + strlen("OMP_NUM_THREADS="), cores) == 0;
}

char **taskenv_base(char *const *environ_before, bool keep)
{
    bool by_launcher = launched(environ_before);
    struct list l;

    if (!list_init(&l, strv_len(environ_before)))
        return NULL;
    for (size_t i = 0; environ_before[i] != NULL; i++) {
        enum fate fate = fate_of(environ_before[i]);

        if ((keep && !has_prefix(environ_before[i], "PILOT_SOCKET=") &&
             !has_prefix(environ_before[i], "PILOT_TIME_LEFT=")) ||
            (fate == KEEP && !is_outer_default(environ_before, environ_before[i])) ||
            (fate == CONFIG && !by_launcher))
            list_add(&l, strdup(environ_before[i]));
    }
    for (size_t i = 0; environ_before[i] != NULL; i++) {
        char *entry;

        if (fate_of(environ_before[i]) != RENAME)
            continue;
        if (asprintf(&entry, "PILOT_%s", environ_before[i]) < 0)
            entry = NULL;
        list_put(&l, entry);
    }
    return list_finish(&l);
}

/* The names that are looked for in the base for each attempt. */
static const char *const asked_for[] = {
    "OMP_NUM_THREADS",
    "OMPI_MCA_hwloc_base_binding_policy",
    "OMPI_MCA_rmaps_base_oversubscribe",
    "OMPI_MCA_orte_set_default_slots",
    "PRTE_MCA_hwloc_default_binding_policy",
    "PRTE_MCA_rmaps_default_mapping_policy",
    "PRTE_MCA_prte_set_default_slots",
    "OMPI_MCA_orte_tmpdir_base",
    "OMPI_MCA_btl_vader_backing_directory",
};

char **taskenv_settings(char *const *base)
{
    struct list l;

    if (!list_init(&l, 0))
        return NULL;
    for (size_t i = 0; base[i] != NULL; i++)
        for (size_t n = 0; n < sizeof(asked_for) / sizeof(asked_for[0]); n++)
            if (same_name(base[i], asked_for[n]))
                list_add(&l, strdup(base[i]));
    return list_finish(&l);
}

/* ---- On top of it, for one attempt
 * --------------------------------------------------------------- */

/* A default: what the user has set, for all tasks or for this one, stays. A name that is asked for
 * here must be in asked_for. */
static void put_default(struct list *l, char *const *base, const char *name, const char *value)
{
    if (find(base, name) == NULL)
        list_add(l, join(name, value));
}

/* Whether ranks of this task have threads, as far as its environment says so. */
static bool has_threads(char *const *base, char *const *own)
{
    const char *threads = find(own, "OMP_NUM_THREADS");

    if (threads == NULL)
        threads = find(base, "OMP_NUM_THREADS");
    return threads != NULL && strtoul(threads, NULL, 10) > 1;
}

static void add_mpi(struct list *l, char *const *base, const struct taskenv_task *t,
                    const char *cores)
{
    bool topology = t->cpus[0] != '\0' && t->xml != NULL;
    bool bind = topology && !has_threads(base, t->env);

    if (topology) {
        list_add(l, join("HWLOC_XMLFILE", t->xml));
        list_add(l, join("HWLOC_THISSYSTEM", "1")); /* or hwloc would not bind at all */
    }
    put_default(l, base, "OMPI_MCA_hwloc_base_binding_policy",
                bind ? "core:overload-allowed" : "none");
    put_default(l, base, "OMPI_MCA_rmaps_base_oversubscribe", "1");
    put_default(l, base, "OMPI_MCA_orte_set_default_slots", cores);
    /* Open MPI 5. Its ranks are not bound where oversubscription is allowed, whatever the policy:
     * they share the task's cores by the kernel's choice. */
    put_default(l, base, "PRTE_MCA_hwloc_default_binding_policy",
                bind ? "core:overload-allowed" : "none");
    put_default(l, base, "PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    put_default(l, base, "PRTE_MCA_prte_set_default_slots", cores);
}

/* Both or neither: the one makes the directory that the other needs. */
static void add_scratch(struct list *l, char *const *base, const struct taskenv_task *t)
{
    static const char session[] = "OMPI_MCA_orte_tmpdir_base";
    static const char shared[] = "OMPI_MCA_btl_vader_backing_directory";

    if (t->scratch == NULL || find(base, session) != NULL || find(t->env, session) != NULL)
        return;
    list_add(l, join(session, t->scratch));
    put_default(l, base, shared, t->scratch);
}

static void add_pilot(struct list *l, size_t own, const struct taskenv_task *t, const char *cores)
{
    char text[QUICK_DIGITS];

    list_put_from(l, own, join("PILOT_TASK_ID", t->id));
    list_put_from(l, own, join("PILOT_TASK_DIR", t->dir));
    list_put_from(l, own, join("PILOT_CORES", cores));
    list_put_from(l, own, join("PILOT_CPUS", t->cpus));
    list_put_from(l, own, join("PILOT_NODE", t->node));
    list_put_from(l, own, join("PILOT_ATTEMPT", quick_number((uint64_t)t->attempt, text)));
    if (t->left_s >= 0)
        list_put_from(l, own, join("PILOT_TIME_LEFT", quick_number((uint64_t)t->left_s, text)));
    if (t->memory > 0)
        list_put_from(l, own, join("PILOT_MEMORY", quick_number((uint64_t)t->memory, text)));
    if (t->socket != NULL)
        list_put_from(l, own, join("PILOT_SOCKET", t->socket));
}

char **taskenv_task(char *const *base, const struct taskenv_task *t)
{
    char text[QUICK_DIGITS];
    const char *cores = quick_number(t->cores, text);
    struct list l;
    size_t own;

    if (!list_init(&l, 20 + strv_len(t->env)))
        return NULL;
    put_default(&l, base, "OMP_NUM_THREADS", cores);
    add_mpi(&l, base, t, cores);
    add_scratch(&l, base, t);
    own = l.len; /* up to here all names are ours, and different ones */
    for (size_t i = 0; t->env != NULL && t->env[i] != NULL; i++)
        list_put(&l, strdup(t->env[i]));
    add_pilot(&l, own, t, cores);
    return list_finish(&l);
}
