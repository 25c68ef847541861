/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the control socket of a node is: the directory that only its user can enter, and the file
 * that says which it is. */
#ifndef PILOT_AGENT_CONTROL_PLACE_H
#define PILOT_AGENT_CONTROL_PLACE_H

#include "pilot.h"

#define CONTROL_PATH_MAX 108 /* what fits into an address, its NUL included */

struct control_place {
    char *note;                    /* owned: NODE_DIR/socket */
    char socket[CONTROL_PATH_MAX]; /* absolute; "": not made */
};

/* Removes what a pilot that was killed left, makes directory, socket and note; *listener is the
 * caller's. place is zero before; after a failure control_place_remove is needed too. */
int control_place_make(struct control_place *place, const char *node_dir, int *listener,
                       struct pilot_error *err);
/* Removes them; the note only if it still names this socket. */
void control_place_remove(struct control_place *place);

#endif
