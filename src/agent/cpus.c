/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the topology of this node and the translation between cores (indexes) and CPUs (the
 * kernel's numbers). Which cores a task gets is placement.c's decision.
 *
 * The topology is loaded without I/O devices and without hwloc's x86 component, which binds the
 * process to every CPU in turn: a node must be ready in milliseconds. */
#include "agent/cpus.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hwloc.h>

#include "agent/cpulist.h"
#include "agent/placement.h"
#include "common/error.h"

#define NO_KEY UINT32_MAX
#define LIST_SHORT 48 /* bytes of a list of CPUs that people read */

struct cpus {
    hwloc_topology_t topology; /* NULL: virtual cores */
    struct placement *place;
    hwloc_obj_t *core_of; /* by index: the hwloc core; NULL: virtual cores */
    hwloc_bitmap_t *pus;  /* by index: its allowed PUs; NULL: virtual cores */
    unsigned total;
    bool threads; /* an index is a hardware thread */
};

/* ---- Loading the topology
 * ------------------------------------------------------------------------ */

static int set_source(hwloc_topology_t t, const struct cpus_config *config, struct pilot_error *err)
{
    if (config->synthetic != NULL && hwloc_topology_set_synthetic(t, config->synthetic) < 0)
        return err_set(err, PILOT_EINVAL, "'%s' is not an hwloc synthetic topology",
                       config->synthetic);
    if (config->xml != NULL && hwloc_topology_set_xml(t, config->xml) < 0)
        return err_set_errno(err, PILOT_EINVAL, errno, "%s: cannot be read as an hwloc topology",
                             config->xml);
    return 0;
}

static int load_topology(hwloc_topology_t *out, const struct cpus_config *config,
                         struct pilot_error *err)
{
    hwloc_topology_t t;
    int rc;

    if (hwloc_topology_init(&t) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for the topology of this node");
    hwloc_topology_set_io_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(t, HWLOC_OBJ_MISC, HWLOC_TYPE_FILTER_KEEP_NONE);
#if HWLOC_API_VERSION >= 0x00020100
    hwloc_topology_set_components(t, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
#endif
    rc = set_source(t, config, err);
    if (rc == 0 && hwloc_topology_load(t) < 0)
        rc = err_set_errno(err, PILOT_ESYS, errno, "hwloc cannot read the topology of %s",
                           config->xml != NULL ? config->xml : "this node");
    if (rc < 0) {
        hwloc_topology_destroy(t);
        return rc;
    }
    *out = t;
    return 0;
}

/* For people: a long list is cut at a comma. */
static void shorten_list(hwloc_const_bitmap_t set, char list[LIST_SHORT])
{
    static const char dots[] = "...";
    char *comma;

    if (hwloc_bitmap_list_snprintf(list, LIST_SHORT - (sizeof(dots) - 1), set) <
        LIST_SHORT - (int)(sizeof(dots) - 1))
        return;
    comma = strrchr(list, ',');
    memcpy(comma != NULL ? comma + 1 : list, dots, sizeof(dots));
}

/* The PUs that may be used. A description of another machine says itself what may be used there;
 * on this one it is what the kernel lets this process use. */
static int find_allowed(hwloc_topology_t t, const struct cpus_config *config, hwloc_bitmap_t set,
                        struct pilot_error *err)
{
    bool described = config->synthetic != NULL || config->xml != NULL;
    char list[LIST_SHORT];
    int rc = 0;

    if (config->allowed != NULL) {
        rc = cpulist_parse(config->allowed, set, err);
    } else if (described) {
        hwloc_bitmap_copy(set, hwloc_topology_get_allowed_cpuset(t));
    } else {
        rc = cpulist_of_process(0, set, err);
    }
    if (rc < 0)
        return rc;
    hwloc_bitmap_and(set, set, hwloc_topology_get_topology_cpuset(t));
    if (!hwloc_bitmap_iszero(set))
        return 0;
    shorten_list(hwloc_topology_get_topology_cpuset(t), list);
    return err_set(err, PILOT_EINVAL,
                   "none of the CPUs '%.200s' is on this node, which has %s; check the CPU "
                   "binding that the launcher sets",
                   config->allowed != NULL ? config->allowed : "", list);
}

/* ---- Cores
 * --------------------------------------------------------------------------------------- */

static int add_index(struct cpus *c, hwloc_obj_t core, hwloc_bitmap_t pus)
{
    if (pus == NULL)
        return PILOT_ENOMEM;
    c->core_of[c->total] = core;
    c->pus[c->total++] = pus;
    return 0;
}

/* Adds a core, or each of its allowed hardware threads. */
static int add_core(struct cpus *c, hwloc_obj_t core, hwloc_const_bitmap_t allowed, unsigned max)
{
    hwloc_bitmap_t usable = hwloc_bitmap_alloc();
    int rc = usable != NULL ? hwloc_bitmap_and(usable, core->cpuset, allowed) : PILOT_ENOMEM;
    int pu;

    if (rc < 0 || hwloc_bitmap_iszero(usable)) {
        hwloc_bitmap_free(usable);
        return rc < 0 ? PILOT_ENOMEM : 0;
    }
    if (!c->threads)
        return add_index(c, core, usable);
    hwloc_bitmap_foreach_begin(pu, usable)
    {
        hwloc_bitmap_t one = hwloc_bitmap_alloc();

        if (rc == 0 && c->total < max && (one == NULL || hwloc_bitmap_only(one, (unsigned)pu) == 0))
            rc = add_index(c, core, one);
        else
            hwloc_bitmap_free(one);
    }
    hwloc_bitmap_foreach_end();
    hwloc_bitmap_free(usable);
    return rc;
}

/* Fills core_of and pus, in logical order. Where hwloc knows no cores, PUs stand in for them. */
static int find_cores(struct cpus *c, hwloc_const_bitmap_t allowed, unsigned max,
                      struct pilot_error *err)
{
    int depth = hwloc_get_type_or_below_depth(c->topology, HWLOC_OBJ_CORE);
    int pus = hwloc_get_nbobjs_by_type(c->topology, HWLOC_OBJ_PU);
    hwloc_obj_t core = NULL;

    c->core_of = calloc((size_t)pus, sizeof(*c->core_of));
    c->pus = calloc((size_t)pus, sizeof(*c->pus));
    if (c->core_of == NULL || c->pus == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for %d CPUs", pus);
    while ((core = hwloc_get_next_obj_by_depth(c->topology, depth, core)) != NULL)
        if ((max == 0 || c->total < max) &&
            add_core(c, core, allowed, max > 0 ? max : (unsigned)pus) < 0)
            return err_set(err, PILOT_ENOMEM, "out of memory for %d CPUs", pus);
    return 0;
}

/* ---- Domains
 * ------------------------------------------------------------------------------------- */

/* The NUMA node of a core: the smallest that holds it (memory of different kinds may overlap). */
static unsigned numa_of(hwloc_topology_t t, hwloc_obj_t core)
{
    hwloc_obj_t node = NULL, best = NULL;

    while ((node = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_NUMANODE, node)) != NULL)
        if (hwloc_bitmap_isincluded(core->cpuset, node->cpuset) &&
            (best == NULL || hwloc_bitmap_weight(node->cpuset) < hwloc_bitmap_weight(best->cpuset)))
            best = node;
    return best != NULL ? best->logical_index : NO_KEY;
}

/* Per index the object of a type that holds it, as a number; NO_KEY: none does. Returns how many
 * different ones. */
static unsigned find_keys(const struct cpus *c, hwloc_obj_type_t type, unsigned *key)
{
    unsigned count = 0;

    for (unsigned i = 0; i < c->total; i++) {
        hwloc_obj_t above;

        if (i > 0 && c->core_of[i] == c->core_of[i - 1]) {
            key[i] = key[i - 1];
            continue;
        }
        if (type == HWLOC_OBJ_NUMANODE) {
            key[i] = numa_of(c->topology, c->core_of[i]);
        } else if (type == HWLOC_OBJ_CORE) {
            key[i] = c->core_of[i]->logical_index;
        } else {
            above = hwloc_get_ancestor_obj_by_type(c->topology, type, c->core_of[i]);
            key[i] = above != NULL ? above->logical_index : NO_KEY;
        }
        if (key[i] != NO_KEY && (i == 0 || key[i] != key[i - 1]))
            count++;
    }
    return count;
}

/* Levels from coarse to fine. Which of NUMA node and L3 is the larger differs between machines (one
 * L3 over two sub-NUMA clusters, or eight L3s in a NUMA node), so their numbers decide. */
static int add_levels(struct cpus *c)
{
    hwloc_obj_type_t types[] = {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_DIE, HWLOC_OBJ_NUMANODE,
                                HWLOC_OBJ_L3CACHE};
    enum { TYPES = sizeof(types) / sizeof(types[0]) };
    unsigned *keys[TYPES], counts[TYPES] = {0};
    unsigned *room = calloc(c->total, (TYPES + 1) * sizeof(*room));
    int rc = 0;

    if (room == NULL)
        return PILOT_ENOMEM;
    for (unsigned i = 0; i < TYPES; i++) {
        unsigned *key = room + (size_t)i * c->total;
        unsigned count = find_keys(c, types[i], key), at = i;

        for (; at > 0 && counts[at - 1] > count; at--) {
            counts[at] = counts[at - 1];
            keys[at] = keys[at - 1];
        }
        counts[at] = count;
        keys[at] = key;
    }
    for (unsigned i = 0; i < TYPES && rc == 0; i++)
        rc = placement_add_level(c->place, keys[i]);
    if (rc == 0 && c->threads) {
        find_keys(c, HWLOC_OBJ_CORE, room + (size_t)TYPES * c->total);
        rc = placement_add_cores(c->place, room + (size_t)TYPES * c->total);
    }
    free(room);
    return rc;
}

/* ---- Creating
 * ------------------------------------------------------------------------------------ */

static int create_real(struct cpus *c, const struct cpus_config *config, struct pilot_error *err)
{
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    int rc;

    if (allowed == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for the topology of this node");
    c->threads = config->use_hyperthreads;
    rc = load_topology(&c->topology, config, err);
    if (rc == 0)
        rc = find_allowed(c->topology, config, allowed, err);
    if (rc == 0)
        rc = find_cores(c, allowed, config->max_cores, err);
    hwloc_bitmap_free(allowed);
    if (rc < 0)
        return rc;
    if (c->total == 0)
        return err_set(err, PILOT_ESYS, "hwloc finds no cores around the CPUs of this node");
    c->place = placement_create(c->total);
    if (c->place == NULL || add_levels(c) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for the topology of this node");
    return 0;
}

int cpus_create(struct cpus **out, const struct cpus_config *config, struct pilot_error *err)
{
    struct cpus *c = calloc(1, sizeof(*c));
    int rc = 0;

    if (c == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for the topology of this node");
    if (config->virtual_cores > 0) {
        c->total = config->virtual_cores;
        c->place = placement_create(c->total);
        if (c->place == NULL)
            rc = err_set(err, PILOT_ENOMEM, "out of memory for %u cores", c->total);
    } else {
        rc = create_real(c, config, err);
    }
    if (rc < 0) {
        cpus_destroy(c);
        return rc;
    }
    *out = c;
    return 0;
}

void cpus_destroy(struct cpus *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; c->pus != NULL && i < c->total; i++)
        hwloc_bitmap_free(c->pus[i]);
    free(c->pus);
    free(c->core_of);
    placement_destroy(c->place);
    if (c->topology != NULL)
        hwloc_topology_destroy(c->topology);
    free(c);
}

unsigned cpus_total(const struct cpus *c)
{
    return c->total;
}

unsigned cpus_free(const struct cpus *c)
{
    return placement_free(c->place);
}

bool cpus_virtual(const struct cpus *c)
{
    return c->topology == NULL;
}

/* ---- Taking and giving
 * --------------------------------------------------------------------------- */

static int list_of(const struct cpus *c, const unsigned *cores, unsigned count, char *dst,
                   size_t size, struct pilot_error *err)
{
    hwloc_bitmap_t set;
    int rc = 0;

    dst[0] = '\0';
    if (cpus_virtual(c))
        return 0;
    if (count == 1)
        return cpulist_format(c->pus[cores[0]], dst, size, err);
    set = hwloc_bitmap_alloc();
    if (set == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for a set of CPUs");
    for (unsigned i = 0; i < count && rc == 0; i++)
        rc = hwloc_bitmap_or(set, set, c->pus[cores[i]]);
    if (rc < 0)
        rc = err_set(err, PILOT_ENOMEM, "out of memory for a set of CPUs");
    else
        rc = cpulist_format(set, dst, size, err);
    hwloc_bitmap_free(set);
    return rc;
}

int cpus_take(struct cpus *c, unsigned count, struct cpus_set *out, struct pilot_error *err)
{
    const char *unit = c->threads ? "hardware threads" : "cores";
    unsigned *cores;
    int rc;

    memset(out, 0, sizeof(*out));
    if (count == 0 || count > c->total)
        return err_set(err, PILOT_EINVAL,
                       "a task that asks for %u %s cannot run on this node, which has %u", count,
                       unit, c->total);
    if (count > cpus_free(c))
        return err_set(err, PILOT_EAGAIN, "%u %s are wanted, %u are free now", count, unit,
                       cpus_free(c));
    cores = calloc(count, sizeof(*cores));
    if (cores == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for a set of %u cores", count);
    if (!placement_take(c->place, count, cores))
        BUG("%u of %u free cores cannot be placed", count, cpus_free(c));
    rc = list_of(c, cores, count, out->list, sizeof(out->list), err);
    if (rc < 0) {
        placement_give(c->place, cores, count);
        free(cores);
        return rc;
    }
    out->count = count;
    out->cores = cores;
    return 0;
}

void cpus_give(struct cpus *c, struct cpus_set *set)
{
    placement_give(c->place, set->cores, set->count);
    free(set->cores);
    memset(set, 0, sizeof(*set));
}

/* ---- For people
 * ---------------------------------------------------------------------------------- */

#define DESCRIBED_GROUPS 8 /* L3 groups listed one by one */

struct text {
    char *at;
    size_t left; /* with the NUL */
};

static void add_text(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_text(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(t->at, t->left, fmt, ap);
    va_end(ap);
    if (len < 0)
        return;
    if ((size_t)len >= t->left)
        len = t->left > 0 ? (int)t->left - 1 : 0;
    t->at += len;
    t->left -= (size_t)len;
}

static void add_list(const struct cpus *c, unsigned first, unsigned end, struct text *t)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    char list[LIST_SHORT];

    if (set == NULL)
        return;
    for (unsigned i = first; i < end; i++)
        hwloc_bitmap_or(set, set, c->pus[i]);
    shorten_list(set, list);
    add_text(t, "%s", list);
    hwloc_bitmap_free(set);
}

static unsigned count_threads(const struct cpus *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < c->total; i++)
        n += (unsigned)hwloc_bitmap_weight(c->pus[i]);
    return n;
}

static void add_count(struct text *t, unsigned n, const char *what)
{
    add_text(t, "%u %s%s, ", n, what, n == 1 ? "" : "s");
}

/* "L3: 0-3 | 4-7" for the runs of equal keys. */
static void add_groups(const struct cpus *c, const unsigned *key, unsigned groups, const char *name,
                       struct text *t)
{
    unsigned shown = 0, first = 0;

    add_text(t, "; %s: ", name);
    for (unsigned i = 1; i <= c->total; i++) {
        if (i < c->total && key[i] == key[first])
            continue;
        if (shown == DESCRIBED_GROUPS) {
            add_text(t, " | ... (%u in all)", groups);
            return;
        }
        add_text(t, "%s", shown++ > 0 ? " | " : "");
        add_list(c, first, i, t);
        first = i;
    }
}

void cpus_describe(const struct cpus *c, char *dst, size_t size)
{
    struct text t = {dst, size};
    unsigned *key, packages, nodes, groups, cores, threads;

    if (size == 0)
        return;
    dst[0] = '\0';
    if (cpus_virtual(c)) {
        add_text(&t, "%u virtual core%s, not pinned", c->total, c->total == 1 ? "" : "s");
        return;
    }
    key = calloc(c->total, sizeof(*key));
    if (key == NULL)
        return;
    packages = find_keys(c, HWLOC_OBJ_PACKAGE, key);
    cores = find_keys(c, HWLOC_OBJ_CORE, key);
    nodes = find_keys(c, HWLOC_OBJ_NUMANODE, key);
    groups = find_keys(c, HWLOC_OBJ_L3CACHE, key);
    threads = count_threads(c);
    if (packages > 0)
        add_count(&t, packages, "package");
    if (nodes > packages)
        add_count(&t, nodes, "NUMA node");
    if (groups > 0)
        add_count(&t, groups, "L3 group");
    add_text(&t, "%u core%s", cores, cores == 1 ? "" : "s");
    if (c->threads)
        add_text(&t, " used as %u hardware threads", threads);
    else if (threads != cores)
        add_text(&t, " (%u threads)", threads);
    add_text(&t, ": ");
    add_list(c, 0, c->total, &t);
    if (groups > 1)
        add_groups(c, key, groups, "L3", &t);
    else if (nodes > 1 && find_keys(c, HWLOC_OBJ_NUMANODE, key) > 1)
        add_groups(c, key, nodes, "NUMA", &t);
    free(key);
}

/* ---- Topology files for tasks
 * -------------------------------------------------------------------- */

static int write_whole(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Under a name of its own first: whoever opens path sees all of it. mkostemp makes mode 0600. */
static int write_file(const char *path, const char *data, size_t len, struct pilot_error *err)
{
    char tmp[4096 + 32];
    int fd, bad;

    /* The number says whose it is when we are killed now (site_make_dir). */
    if (snprintf(tmp, sizeof(tmp), "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof(tmp))
        return err_set(err, PILOT_EINVAL, "path too long: %.200s...", path);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, PILOT_EIO, errno, "%s: cannot be made", tmp);
    bad = write_whole(fd, data, len);
    if (close(fd) < 0 && bad == 0)
        bad = errno;
    if (bad == 0 && rename(tmp, path) < 0)
        bad = errno;
    if (bad == 0)
        return 0;
    unlink(tmp);
    return err_set_errno(err, PILOT_EIO, bad, "%s: cannot be written", path);
}

static int export_restricted(const struct cpus *c, hwloc_const_bitmap_t set, const char *path,
                             struct pilot_error *err)
{
    hwloc_topology_t t;
    char *xml;
    int len, rc;

    if (hwloc_topology_dup(&t, c->topology) < 0)
        return err_set(err, PILOT_ENOMEM, "out of memory for a copy of the topology");
    if (hwloc_topology_restrict(t, set, HWLOC_RESTRICT_FLAG_REMOVE_CPULESS) < 0)
        rc =
            err_set_errno(err, PILOT_ESYS, errno, "hwloc cannot cut the topology to a task's CPUs");
    else if (hwloc_topology_export_xmlbuffer(t, &xml, &len, 0) < 0)
        rc = err_set_errno(err, PILOT_ESYS, errno, "hwloc cannot export the topology");
    else {
        rc = write_file(path, xml, strlen(xml), err); /* len counts the NUL */
        hwloc_free_xmlbuffer(t, xml);
    }
    hwloc_topology_destroy(t);
    return rc;
}

int cpus_export_xml(const struct cpus *c, const char *list, const char *path,
                    struct pilot_error *err)
{
    hwloc_bitmap_t set;
    int rc;

    if (cpus_virtual(c))
        return err_set(err, PILOT_EINVAL, "virtual cores have no topology to export");
    set = hwloc_bitmap_alloc();
    if (set == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for a set of CPUs");
    rc = cpulist_parse(list, set, err);
    if (rc == 0 && !hwloc_bitmap_intersects(set, hwloc_topology_get_topology_cpuset(c->topology)))
        rc = err_set(err, PILOT_EINVAL, "none of the CPUs '%.200s' is on this node", list);
    if (rc == 0)
        rc = export_restricted(c, set, path, err);
    hwloc_bitmap_free(set);
    return rc;
}
