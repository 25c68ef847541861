/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the UDP socket of the doorbell. Must not know MPI. IPv4 only: where there is none, waiting
 * falls back to short naps (mpi.c). */
#include "transport/bell.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

struct ring {
    uint64_t token;
    uint64_t count;
    uint32_t rank;
    uint32_t pad;
};

static void list_addresses(struct bell_card *card)
{
    struct ifaddrs *all, *i;

    if (getifaddrs(&all) < 0)
        return;
    for (i = all; i != NULL && card->count < BELL_ADDRESSES; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET || i->ifa_netmask == NULL ||
            (i->ifa_flags & IFF_LOOPBACK) || !(i->ifa_flags & IFF_UP))
            continue;
        card->address[card->count] = ((struct sockaddr_in *)i->ifa_addr)->sin_addr;
        card->mask[card->count] = ((struct sockaddr_in *)i->ifa_netmask)->sin_addr;
        card->count++;
    }
    freeifaddrs(all);
}

void bell_open(struct bell *b)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof(addr);

    memset(b, 0, sizeof(*b));
    gethostname(b->card.host, sizeof(b->card.host) - 1);
    b->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (b->fd < 0)
        return;
    if (getrandom(&b->card.token, sizeof(b->card.token), 0) != sizeof(b->card.token) ||
        bind(b->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        getsockname(b->fd, (struct sockaddr *)&addr, &len) < 0) {
        bell_close(b);
        return;
    }
    setsockopt(b->fd, IPPROTO_IP, IP_RECVERR, &(int){1}, sizeof(int)); /* else: silence decides */
    b->card.port = addr.sin_port;
    list_addresses(&b->card);
}

void bell_close(struct bell *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    b->card.port = 0;
}

static bool same_network(const struct bell_card *mine, struct in_addr theirs)
{
    for (unsigned i = 0; i < mine->count; i++)
        if (((mine->address[i].s_addr ^ theirs.s_addr) & mine->mask[i].s_addr) == 0)
            return true;
    return false;
}

bool bell_route(const struct bell *b, const struct bell_card *theirs, struct sockaddr_in *to)
{
    unsigned count = theirs->count < BELL_ADDRESSES ? theirs->count : BELL_ADDRESSES;
    unsigned best = 0;

    memset(to, 0, sizeof(*to));
    to->sin_family = AF_INET;
    to->sin_port = theirs->port;
    if (b->fd < 0 || theirs->port == 0)
        return false;
    if (strncmp(theirs->host, b->card.host, sizeof(theirs->host)) == 0) {
        to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return true;
    }
    while (best < count && !same_network(&b->card, theirs->address[best]))
        best++;
    if (count == 0)
        return false;
    to->sin_addr = theirs->address[best < count ? best : 0];
    return true;
}

void bell_ring(const struct bell *b, const struct sockaddr_in *to, uint64_t token, uint32_t rank,
               uint64_t count)
{
    struct ring ring = {.token = token, .count = count, .rank = rank};

    /* The first call may only report what became of an earlier bell to somebody else. A full or
     * refused socket is a lost bell: the receiver's bounded sleep covers it. */
    for (int i = 0; i < 2; i++)
        if (sendto(b->fd, &ring, sizeof(ring), MSG_DONTWAIT | MSG_NOSIGNAL,
                   (const struct sockaddr *)to, sizeof(*to)) >= 0)
            return;
}

int bell_refused(const struct bell *b, struct sockaddr_in *to)
{
    union {
        struct cmsghdr align;
        char space[512];
    } control;
    struct msghdr msg;

    for (;;) {
        msg = (struct msghdr){.msg_name = to,
                              .msg_namelen = sizeof(*to),
                              .msg_control = control.space,
                              .msg_controllen = sizeof(control.space)};
        if (b->fd < 0 || recvmsg(b->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
            struct sock_extended_err e;

            if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_RECVERR)
                continue;
            memcpy(&e, CMSG_DATA(c), sizeof(e));
            if (e.ee_errno == ECONNREFUSED)
                return 1;
        }
    }
}

int bell_heard(const struct bell *b, uint32_t *rank, uint64_t *count)
{
    struct ring ring;
    int errors = 0;

    while (b->fd >= 0) {
        ssize_t len = recv(b->fd, &ring, sizeof(ring), MSG_DONTWAIT);

        /* What became of an earlier bell (see bell_refused) shows as an error here, once each. */
        if (len < 0 && (errno == EAGAIN || ++errors > 16))
            return 0;
        if (len != sizeof(ring) || ring.token != b->card.token)
            continue;
        *rank = ring.rank;
        *count = ring.count;
        return 1;
    }
    return 0;
}
