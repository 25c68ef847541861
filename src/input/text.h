/* SPDX-License-Identifier: BSD-3-Clause */
/* Small things about text: UTF-8, and what may be shown on a terminal. */
#ifndef PILOT_INPUT_TEXT_H
#define PILOT_INPUT_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of the UTF-8 character at p (len > 0 bytes are there), or 0 when it is none. *code (may
 * be NULL) is its number. */
size_t text_char(const char *p, size_t len, uint32_t *code);

/* The first byte that is not UTF-8; NULL: all of it is. */
const char *text_not_utf8(const char *p, size_t len);

/* Replaces by '?' what must not reach a terminal: control characters and bytes that are not UTF-8
 * (a text cut in the middle of a character has some at its end). */
void text_make_printable(char *s);

#endif
