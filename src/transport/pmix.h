/* SPDX-License-Identifier: BSD-3-Clause */
/* Leaving a job without MPI_Finalize. */
#ifndef PILOT_TRANSPORT_PMIX_H
#define PILOT_TRANSPORT_PMIX_H

/* Tells the daemon that started this process, if it did that over PMIx, that it leaves on purpose.
 * Nothing of MPI may be called afterwards. Bounded: should the daemon not answer, the process ends
 * with status. */
void pmix_leave(int status);

#endif
