/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of lines, JSON objects or commands, read through a small window: the text of a million
 * tasks need not be in memory at once, and memory that is used again and again stays in the caches
 * of the processor. */
#ifndef PILOT_INPUT_PORTIONS_H
#define PILOT_INPUT_PORTIONS_H

#include "input/taskfile.h"

#define PORTION_BYTES 262144 /* of the window; as large as it takes, when a line is longer */

#define PORTIONS_NOT_LINES (-1000) /* no error: read it as a whole, from its beginning */

/* As taskfile_read_text for the regular file fd, at its beginning, of size bytes. Or
 * PORTIONS_NOT_LINES: its first portion does not show that it is one of lines; nothing has been
 * handed out. The position of fd is then anywhere. */
int64_t portions_read(int fd, const char *name, size_t size, size_t portion,
                      const struct taskfile_config *config, const struct taskfile_ops *ops,
                      struct pilot_error *err);

#endif
