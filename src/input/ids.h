/* SPDX-License-Identifier: BSD-3-Clause */
/* Which ids a task may have: an id is also the path of the task's directory below the work
 * directory. */
#ifndef PILOT_INPUT_IDS_H
#define PILOT_INPUT_IDS_H

#include <stdbool.h>
#include <stddef.h>

#define ID_BYTES_MAX 1024          /* of a whole id */
#define ID_COMPONENT_BYTES_MAX 255 /* of a file name, on every file system that matters */

/* True when id may be used. Otherwise why (size bytes) says what is wrong and what to do, as the
 * rest of a sentence that begins with the id. reserved: see struct taskfile_config; may be NULL. */
bool id_check(const char *id, const char *const *reserved, char *why, size_t size);

#endif
