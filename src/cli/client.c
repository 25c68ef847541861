/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: where a pilot is looked for, and in which order. What is said explicitly wins over
 * PILOT_SOCKET: a task may run a pilot of its own. */
#include "cli/client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/control.h"
#include "cli/client_impl.h"
#include "common/error.h"

char *client_take_line(struct buf *b)
{
    char *newline = memchr(b->data, '\n', b->len), *line = (char *)b->data;

    *newline = '\0';
    buf_init(b);
    return line;
}

/* Appends a line: what was tried, and why it was nothing. */
static void note_failure(struct pilot_error *all, const struct pilot_error *one)
{
    size_t len = strlen(all->text);

    snprintf(all->text + len, sizeof(all->text) - len, "\n  %.2000s", one->text);
}

static int by_workdir(const char *workdir, const char *request, size_t len, char **reply,
                      struct pilot_error *err)
{
    struct pilot_error one;
    int rc = client_by_note(workdir, request, len, reply, &one);

    if (rc == PILOT_ENOENT) {
        note_failure(err, &one);
        rc = client_by_inbox(workdir, request, len, reply, &one);
    }
    if (rc == PILOT_ENOENT)
        note_failure(err, &one);
    else if (rc < 0)
        *err = one;
    return rc;
}

/* The work directory of the pilot that uses this database: as its lock says, else where the
 * database is by default. Fresh memory. */
static char *workdir_of(const char *db)
{
    static const char mark[] = "\nworkdir /";
    char text[8192] = "", *path, *at;
    struct stat st;
    ssize_t n;
    int fd;

    if (asprintf(&path, "%s.lock", db) < 0)
        return NULL;
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    free(path);
    if (fd >= 0) {
        n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid()
                ? pread(fd, text, sizeof(text) - 1, 0)
                : 0;
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        at = strstr(text, mark);
        if (at != NULL) {
            at += strlen(mark) - 1;
            return strndup(at, strcspn(at, "\n"));
        }
    }
    at = strrchr(db, '/');
    if (at == NULL)
        return strdup(".");
    return strndup(db, at == db ? 1 : (size_t)(at - db));
}

/* In a task: its directory less its id. NULL: not in a task. */
static char *workdir_of_task(void)
{
    const char *dir = getenv("PILOT_TASK_DIR"), *id = getenv("PILOT_TASK_ID");
    size_t dir_len = dir != NULL ? strlen(dir) : 0, id_len = id != NULL ? strlen(id) : 0;

    if (id_len == 0 || dir_len <= id_len + 1 || strcmp(dir + dir_len - id_len, id) != 0 ||
        dir[dir_len - id_len - 1] != '/')
        return NULL;
    return strndup(dir, dir_len - id_len - 1);
}

/* A container may have hidden the socket; the work directory it must see. */
static int by_environment(const char *socket, const char *request, size_t len, char **reply,
                          struct pilot_error *err)
{
    struct pilot_error one;
    int rc = client_by_socket(socket, request, len, reply, &one);
    char *workdir;

    if (rc < 0 && rc != PILOT_ENOENT)
        *err = one;
    if (rc != PILOT_ENOENT)
        return rc;
    note_failure(err, &one);
    workdir = workdir_of_task();
    if (workdir == NULL)
        return rc;
    rc = by_workdir(workdir, request, len, reply, err);
    free(workdir);
    return rc;
}

int client_ask(const struct client_target *target, const char *request, size_t len, char **reply,
               struct pilot_error *err)
{
    const char *socket = getenv("PILOT_SOCKET");
    char *workdir = NULL;
    int rc;

    if (len > CONTROL_LINE_MAX)
        return err_set(err, PILOT_EINVAL,
                       "the tasks are too many for one request (%zu of at most %u MiB); split them",
                       len >> 20, CONTROL_LINE_MAX >> 20);
    snprintf(err->text, sizeof(err->text), "no pilot answers:");
    if (target->workdir != NULL || target->db != NULL || socket == NULL || socket[0] == '\0') {
        if (target->workdir == NULL && target->db != NULL)
            workdir = workdir_of(target->db);
        else
            workdir = strdup(target->workdir != NULL ? target->workdir : "./pilot_runs");
        if (workdir == NULL)
            return err_set(err, PILOT_ENOMEM, "out of memory");
        rc = by_workdir(workdir, request, len, reply, err);
        free(workdir);
    } else {
        rc = by_environment(socket, request, len, reply, err);
    }
    if (rc == PILOT_ENOENT) {
        struct pilot_error remedy;

        err_set(&remedy, rc, "%s", err->text);
        err_set(err, rc,
                "%.7000s\nnothing was added; start the pilot, or name the one that runs with "
                "--workdir DIR or --db FILE",
                remedy.text);
    }
    return rc;
}
