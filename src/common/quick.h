/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts made without printf, which would take longer than most of what is done for one attempt. For
 * what is made for each; elsewhere printf says better what comes out. */
#ifndef PILOT_COMMON_QUICK_H
#define PILOT_COMMON_QUICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The parts, up to NULL, one behind the other. False: not all of it has room; text holds the
 * beginning of it. */
bool quick_concat(char *text, size_t size, const char *const *parts);

#define QUICK_DIGITS 24
/* The number in decimal, somewhere in text. */
const char *quick_number(uint64_t value, char text[QUICK_DIGITS]);

#endif
