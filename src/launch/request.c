/* SPDX-License-Identifier: BSD-3-Clause */
#include "launch/request.h"

#include <fcntl.h>
#include <string.h>

#include "common/error.h"
#include "launch/wire.h"

static size_t text_bytes(const char *s)
{
    return s != NULL ? strlen(s) + 5 : 4;
}

bool request_is_too_large(const struct launch_request *req)
{
    size_t bytes = text_bytes(req->id) + text_bytes(req->command) + text_bytes(req->cwd) +
                   text_bytes(req->stdin_path) + text_bytes(req->cpus);

    for (char *const *v = req->argv; v != NULL && *v != NULL; v++)
        bytes += text_bytes(*v);
    for (char *const *v = req->env; v != NULL && *v != NULL; v++)
        bytes += text_bytes(*v);
    return bytes + 64 > WIRE_MAX;
}

static int check_fds(const struct launch_request *req, struct pilot_error *err)
{
    if (req->stdio_fd == 0 && req->stderr_fd == 0)
        return 0;
    if (req->stdio_fd <= 2 || req->stderr_fd <= 2 || fcntl(req->stdio_fd, F_GETFD) < 0 ||
        fcntl(req->stderr_fd, F_GETFD) < 0)
        return err_set(err, PILOT_EINVAL,
                       "'%s': cannot pass on the descriptors %d and %d: both must "
                       "be open and above 2",
                       req->id, req->stdio_fd, req->stderr_fd);
    if (req->cwd == NULL || req->stdin_path != NULL)
        return err_set(err, PILOT_EINVAL,
                       "'%s': with descriptors to pass on, set a directory, and no "
                       "file for standard input",
                       req->id);
    return 0;
}

int request_check(const struct launch_request *req, struct pilot_error *err)
{
    if (req->id == NULL || req->id[0] == '\0')
        return err_set(err, PILOT_EINVAL, "a task without an id cannot be started");
    if (req->argv != NULL ? req->argv[0] == NULL : req->command == NULL)
        return err_set(err, PILOT_EINVAL, "task '%s': no command", req->id);
    if (req->cpus != NULL && strlen(req->cpus) >= TASK_CPUS_MAX)
        return err_set(err, PILOT_EINVAL, "task '%s': list of CPUs longer than %d bytes", req->id,
                       TASK_CPUS_MAX - 1);
    if (req->wait_ms != 0 && req->stdio_fd != 0)
        return err_set(err, PILOT_EINVAL,
                       "'%s': with descriptors to pass on, it cannot wait for "
                       "the end of another",
                       req->id);
    return check_fds(req, err);
}
