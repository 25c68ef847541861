/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: MPI, all of it. Point-to-point and non-blocking only, because a collective or a blocking
 * call would wait for the lost; MPI_Finalize only when every peer does the same.
 *
 * Waiting, in the order of nap_us: data announced by a bell is looked for every 50 us; an own send
 * that is not complete wants MPI to be called every 200 us; otherwise the bell will ring, and
 * 100 ms is the safety net. A peer whose bells do not arrive (a firewall) brings the whole
 * transport down to adaptive naps of 1 to 10 ms. */
#include "transport/impl.h"

#include <limits.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "transport/beat.h"
#include "transport/bell.h"
#include "transport/pmix.h"

enum { TAG_FRAME = 1, TAG_CARD = 2 };

#define PROBES 10           /* calls into MPI before we believe that nothing is there */
#define NAP_ANNOUNCED_US 50 /* a bell has announced more than has come */
#define NAP_SENDING_US 200  /* an own send is incomplete */
#define NAP_STALE_US 10000  /* either of them for more than a second: a peer is in trouble */
#define NAP_BELL_US 100000  /* safety net */
#define NAP_MIN_US 1000     /* without bells */
#define NAP_MAX_US 10000
#define BELL_LATE_US 100000 /* a frame whose bell has not come by then counts as a miss */
#define BELL_MISSES 3
#define REFUSAL_TRUSTED_US                                                                         \
    300000 /* a firewall would refuse our first bells, and within that time */
#define REFUSAL_TRUSTED_RINGS 2

struct peer {
    struct sockaddr_in route;
    uint64_t token;
    uint64_t sent, received; /* frames */
    uint64_t announced;      /* frames, by the largest bell */
    int64_t last_us;         /* of the last frame received */
    unsigned misses;         /* bells that did not come */
    int64_t heard_us;        /* of the last bell */
    int64_t first_rung_us;   /* of ours to it; 0: never */
    unsigned rings;          /* of ours to it, before the first refusal */
    bool behind_firewall;    /* refuses bells from the beginning */
    bool refused;            /* nobody is there any more */
    bool has_route;
    bool knock; /* frames were sent since the last bell */
    bool lost;
};

struct out {
    void *frame;
    int peer;
};

/* A frame on its way in: matched, perhaps not here yet. In the order of matching. */
struct in {
    struct in *next;
    MPI_Request request;
    size_t len;
    int peer;
    int tag;
    bool done;
    unsigned char data[];
};

struct mpi {
    struct transport base;
    struct bell bell;
    struct peer *peers;
    MPI_Request *requests; /* of outs, same indexes */
    struct out *outs;
    int *finished;
    int out_count, out_cap;
    struct in *first, **last;
    struct in *current;
    int64_t sending_since_us, announced_since_us, busy_us; /* 0: not; busy: last frame in or out */
    int64_t checked_us;
    struct beat *beat; /* NULL: none */
};

/* ---- What waits for all ranks ---------------------------------------------------------------- */

/* MPI_Init and MPI_Finalize do, and no call of MPI tells that one of them is lost. So the process
 * ends when they take too long. */
static volatile sig_atomic_t status_of_alarm;
static const char *volatile words_of_alarm;

static void on_alarm(int signal_number)
{
    const char *words = words_of_alarm;
    ssize_t written = 0;

    (void)signal_number;
    if (words != NULL)
        written = write(STDERR_FILENO, words, strlen(words));
    (void)written;
    _exit(status_of_alarm);
}

