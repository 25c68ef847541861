/* SPDX-License-Identifier: BSD-3-Clause */
/* The in-process transport and the doorbell; the MPI one is tested by running the product. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/clock.h"
#include "transport/beat.h"
#include "transport/bell.h"
#include "transport/transport.h"

static void test_frames_arrive_in_order_and_whole(void **state)
{
    struct transport *a, *b;
    const void *frame;
    size_t len;
    int peer;

    (void)state;
    assert_int_equal(transport_inproc_open(&a, &b, NULL), 0);
    assert_int_equal(transport_recv(b, &peer, &frame, &len), 0);
    for (int i = 0; i < 1000; i++) {
        char text[16] = "";

        snprintf(text, sizeof(text), "frame %d", i);
        assert_int_equal(transport_send(a, 0, text, (size_t)i % 16), 0);
    }
    assert_false(transport_idle(a));
    assert_int_equal(transport_nap_us(b, 0), 0);
    for (int i = 0; i < 1000; i++) {
        char text[16] = "";

        snprintf(text, sizeof(text), "frame %d", i);
        assert_int_equal(transport_recv(b, &peer, &frame, &len), 1);
        assert_int_equal(peer, 0);
        assert_int_equal(len, (size_t)i % 16);
        assert_memory_equal(frame, text, len);
    }
    assert_int_equal(transport_recv(b, &peer, &frame, &len), 0);
    assert_true(transport_idle(a));
    transport_close(a, true, 0);
    assert_int_equal(transport_send(b, 0, "x", 1), 0); /* into the void, not a crash */
    transport_close(b, true, 0);
}

static void test_a_cut_link_swallows_both_ways(void **state)
{
    struct transport *a, *b;
    const void *frame;
    size_t len;
    int peer;

    (void)state;
    assert_int_equal(transport_inproc_open(&a, &b, NULL), 0);
    transport_inproc_cut(a);
    assert_int_equal(transport_send(a, 0, "x", 1), 0);
    assert_int_equal(transport_send(b, 0, "x", 1), 0);
    assert_int_equal(transport_recv(a, &peer, &frame, &len), 0);
    assert_int_equal(transport_recv(b, &peer, &frame, &len), 0);
    transport_close(a, true, 0);
    transport_close(b, true, 0);
}

static int heard_within(const struct bell *b, int ms, uint32_t *rank, uint64_t *count)
{
    struct pollfd fd = {.fd = b->fd, .events = POLLIN};

    poll(&fd, 1, ms);
    return bell_heard(b, rank, count);
}

