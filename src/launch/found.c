/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: looking for a program in the directories of PATH. found_exec may call nothing but system
 * calls and what needs no memory of its own. */
#include "launch/found.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KEEP_MS 1000

static bool depends_on_directory(const char *path)
{
    for (;; path++) {
        if (*path != '/')
            return true; /* an empty one is the current one */
        path = strchr(path, ':');
        if (path == NULL)
            return false;
    }
}

void found_expect(struct found *f, const char *name, const char *path, int64_t now_ms)
{
    size_t name_len = strlen(name);
    size_t path_len = strlen(path);

    f->is_known = now_ms < f->until_ms && f->file[0] != '\0' && strcmp(f->name, name) == 0 &&
                  strcmp(f->path, path) == 0;
    if (f->is_known)
        return;
    f->until_ms = 0;
    f->file[0] = '\0'; /* the child may never come to its search */
    if (name_len >= sizeof(f->name) || path_len >= sizeof(f->path) || depends_on_directory(path))
        return;
    memcpy(f->name, name, name_len + 1);
    memcpy(f->path, path, path_len + 1);
    f->until_ms = now_ms + KEEP_MS;
}

static int search(struct found *f, const char *path, char *const *argv, char *const *env)
{
    const char *dir = path;
    size_t name_len = strlen(argv[0]);
    int errnum = ENOENT;

    while (name_len > 0) {
        const char *end = strchrnul(dir, ':');
        size_t len = (size_t)(end - dir);

        if (len + 1 + name_len < sizeof(f->file)) {
            memcpy(f->file, dir, len);
            if (len > 0)
                f->file[len++] = '/'; /* an empty directory is the current one */
            memcpy(f->file + len, argv[0], name_len + 1);
            execve(f->file, argv, env);
            if (errno == EACCES)
                errnum = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR)
                return errno;
        }
        if (*end == '\0')
            break;
        dir = end + 1;
    }
    return errnum;
}

int found_exec(struct found *f, const char *path, char *const *argv, char *const *env)
{
    int errnum;

    if (strchr(argv[0], '/') != NULL) {
        execve(argv[0], argv, env);
        return errno;
    }
    if (f->is_known)
        execve(f->file, argv, env); /* gone since: it is looked for */
    errnum = search(f, path, argv, env);
    f->until_ms = 0;
    return errnum;
}
