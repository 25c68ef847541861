/* SPDX-License-Identifier: BSD-3-Clause */
/* Which units (cores or hardware threads) a task gets, out of those that are free. Pure: knows
 * indexes and nested domains, neither hwloc nor CPU numbers.
 *
 * Units are numbered in the order of the machine, so that every domain (package, NUMA node, L3,
 * core) is a run of neighbouring numbers. Levels go from coarse to fine and each divides the one
 * before. The rule:
 *   1. the finest level at which one domain has room decides, and there the domain with the fewest
 *      free units that still fits ("fullest"); ties: the one in the fuller parent, then the first;
 *   2. within it, where no single subdomain has room, as few subdomains as possible, those nearest
 *      each other, all but one of them to the last free unit;
 *   3. units that are hardware threads (placement_add_cores): single ones complete half-used cores,
 *      several go to untouched cores first. */
#ifndef PILOT_AGENT_PLACEMENT_H
#define PILOT_AGENT_PLACEMENT_H

#include <stdbool.h>

struct placement;

/* units free ones, in one domain. NULL: no memory. */
struct placement *placement_create(unsigned units);
void placement_destroy(struct placement *p);

/* Adds a level below those there: neighbours with equal keys that are together in the level above
 * form a domain. A level that divides nothing, or into single units, is left out. Before the first
 * placement_take. Returns 0 or PILOT_ENOMEM. */
int placement_add_level(struct placement *p, const unsigned *key);
/* The same for the last level, when units are hardware threads: key is the core of each. */
int placement_add_cores(struct placement *p, const unsigned *key);

unsigned placement_total(const struct placement *p);
unsigned placement_free(const struct placement *p);

/* Takes count units and writes them, ascending, to out. False (and nothing taken): fewer are free.
 */
bool placement_take(struct placement *p, unsigned count, unsigned *out);
/* Gives them back; a unit that is free already is a BUG. */
void placement_give(struct placement *p, const unsigned *units, unsigned count);

#endif