static void test_bell_wakes_and_ignores_strangers(void **state)
{
    struct bell a, b;
    struct sockaddr_in to;
    uint64_t count = 0;
    uint32_t rank = 0;

    (void)state;
    bell_open(&a);
    bell_open(&b);
    assert_true(a.fd >= 0 && b.fd >= 0);
    assert_true(bell_route(&a, &b.card, &to));
    assert_int_equal(to.sin_addr.s_addr, htonl(INADDR_LOOPBACK)); /* same host */
    bell_ring(&a, &to, b.card.token + 1, 9, 9);                   /* not its token */
    assert_int_equal(sendto(a.fd, "short", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
    bell_ring(&a, &to, b.card.token, 7, 123456789012ull);
    assert_int_equal(heard_within(&b, 2000, &rank, &count), 1);
    assert_int_equal(rank, 7);
    assert_int_equal(count, 123456789012ull);
    assert_int_equal(bell_heard(&b, &rank, &count), 0);
    bell_close(&b);
    assert_int_equal(bell_heard(&b, &rank, &count), 0);
    assert_false(bell_route(&a, &b.card, &to));
    bell_close(&a);
}

static int refused_within(const struct bell *b, int ms, struct sockaddr_in *from)
{
    struct pollfd fd = {.fd = b->fd};

    poll(&fd, 1, ms); /* POLLERR needs no asking */
    return bell_refused(b, from);
}

static void test_a_closed_bell_is_told_and_costs_no_other_one(void **state)
{
    struct bell a, b, c;
    struct sockaddr_in to_b, to_c, from;
    uint64_t count = 0;
    uint32_t rank = 0;

    (void)state;
    bell_open(&a);
    bell_open(&b);
    bell_open(&c);
    assert_true(bell_route(&a, &b.card, &to_b) && bell_route(&a, &c.card, &to_c));
    bell_ring(&a, &to_b, b.card.token, 1, 1);
    assert_int_equal(heard_within(&b, 2000, &rank, &count), 1);
    assert_int_equal(bell_refused(&a, &from), 0);
    bell_close(&b);
    bell_ring(&a, &to_b, 1, 1, 2);
    bell_ring(&a, &to_c, c.card.token, 1, 3);
    assert_int_equal(heard_within(&c, 2000, &rank, &count), 1);
    assert_int_equal(count, 3);
    assert_int_equal(refused_within(&a, 2000, &from), 1);
    assert_int_equal(from.sin_port, to_b.sin_port);
    assert_int_equal(from.sin_addr.s_addr, to_b.sin_addr.s_addr);
    assert_int_equal(bell_refused(&a, &from), 0);
    bell_close(&a);
    bell_close(&c);
}

static void test_a_held_up_loop_is_spoken_for(void **state)
{
    struct bell mine, theirs;
    struct sockaddr_in to;
    struct beat *beat;
    uint64_t count = 1;
    uint32_t rank = 0;

    (void)state;
    bell_open(&mine);
    bell_open(&theirs);
    assert_true(bell_route(&mine, &theirs.card, &to));
    beat = beat_create(&mine, 5, 2, 20);
    assert_non_null(beat);
    beat_turned(beat, clock_mono_ms() + 3600000); /* a loop that turns all the time */
    beat_add(beat, 1, &to, theirs.card.token);
    assert_int_equal(heard_within(&theirs, 200, &rank, &count), 0);
    beat_turned(beat, clock_mono_ms()); /* and has stopped to */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(heard_within(&theirs, 5000, &rank, &count), 1);
        assert_int_equal(rank, 5);
        assert_int_equal(count, BEAT_COUNT);
    }
    beat_turned(beat, clock_mono_ms() - BEAT_STUCK_MS); /* for too long to be called alive */
    beat_add(beat, 1, &to, theirs.card.token);          /* not while it rings, so it sees that */
    while (bell_heard(&theirs, &rank, &count) > 0)
        ;
    assert_int_equal(heard_within(&theirs, 200, &rank, &count), 0);
    beat_turned(beat, clock_mono_ms());
    assert_int_equal(heard_within(&theirs, 5000, &rank, &count), 1);
    beat_remove(beat, 1);
    while (bell_heard(&theirs, &rank, &count) > 0)
        ;
    assert_int_equal(heard_within(&theirs, 200, &rank, &count), 0);
    beat_destroy(beat);
    bell_close(&mine);
    bell_close(&theirs);
}

static void test_bell_prefers_an_address_in_its_own_network(void **state)
{
    struct bell mine = {.fd = 0};
    struct bell_card theirs = {.host = "other", .port = htons(1), .count = 2};
    struct sockaddr_in to;

    (void)state;
    snprintf(mine.card.host, sizeof(mine.card.host), "mine");
    mine.card.count = 1;
    mine.card.address[0].s_addr = inet_addr("10.1.2.3");
    mine.card.mask[0].s_addr = inet_addr("255.255.255.0");
    theirs.address[0].s_addr = inet_addr("192.168.1.1");
    theirs.address[1].s_addr = inet_addr("10.1.2.77");
    assert_true(bell_route(&mine, &theirs, &to));
    assert_int_equal(to.sin_addr.s_addr, inet_addr("10.1.2.77"));
    theirs.address[1].s_addr = inet_addr("10.1.3.77");
    assert_true(bell_route(&mine, &theirs, &to));
    assert_int_equal(to.sin_addr.s_addr, inet_addr("192.168.1.1"));
}

static void test_launched_looks_at_the_environment(void **state)
{
    static const char *const marks[] = {"PMIX_RANK",   "PMI_RANK",
                                        "PMI_FD",      "OMPI_COMM_WORLD_RANK",
                                        "PMI_SIZE",    "SLURM_STEP_NUM_TASKS",
                                        "SLURM_PROCID"};
    struct pilot_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        unsetenv(marks[i]);
    assert_int_equal(transport_launched(&err), 0);
    setenv("SLURM_PROCID", "0", 1);
    setenv("SLURM_STEP_NUM_TASKS", "1", 1);
    assert_int_equal(transport_launched(&err), 0);
    setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    assert_int_equal(transport_launched(&err), PILOT_EINVAL);
    assert_non_null(strstr(err.text, "--mpi=pmix"));
    setenv("PMIX_RANK", "0", 1);
    assert_int_equal(transport_launched(&err), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_arrive_in_order_and_whole),
        cmocka_unit_test(test_a_cut_link_swallows_both_ways),
        cmocka_unit_test(test_bell_wakes_and_ignores_strangers),
        cmocka_unit_test(test_a_closed_bell_is_told_and_costs_no_other_one),
        cmocka_unit_test(test_a_held_up_loop_is_spoken_for),
        cmocka_unit_test(test_bell_prefers_an_address_in_its_own_network),
        cmocka_unit_test(test_launched_looks_at_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
