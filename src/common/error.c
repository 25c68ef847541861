/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the wording machinery of errors. Must not print, except in bug_at, which never returns. */
#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int err_set(struct pilot_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err == NULL)
        return code;
    err->code = code;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return code;
}

int err_set_errno(struct pilot_error *err, int code, int errnum, const char *fmt, ...)
{
    va_list ap;
    size_t len;
    char reason[128];

    if (err == NULL)
        return code;
    err->code = code;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    len = strlen(err->text);
    snprintf(err->text + len, sizeof(err->text) - len, ": %s",
             strerror_r(errnum, reason, sizeof(reason)));
    return code;
}

_Noreturn void bug_at(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "pilot-mpi: internal error at %s:%d: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs("\npilot-mpi: please report this; --resume goes on from the last committed state\n",
          stderr);
    abort();
}
