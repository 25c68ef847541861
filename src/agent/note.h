/* SPDX-License-Identifier: BSD-3-Clause */
/* Directories of ours on a node's own file systems, and the notes in WORKDIR/.pilot/NODE that name
 * them, so that the next pilot there finds what a killed one left. */
#ifndef PILOT_AGENT_NOTE_H
#define PILOT_AGENT_NOTE_H

#include <stdbool.h>
#include <stddef.h>

#include "pilot.h"

/* Writes "BASE/pilot-mpi.XXXXXX" with letters drawn by chance into path; makes nothing. False: size
 * is too small. */
bool note_draw(char *path, size_t size, const char *base);
/* Is this such a path? */
bool note_is_ours(const char *path);

/* The note holds one line; by rename, so that nobody reads half of it. Write it before what it
 * names is made, and remove it after that is gone: then a kill at any moment leaves nothing without
 * one. */
int note_write(const char *note, const char *line, struct pilot_error *err);
/* False: there is none, or nothing to be trusted. */
bool note_read(const char *note, char *line, size_t size);

#endif
