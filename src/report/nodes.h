/* SPDX-License-Identifier: BSD-3-Clause */
/* The nodes of an allocation in few lines: equal ones share one, and "vc3 vc4 vc5" is vc[3-5]. */
#ifndef PILOT_REPORT_NODES_H
#define PILOT_REPORT_NODES_H

#include "report/report.h"
#include "report/screen.h"

#define NODES_EACH 16 /* up to so many nodes have a line each; so many lines at most */

void nodes_write(struct screen *s, const struct report_node *nodes, unsigned count);

#endif
