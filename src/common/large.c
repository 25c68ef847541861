/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/large.h"

#include <stdint.h>
#include <sys/mman.h>

void large_pages(void *block, size_t bytes)
{
    uintptr_t from = ((uintptr_t)block + LARGE_PAGE_BYTES - 1) & ~(uintptr_t)(LARGE_PAGE_BYTES - 1);
    uintptr_t to = ((uintptr_t)block + bytes) & ~(uintptr_t)(LARGE_PAGE_BYTES - 1);

    if (block != NULL && from < to)
        madvise((void *)from, to - from, MADV_HUGEPAGE); /* refused: small pages do as well */
}
