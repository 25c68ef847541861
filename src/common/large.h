/* SPDX-License-Identifier: BSD-3-Clause */
/* Large blocks of memory that will be used from end to end. */
#ifndef PILOT_COMMON_LARGE_H
#define PILOT_COMMON_LARGE_H

#include <stddef.h>

#define LARGE_PAGE_BYTES (2u << 20) /* on every machine that matters */

/* Asks for large pages in the block, which is fresh. Filling it then costs one page fault where it
 * costs 512 of small ones, each about as much as reading a task. Of small blocks nothing is asked.
 */
void large_pages(void *block, size_t bytes);

#endif
