/* SPDX-License-Identifier: BSD-3-Clause */
/* Packed output as files. */
#ifndef PILOT_PACK_UNPACK_H
#define PILOT_PACK_UNPACK_H

#include "pack/read.h"

/* Makes ROOT/ID and in it stdout.txt and stderr.txt (stdout.N.txt and stderr.N.txt when number is
 * N, not 0), with what the chain that ends at `last` has; both are made, empty or not. *torn: not
 * all could be read. Errors: PILOT_EIO, PILOT_ENOMEM. */
int pack_unpack(struct pack_reader *r, const struct pack_key *key, uint64_t last, const char *root,
                unsigned number, bool *torn, struct pilot_error *err);

/* Makes ROOT and every directory of ID below it. */
int pack_make_dirs(const char *root, const char *id, struct pilot_error *err);

#endif
