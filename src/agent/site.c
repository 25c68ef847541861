/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: looking at the host, the launching process and Slurm's variables. */
#include "agent/site.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cpus.h"
#include "common/buf.h"
#include "common/error.h"

#define ANCESTORS 5 /* a wrapper script or two may stand between mpirun and us */

/* Name and parent of a process; false when it is gone. */
static bool look_up(int pid, char *name, size_t size, int *parent)
{
    char path[64], line[512], *open_paren, *close_paren;
    bool ok = false;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    if (fgets(line, sizeof(line), f) != NULL && (open_paren = strchr(line, '(')) != NULL &&
        (close_paren = strrchr(line, ')')) != NULL) {
        char *end;

        *close_paren = '\0';
        snprintf(name, size, "%s", open_paren + 1);
        if (strlen(close_paren + 1) > 3) {
            *parent = (int)strtol(close_paren + 3, &end, 10); /* ") S 123 ..." */
            ok = true;
        }
    }
    fclose(f);
    return ok;
}

/* The mpirun or daemon that started us, 0 if none did. */
static int mpi_daemon(void)
{
    /* Beginnings of process names: mpirun.openmpi, orterun, orted, prterun, prted, ... */
    static const char *const daemons[] = {"mpirun", "mpiexec", "orte", "prte", "hydra_pmi_prox"};
    int pid = getppid();

    for (int i = 0; i < ANCESTORS && pid > 1; i++) {
        char name[64];
        int parent = 0;

        if (!look_up(pid, name, sizeof(name), &parent))
            return 0;
        for (size_t d = 0; d < sizeof(daemons) / sizeof(daemons[0]); d++)
            if (strncmp(name, daemons[d], strlen(daemons[d])) == 0)
                return pid;
        if (strncmp(name, "slurmstepd", 10) == 0)
            return 0;
        pid = parent;
    }
    return 0;
}

/* CPUs that Slurm gave the job on this node, as far as the step can know; 0: not under Slurm.
 * SLURM_CPUS_ON_NODE counts those of the step; what the job has stands in
 * SLURM_JOB_CPUS_PER_NODE, "2(x4)", which says nothing certain when nodes differ ("2(x3),1"). */
static uint32_t slurm_cpus(char *const *env)
{
    const char *step = strv_value(env, "SLURM_CPUS_ON_NODE");
    const char *job = strv_value(env, "SLURM_JOB_CPUS_PER_NODE");
    unsigned long of_step = step ? strtoul(step, NULL, 10) : 0;
    unsigned long of_job = job && strchr(job, ',') == NULL ? strtoul(job, NULL, 10) : 0;

    return (uint32_t)(of_step > of_job ? of_step : of_job);
}

int site_hello(struct msg_hello *m, char *const *environ_before, struct pilot_error *err)
{
    bool mpi = strv_value(environ_before, "OMPI_COMM_WORLD_SIZE") != NULL ||
               strv_value(environ_before, "PMI_RANK") != NULL ||
               strv_value(environ_before, "PMIX_RANK") != NULL;
    int daemon = mpi ? mpi_daemon() : 0;

    memset(m, 0, sizeof(*m));
    if (gethostname(m->host, sizeof(m->host) - 1) < 0)
        return err_set_errno(err, PILOT_ESYS, errno, "cannot learn the name of this host");
    snprintf(m->version, sizeof(m->version), "%s", pilot_version());
    m->slurm_cpus = daemon == 0 ? slurm_cpus(environ_before) : 0;
    m->pid = getpid();
    return cpus_mask_of(daemon, m->cpus, sizeof(m->cpus), err);
}

int site_mkdirs(const char *path, struct pilot_error *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof(part))
        return err_set(err, PILOT_EINVAL, "'%s' is longer than a path may be", path);
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        struct stat st;

        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0777) < 0 && errno != EEXIST)
            return err_set_errno(err, PILOT_EIO, errno, "cannot make the directory '%s'", part);
        if (i == len && (stat(part, &st) < 0 || !S_ISDIR(st.st_mode)))
            return err_set(err, PILOT_EIO, "'%s' is in the way: it is not a directory", part);
        part[i] = path[i];
    }
    return 0;
}

/* What lies there is read by tasks and clients: nobody else may write it. */
static int make_private(const char *path, struct pilot_error *err)
{
    struct stat st;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, PILOT_EIO, errno, "cannot make the directory '%s'", path);
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, PILOT_EIO, "'%s' is in the way: it is not a directory", path);
    return 0;
}

/* NAME.PID.tmp of a process that is no more. */
static bool is_abandoned(const char *name)
{
    size_t len = strlen(name);
    char *end;
    long pid;

    if (len < 5 || strcmp(name + len - 4, ".tmp") != 0)
        return false;
    for (len -= 4; len > 0 && name[len - 1] >= '0' && name[len - 1] <= '9';)
        len--;
    pid = strtol(name + len, &end, 10);
    return len > 0 && name[len - 1] == '.' && strcmp(end, ".tmp") == 0 && pid > 0 &&
           kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* What a pilot that was killed had not renamed yet. */
static void sweep(const char *dir)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *d = opendir(dir);

    while (d != NULL && (entry = readdir(d)) != NULL)
        if (is_abandoned(entry->d_name) &&
            snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) < (int)sizeof(path))
            unlink(path);
    if (d != NULL)
        closedir(d);
}

int site_make_dir(const char *workdir, const char *node, struct pilot_error *err)
{
    char path[PATH_MAX];
    int rc = site_mkdirs(workdir, err);

    if (rc == 0 && snprintf(path, sizeof(path), "%s/.pilot/%s", workdir, node) >= (int)sizeof(path))
        rc = err_set(err, PILOT_EINVAL, "'%s' is longer than a path may be", workdir);
    if (rc < 0)
        return rc;
    path[strlen(workdir) + strlen("/.pilot")] = '\0';
    rc = make_private(path, err);
    path[strlen(path)] = '/';
    if (rc == 0)
        rc = make_private(path, err);
    if (rc == 0)
        sweep(path);
    return rc;
}

int site_copy_file(const char *from, const char *to, bool required, struct pilot_error *err)
{
    char block[65536];
    FILE *in = fopen(from, "re"), *out;
    size_t len;
    int fd, rc = 0;

    if (in == NULL && errno == ENOENT && !required)
        return 0;
    if (in == NULL)
        return err_set_errno(err, errno == ENOENT ? PILOT_ENOENT : PILOT_EIO, errno,
                             "cannot read '%s'", from);
    fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    out = fd >= 0 ? fdopen(fd, "w") : NULL;
    while (out != NULL && (len = fread(block, 1, sizeof(block), in)) > 0)
        if (fwrite(block, 1, len, out) != len)
            rc = PILOT_EIO;
    if (out == NULL || ferror(in) || fclose(out) != 0 || rc < 0)
        rc = err_set_errno(err, PILOT_EIO, errno, "cannot copy '%s' to '%s'", from, to);
    fclose(in);
    return rc;
}

void site_remove_dir(const char *dir)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *d = opendir(dir);

    while (d != NULL && (entry = readdir(d)) != NULL)
        if (entry->d_name[0] != '.' &&
            snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) < (int)sizeof(path))
            unlink(path);
    if (d != NULL)
        closedir(d);
    rmdir(dir);
}
