/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum log_level max_level = LOG_INFO;
static log_sink_f *current_sink;
static void *sink_arg;
static char origin[80];

void log_set_level(enum log_level level)
{
    max_level = level;
}

void log_set_sink(log_sink_f *sink, void *arg)
{
    current_sink = sink;
    sink_arg = arg;
}

void log_set_origin(const char *name)
{
    snprintf(origin, sizeof(origin), "%s%s", name ? name : "", name ? ": " : "");
}

void log_msg(enum log_level level, const char *fmt, ...)
{
    static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
    char text[2048];
    size_t len;
    va_list ap;

    if (level > max_level)
        return;
    len = (size_t)snprintf(text, sizeof(text), "pilot-mpi: %s%s", words[level], origin);
    va_start(ap, fmt);
    vsnprintf(text + len, sizeof(text) - len, fmt, ap);
    va_end(ap);
    if (current_sink != NULL)
        current_sink(sink_arg, level, text);
    else
        fprintf(stderr, "%s\n", text);
}
