/* SPDX-License-Identifier: BSD-3-Clause */
/* Amounts as people write them: "2G" of memory, "1:30:00" of time. */
#ifndef PILOT_COMMON_UNITS_H
#define PILOT_COMMON_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNITS_SIZE_MAX ((int64_t)1 << 60) /* bytes; longer than any memory or file */
#define UNITS_TIME_MAX_S 1e9              /* seconds; thirty years */

/* "1000", "2G", "1.5GiB", "512 MB": bytes; K, M, G, T and P are powers of 1024, as Slurm has them.
 * False when it is something else, negative, or above UNITS_SIZE_MAX; *out is then as it was. */
bool units_parse_size(const char *text, int64_t *out);

/* "90", "2.5", "1:30" (minutes:seconds), "2:00:00", "1-00:00:00" (days-hours:minutes:seconds):
 * milliseconds, rounded up. False as above, beyond UNITS_TIME_MAX_S. */
bool units_parse_time(const char *text, int64_t *out_ms);

/* "1.5G": a size for people, at most 4 digits; returns buf. */
const char *units_size_text(int64_t bytes, char *buf, size_t size);

/* The same, rounded down and in a smaller unit, to be given as a limit: "22115M". */
const char *units_size_below(int64_t bytes, char *buf, size_t size);

#endif
