/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors inside pilot-mpi: a function returns 0 (or something positive) or a negative PILOT_E...
 * from pilot.h; where a person will read the message it takes a last parameter
 * `struct pilot_error *err`, which may be NULL. */
#ifndef PILOT_COMMON_ERROR_H
#define PILOT_COMMON_ERROR_H

#include "pilot.h"

/* Stores a message (cut to fit) and the code in err, unless err is NULL. Returns code, so that a
 * failing line is one statement: return err_set(err, PILOT_EINVAL, "task '%s': ...", id); */
int err_set(struct pilot_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": " and the text of errnum (an errno value) behind the message. */
int err_set_errno(struct pilot_error *err, int code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* For broken invariants only, never for input: prints where and why, then aborts. */
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_ON(cond)                                                                               \
    do {                                                                                           \
        if (cond)                                                                                  \
            BUG("%s", #cond);                                                                      \
    } while (0)
_Noreturn void bug_at(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
