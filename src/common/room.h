/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk that cannot be written now but may be again, once somebody makes room: the errors that say
 * so, in the words of all components. Other errors of a disk do not pass by waiting. */
#ifndef PILOT_COMMON_ROOM_H
#define PILOT_COMMON_ROOM_H

#include <stdbool.h>

/* A full disk, a quota that is used up, a file system that has become read-only. */
bool room_is_errno(int errnum);

/* "no space is left on its disk; make room": what is wrong, and what to do. For such an errno. */
const char *room_words(int errnum);

#endif
