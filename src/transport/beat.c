/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the thread of beat.h. Must not touch MPI, which only the loop's thread may call. */
#include "transport/beat.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"

struct ear {
    struct sockaddr_in route;
    uint64_t token;
    bool there;
};

struct beat {
    const struct bell *bell;
    uint32_t rank;
    int64_t every_ms;
    atomic_int_fast64_t turned_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    bool ending;
    int ear_count;
    struct ear ears[];
};

static void ring_all(const struct beat *b)
{
    for (int i = 0; i < b->ear_count; i++)
        if (b->ears[i].there)
            bell_ring(b->bell, &b->ears[i].route, b->ears[i].token, b->rank, BEAT_COUNT);
}

/* False: the thread has to end. */
static bool sleep_ms(struct beat *b, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!b->ending && pthread_cond_timedwait(&b->wake, &b->lock, &until) == 0)
        ;
    return !b->ending;
}

static void *run(void *arg)
{
    struct beat *b = arg;

    pthread_mutex_lock(&b->lock);
    while (sleep_ms(b, b->every_ms)) {
        int64_t late_ms = clock_mono_ms() - atomic_load(&b->turned_ms);

        if (late_ms >= b->every_ms && late_ms < BEAT_STUCK_MS)
            ring_all(b);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static int start_thread(struct beat *b)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the loop's */
    rc = pthread_create(&b->thread, NULL, run, b);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

struct beat *beat_create(const struct bell *bell, uint32_t my_rank, int peer_count,
                         int64_t every_ms)
{
    struct beat *b = calloc(1, sizeof(*b) + (size_t)peer_count * sizeof(b->ears[0]));
    pthread_condattr_t attr;

    if (b == NULL)
        return NULL;
    b->bell = bell;
    b->rank = my_rank;
    b->every_ms = every_ms > 0 ? every_ms : 1;
    b->ear_count = peer_count;
    atomic_init(&b->turned_ms, clock_mono_ms());
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&b->lock, NULL);
    if (start_thread(b) != 0) {
        pthread_cond_destroy(&b->wake);
        pthread_mutex_destroy(&b->lock);
        free(b);
        return NULL;
    }
    return b;
}

void beat_destroy(struct beat *b)
{
    if (b == NULL)
        return;
    pthread_mutex_lock(&b->lock);
    b->ending = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void beat_add(struct beat *b, int peer, const struct sockaddr_in *route, uint64_t token)
{
    pthread_mutex_lock(&b->lock);
    b->ears[peer] = (struct ear){.route = *route, .token = token, .there = true};
    pthread_mutex_unlock(&b->lock);
}

void beat_remove(struct beat *b, int peer)
{
    pthread_mutex_lock(&b->lock);
    b->ears[peer].there = false;
    pthread_mutex_unlock(&b->lock);
}

void beat_turned(struct beat *b, int64_t now_ms)
{
    atomic_store(&b->turned_ms, now_ms);
}
