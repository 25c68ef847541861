/* SPDX-License-Identifier: BSD-3-Clause */
/* Can this be asked of a slot? */
#ifndef PILOT_LAUNCH_REQUEST_H
#define PILOT_LAUNCH_REQUEST_H

#include <stdbool.h>

#include "launch/launch.h"

/* 0, or PILOT_EINVAL and what is wrong with it. */
int request_check(const struct launch_request *req, struct pilot_error *err);

/* More than a message may have, and more than the kernel would execute. */
bool request_is_too_large(const struct launch_request *req);

#endif