static void bound_begin(unsigned seconds, int status, const char *words)
{
    struct sigaction act = {.sa_handler = on_alarm};
    sigset_t set;

    fflush(NULL);
    status_of_alarm = status;
    words_of_alarm = words;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigaction(SIGALRM, &act, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    alarm(seconds);
}

static void bound_end(void)
{
    alarm(0);
    signal(SIGALRM, SIG_DFL);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static struct mpi *self(struct transport *t)
{
    return (struct mpi *)t;
}

static int push_out(struct mpi *m, int peer, int tag, const void *data, size_t len)
{
    void *copy;
    int rc;

    if (len > INT_MAX)
        return PILOT_EINVAL;
    if (m->out_count == m->out_cap) {
        int cap = m->out_cap ? m->out_cap * 2 : 64;
        MPI_Request *requests = realloc(m->requests, (size_t)cap * sizeof(*requests));
        struct out *outs;
        int *finished;

        if (requests == NULL)
            return PILOT_ENOMEM;
        m->requests = requests;
        outs = realloc(m->outs, (size_t)cap * sizeof(*outs));
        if (outs == NULL)
            return PILOT_ENOMEM;
        m->outs = outs;
        finished = realloc(m->finished, (size_t)cap * sizeof(*finished));
        if (finished == NULL)
            return PILOT_ENOMEM;
        m->finished = finished;
        m->out_cap = cap;
    }
    copy = malloc(len ? len : 1);
    if (copy == NULL)
        return PILOT_ENOMEM;
    memcpy(copy, data, len);
    rc = MPI_Isend(copy, (int)len, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &m->requests[m->out_count]);
    if (rc != MPI_SUCCESS) {
        free(copy);
        return PILOT_ELOST;
    }
    m->outs[m->out_count].frame = copy;
    m->outs[m->out_count].peer = peer;
    m->out_count++;
    return 0;
}

static int mpi_send(struct transport *t, int peer, const void *frame, size_t len)
{
    struct mpi *m = self(t);
    struct peer *p = &m->peers[peer];
    int rc;

    if (p->lost)
        return 0;
    rc = push_out(m, peer, TAG_FRAME, frame, len);
    if (rc == PILOT_ELOST)
        return 0; /* whoever misses its pings will say so */
    if (rc == 0) {
        p->sent++;
        p->knock = true;
        m->busy_us = clock_mono_us();
    }
    return rc;
}

static void reap_sends(struct mpi *m)
{
    int done = 0;

    if (m->out_count == 0)
        return;
    MPI_Testsome(m->out_count, m->requests, &done, m->finished, MPI_STATUSES_IGNORE);
    if (done == MPI_UNDEFINED)
        done = 0;
    for (int i = 0; i < done; i++) {
        free(m->outs[m->finished[i]].frame);
        m->outs[m->finished[i]].frame = NULL;
    }
    if (done > 0) {
        int kept = 0;

        for (int i = 0; i < m->out_count; i++) {
            if (m->outs[i].frame == NULL)
                continue;
            m->outs[kept] = m->outs[i];
            m->requests[kept++] = m->requests[i];
        }
        m->out_count = kept;
        m->sending_since_us = 0;
    }
}

static void mpi_flush(struct transport *t)
{
    struct mpi *m = self(t);

    for (int i = 0; i < m->base.size; i++) {
        struct peer *p = &m->peers[i];

        if (!p->knock || p->lost)
            continue;
        if (p->has_route) {
            if (p->first_rung_us == 0)
                p->first_rung_us = clock_mono_us();
            p->rings++;
            bell_ring(&m->bell, &p->route, p->token, (uint32_t)m->base.rank, p->sent);
            p->knock = false;
        }
    }
    reap_sends(m);
}

static void take_card(struct mpi *m, int peer, const void *data, size_t len)
{
    struct bell_card card;

    if (len != sizeof(card))
        return;
    memcpy(&card, data, sizeof(card));
    card.host[sizeof(card.host) - 1] = '\0';
    m->peers[peer].token = card.token;
    m->peers[peer].has_route = bell_route(&m->bell, &card, &m->peers[peer].route);
    if (m->peers[peer].has_route && m->beat != NULL)
        beat_add(m->beat, peer, &m->peers[peer].route, card.token);
    if (m->base.rank == 0)
        push_out(m, peer, TAG_CARD, &m->bell.card, sizeof(m->bell.card));
}

/* Matches whatever MPI has for us and starts to receive it. */
static bool match_one(struct mpi *m)
{
    MPI_Message message;
    MPI_Status status;
    struct in *in;
    int flag = 0, len = 0;

    if (MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, &message, &status) !=
            MPI_SUCCESS ||
        !flag)
        return false;
    MPI_Get_count(&status, MPI_BYTE, &len);
    in = malloc(sizeof(*in) + (size_t)len);
    if (in == NULL) {
        /* The message cannot be put back. Better to end here than to lose it silently. */
        BUG("out of memory for a message of %d bytes", len);
    }
    in->next = NULL;
    in->len = (size_t)len;
    in->peer = status.MPI_SOURCE;
    in->tag = status.MPI_TAG;
    in->done = false;
    MPI_Imrecv(in->data, len, MPI_BYTE, &message, &in->request);
    *m->last = in;
    m->last = &in->next;
    return true;
}

/* The first frame that is here and has no earlier one of the same peer before it, taken out of the
 * list. The list is short: only frames too long for MPI's eager limit wait in it. */
static struct in *take_arrived(struct mpi *m)
{
    for (struct in **at = &m->first; *at != NULL; at = &(*at)->next) {
        struct in *in = *at;
        bool blocked = false;
        int flag = 0;

        if (!in->done && MPI_Test(&in->request, &flag, MPI_STATUS_IGNORE) == MPI_SUCCESS && flag)
            in->done = true;
        for (struct in *before = m->first; before != in && !blocked; before = before->next)
            blocked = before->peer == in->peer;
        if (!in->done || blocked)
            continue;
        *at = in->next;
        if (*at == NULL)
            m->last = at;
        return in;
    }
    return NULL;
}

static int mpi_recv(struct transport *t, int *peer, const void **frame, size_t *len)
{
    struct mpi *m = self(t);
    struct in *in;

    if (m->beat != NULL)
        beat_turned(m->beat, clock_mono_ms());
    for (;;) {
        free(m->current);
        m->current = NULL;
        for (int probes = 0; (in = take_arrived(m)) == NULL && probes < PROBES; probes++)
            match_one(m);
        if (in == NULL)
            return 0;
        m->current = in;
        if (in->tag == TAG_CARD) {
            take_card(m, in->peer, in->data, in->len);
            continue;
        }
        m->peers[in->peer].received++;
        m->busy_us = clock_mono_us();
        m->peers[in->peer].last_us = m->busy_us;
        m->peers[in->peer].refused = false;
        *peer = in->peer;
        *frame = in->data;
        *len = in->len;
        return 1;
    }
}

static void mpi_drop(struct transport *t, int peer)
{
    struct mpi *m = self(t);

    m->peers[peer].lost = true;
    if (m->beat != NULL)
        beat_remove(m->beat, peer);
}

static void mpi_beat(struct transport *t, int64_t every_ms)
{
    struct mpi *m = self(t);

    if (m->beat != NULL || m->bell.fd < 0)
        return;
    m->beat = beat_create(&m->bell, (uint32_t)m->base.rank, m->base.size, every_ms);
    for (int i = 0; m->beat != NULL && i < m->base.size; i++)
        if (m->peers[i].has_route && !m->peers[i].lost)
            beat_add(m->beat, i, &m->peers[i].route, m->peers[i].token);
}

static struct transport_signs mpi_signs(const struct transport *t, int peer)
{
    const struct peer *p = &((const struct mpi *)t)->peers[peer];

    return (struct transport_signs){.heard_ms = p->heard_us / 1000, .refused = p->refused};
}

static int mpi_fd(const struct transport *t)
{
    return ((const struct mpi *)t)->bell.fd;
}

/* Looks over the peers once in a while: whose bells do not arrive? */
static void check_bells(struct mpi *m, int64_t now_us)
{
    if (now_us - m->checked_us < BELL_LATE_US)
        return;
    m->checked_us = now_us;
    for (int i = 0; i < m->base.size; i++) {
        struct peer *p = &m->peers[i];

        if (p->lost || p->received == 0)
            continue;
        if (p->announced >= p->received) {
            p->misses = 0;
        } else if (now_us - p->last_us > BELL_LATE_US) {
            p->misses++;
            p->announced = p->received;
            if (p->misses == BELL_MISSES)
                log_debug("wake-up datagrams from rank %d do not arrive; using short naps", i);
        }
    }
}

/* The host of a peer says that its port is closed: the process has ended, or a firewall answers so.
 * The latter does it from the first bell on, and is believed nothing. */
static void take_refusal(struct mpi *m, const struct sockaddr_in *from, int64_t now_us)
{
    for (int i = 0; i < m->base.size; i++) {
        struct peer *p = &m->peers[i];

        if (!p->has_route || p->route.sin_port != from->sin_port ||
            p->route.sin_addr.s_addr != from->sin_addr.s_addr)
            continue;
        if (p->rings <= REFUSAL_TRUSTED_RINGS || now_us - p->first_rung_us < REFUSAL_TRUSTED_US)
            p->behind_firewall = true;
        p->refused = !p->behind_firewall;
    }
}

static void mpi_woken(struct transport *t, int64_t now_us)
{
    struct mpi *m = self(t);
    struct sockaddr_in from;
    uint64_t count;
    uint32_t rank;

    while (bell_refused(&m->bell, &from))
        take_refusal(m, &from, now_us);
    while (bell_heard(&m->bell, &rank, &count)) {
        if (rank >= (uint32_t)m->base.size)
            continue;
        m->peers[rank].heard_us = now_us;
        m->peers[rank].refused = false;
        if (count > m->peers[rank].announced)
            m->peers[rank].announced = count;
    }
    check_bells(m, now_us);
}

static bool other_sends_pending(const struct mpi *m)
{
    for (int i = 0; i < m->out_count; i++)
        if (!m->peers[m->outs[i].peer].lost)
            return true;
    return false;
}

/* A short nap for something that should be over in no time, longer once it has lasted a second. */
static int64_t impatient(int64_t *since_us, int64_t now_us, int64_t nap_us)
{
    if (*since_us == 0)
        *since_us = now_us;
    return now_us - *since_us > 1000000 ? NAP_STALE_US : nap_us;
}

static int64_t mpi_nap_us(struct transport *t, int64_t now_us)
{
    struct mpi *m = self(t);
    bool announced = false, trusted = m->bell.fd >= 0;
    int64_t nap = NAP_BELL_US;

    reap_sends(m);
    for (int i = 0; i < m->base.size; i++) {
        const struct peer *p = &m->peers[i];

        if (p->lost || (m->base.rank != 0 && i != 0) || i == m->base.rank)
            continue;
        announced = announced || p->announced > p->received;
        trusted = trusted && p->has_route && p->misses < BELL_MISSES;
    }
    for (const struct in *in = m->first; in != NULL; in = in->next)
        announced = announced || !m->peers[in->peer].lost;
    if (!announced)
        m->announced_since_us = 0;
    if (!other_sends_pending(m))
        m->sending_since_us = 0;
    if (announced)
        return impatient(&m->announced_since_us, now_us, NAP_ANNOUNCED_US);
    if (other_sends_pending(m))
        return impatient(&m->sending_since_us, now_us, NAP_SENDING_US);
    if (!trusted) {
        nap = NAP_MIN_US + (now_us - m->busy_us) / 8;
        if (nap > NAP_MAX_US)
            nap = NAP_MAX_US;
    }
    return nap;
}

static bool mpi_idle(struct transport *t)
{
    reap_sends(self(t));
    return !other_sends_pending(self(t));
}

static void mpi_close(struct transport *t, bool orderly, int status)
{
    struct mpi *m = self(t);

    beat_destroy(m->beat);
    bell_close(&m->bell);
    if (!orderly) {
        fflush(NULL);
        pmix_leave(status);
        return; /* MPI may still use the buffers; the process ends with _exit */
    }
    /* A peer may be lost between its last word and this. */
    bound_begin(TRANSPORT_CLOSE_S, status, NULL);
    while (m->out_count > 0)
        reap_sends(m);
    MPI_Finalize();
    bound_end();
    free(m->current);
    while (m->first != NULL) {
        struct in *in = m->first;

        m->first = in->next;
        free(in);
    }
    free(m->peers);
    free(m->requests);
    free(m->outs);
    free(m->finished);
    free(m);
}

static const struct transport_ops mpi_ops = {
    .send = mpi_send,
    .recv = mpi_recv,
    .flush = mpi_flush,
    .drop = mpi_drop,
    .fd = mpi_fd,
    .nap_us = mpi_nap_us,
    .woken = mpi_woken,
    .idle = mpi_idle,
    .beat = mpi_beat,
    .signs = mpi_signs,
    .close = mpi_close,
};

int transport_mpi_open(struct transport **out, unsigned init_s, struct pilot_error *err)
{
    struct mpi *m = calloc(1, sizeof(*m));
    int flag = 0, provided, rc;

    if (m == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory");
    MPI_Initialized(&flag);
    if (flag) {
        free(m);
        return err_set(err, PILOT_ESTATE,
                       "MPI is initialised already: create the pilot before MPI_Init, it does that "
                       "itself");
    }
    bound_begin(init_s, PILOT_EXIT_PILOT,
                "pilot-mpi: error: MPI_Init does not end: a rank has died in it, or was never "
                "started (a longer --lost-after waits longer)\n");
    rc = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    bound_end();
    if (rc != MPI_SUCCESS) {
        free(m);
        return err_set(err, PILOT_ESYS, "MPI_Init failed; is this the MPI that started the job?");
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    m->base.ops = &mpi_ops;
    MPI_Comm_rank(MPI_COMM_WORLD, &m->base.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &m->base.size);
    m->last = &m->first;
    m->peers = calloc((size_t)m->base.size, sizeof(*m->peers));
    if (m->peers == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for %d ranks", m->base.size);
    bell_open(&m->bell);
    /* Under srun, Open MPI 4.1.4 may leave MPI_Init on one node while rank 0 is still inside, and a
     * message that comes in there ends rank 0 with SIGSEGV (btl/tcp: no handler yet): 2 in 195
     * starts without this wait, 0 in 420 with it. */
    if (m->base.rank != 0)
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    if (m->base.rank != 0)
        push_out(m, 0, TAG_CARD, &m->bell.card, sizeof(m->bell.card));
    *out = &m->base;
    return 0;
}
