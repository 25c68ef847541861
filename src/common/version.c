/* SPDX-License-Identifier: BSD-3-Clause */
#include "pilot.h"

__attribute__((visibility("default"))) const char *pilot_version(void)
{
    return PILOT_VERSION;
}
