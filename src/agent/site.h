/* SPDX-License-Identifier: BSD-3-Clause */
/* What a rank finds out about the place where it was started. */
#ifndef PILOT_AGENT_SITE_H
#define PILOT_AGENT_SITE_H

#include "pilot.h"
#include "proto/msg.h"

/* Fills m: host, version, and the CPUs that this rank's node may be used on. Under mpirun the mask
 * of the launching daemon is taken, because mpirun's own binding of a rank is not an allocation;
 * under srun, or alone, the mask of this process. */
int site_hello(struct msg_hello *m, char *const *environ_before, struct pilot_error *err);

/* Makes WORKDIR/.pilot/NODE, mode 0700, where this node keeps files of its own, and removes what a
 * process that is no more was about to write there (NAME.PID.tmp). */
int site_make_dir(const char *workdir, const char *node, struct pilot_error *err);

/* mkdir -p. */
int site_mkdirs(const char *path, struct pilot_error *err);

/* Copies a file's bytes. A missing source is an error (PILOT_ENOENT) only when required. */
int site_copy_file(const char *from, const char *to, bool required, struct pilot_error *err);

/* Removes a directory and the files directly in it. */
void site_remove_dir(const char *dir);

#endif
