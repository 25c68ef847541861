/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames between ranks: a table of operations with two implementations.
 *
 *   mpi     between the ranks of an MPI job (mpi.c, the only user of mpi.h; bell.c wakes sleepers)
 *   inproc  between head and agent in one process; tests can cut it
 *
 * Frames arrive whole, in order for each pair of peers, and once. Nothing here blocks: a frame to
 * or from a peer that is gone just never completes, and who notices is whoever misses its pings.
 * One thread uses a transport. */
#ifndef PILOT_TRANSPORT_TRANSPORT_H
#define PILOT_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pilot.h"

struct transport;

/* Was this process started by an MPI launcher (mpirun, srun with PMI)? Looks at the environment
 * only. PILOT_EINVAL: by srun, with several tasks, but without PMI; err says what to do. */
int transport_launched(struct pilot_error *err);

/* MPI_Init and what belongs to it. PILOT_ESTATE: MPI is initialised already. MPI_Init waits for all
 * ranks: when it takes longer than init_s seconds, one is held for dead, and the process ends, with
 * PILOT_EXIT_PILOT and a word on standard error. */
int transport_mpi_open(struct transport **out, unsigned init_s, struct pilot_error *err);

/* Two ends that see each other as peer 0. */
int transport_inproc_open(struct transport **a, struct transport **b, struct pilot_error *err);
/* For tests: from now on frames in both directions vanish. */
void transport_inproc_cut(struct transport *t);

int transport_rank(const struct transport *t);
int transport_size(const struct transport *t);

/* Copies the frame and starts to send it. Frames to a dropped peer vanish. PILOT_ENOMEM. */
int transport_send(struct transport *t, int peer, const void *frame, size_t len);
/* 1: *frame (valid until the next call) came from *peer. 0: nothing now. */
int transport_recv(struct transport *t, int *peer, const void **frame, size_t *len);
/* Call once a turn after the sends: gets them going and wakes their receivers. */
void transport_flush(struct transport *t);
/* The peer is lost: nothing is sent to it or waited for from it any more. What comes of it all the
 * same is still received. */
void transport_drop(struct transport *t, int peer);

/* From now on a thread says "alive" to the peers when this one has not looked for messages for
 * every_ms. Call it once. Where it cannot be had, only messages are a sign of life. */
void transport_beat(struct transport *t, int64_t every_ms);
/* What is known of a peer besides its messages. */
struct transport_signs {
    int64_t
        heard_ms; /* monotonic: its last bell; 0: none. A message may follow, or it only lives */
    bool refused; /* its host says that nobody is there to hear our bells any more, although
                   * somebody was, and nothing has come since: its process has ended */
};
struct transport_signs transport_signs(const struct transport *t, int peer);

/* How to wait: sleep until fd (-1: none) is readable, at most nap_us (INT64_MAX: as long as you
 * like), then call woken before the next recv. */
int transport_fd(const struct transport *t);
int64_t transport_nap_us(struct transport *t, int64_t now_us);
void transport_woken(struct transport *t, int64_t now_us);

/* Are all frames that were sent out of our hands? */
bool transport_idle(struct transport *t);

/* Frees t. orderly: all peers are closing too (MPI_Finalize); otherwise MPI is left as it is and
 * the caller must leave with _exit, because MPI_Finalize would wait for the lost. Should a peer be
 * lost in that very moment, the process ends with status after TRANSPORT_CLOSE_S seconds. */
#define TRANSPORT_CLOSE_S 20
void transport_close(struct transport *t, bool orderly, int status);

#endif
