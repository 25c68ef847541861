/* SPDX-License-Identifier: BSD-3-Clause */
/* The doorbell: Open MPI has no descriptor to sleep on, so MPI carries the data and one small
 * datagram wakes the receiver out of its poll. A bell carries how many frames its sender has sent
 * so far, because it can overtake the data; it carries nothing else, and a wrong one costs a few
 * microseconds of looking. A lost bell costs time, never correctness. */
#ifndef PILOT_TRANSPORT_BELL_H
#define PILOT_TRANSPORT_BELL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define BELL_ADDRESSES 8

/* Where a rank's bell hangs; travels by MPI at the start. */
struct bell_card {
    char host[256];
    uint64_t token; /* bells without it are ignored */
    uint16_t port;  /* network byte order; 0: no bell */
    uint16_t count; /* of addresses */
    struct in_addr address[BELL_ADDRESSES];
    struct in_addr mask[BELL_ADDRESSES];
};

struct bell {
    int fd;
    struct bell_card card; /* mine */
};

/* Opens the socket; fd is -1 and card.port 0 when that fails. */
void bell_open(struct bell *b);
void bell_close(struct bell *b);

/* The address under which mine can best ring theirs: loopback on the same host, else one in a
 * network of mine, else their first. False: there is none. */
bool bell_route(const struct bell *b, const struct bell_card *theirs, struct sockaddr_in *to);

/* Rings without waiting. */
void bell_ring(const struct bell *b, const struct sockaddr_in *to, uint64_t token, uint32_t rank,
               uint64_t count);
/* 1: the host of *to has answered a bell with "nobody listens there" (ICMP). 0: no such answer is
 * waiting. They make the descriptor readable (POLLERR), so fetch all. */
int bell_refused(const struct bell *b, struct sockaddr_in *to);
/* 1: *rank has sent *count frames to me. 0: no bell is waiting. */
int bell_heard(const struct bell *b, uint32_t *rank, uint64_t *count);

#endif
