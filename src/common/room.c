/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/room.h"

#include <errno.h>

#include "common/error.h"

bool room_is_errno(int errnum)
{
    return errnum == ENOSPC || errnum == EDQUOT || errnum == EROFS;
}

const char *room_words(int errnum)
{
    switch (errnum) {
    case ENOSPC:
        return "no space is left on its disk; make room";
    case EDQUOT:
        return "the disk quota is used up; make room, or have it raised";
    case EROFS:
        return "its file system has become read-only; make it writable again";
    default:
        BUG("errno %d is not about room", errnum);
    }
}
