/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of CPU numbers ("0-3,8") as hwloc bitmaps; for the files of this directory that use hwloc.
 */
#ifndef PILOT_AGENT_CPULIST_H
#define PILOT_AGENT_CPULIST_H

#include <stddef.h>

#include <hwloc.h>

#include "pilot.h"

/* Larger numbers are taken for a mistake: Linux supports 8,192 at most. */
#define CPULIST_MAX_CPU 65535

/* set = the CPUs of list; "" is the empty set. Strict: digits, '-' and ',' only, ranges upwards.
 * Errors: PILOT_EINVAL, PILOT_ENOMEM. */
int cpulist_parse(const char *list, hwloc_bitmap_t set, struct pilot_error *err);

/* PILOT_ESYS when the list has more than size - 1 bytes: a cut list would be a wrong one. */
int cpulist_format(hwloc_const_bitmap_t set, char *dst, size_t size, struct pilot_error *err);

/* set = the CPUs that process pid (0: the caller) may run on. Errors: PILOT_ENOENT (no such
 * process), PILOT_ENOMEM, PILOT_ESYS. */
int cpulist_of_process(int pid, hwloc_bitmap_t set, struct pilot_error *err);

#endif
