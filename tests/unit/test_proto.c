/* SPDX-License-Identifier: BSD-3-Clause */
/* Every message there and back, cut at every byte, and mutated; a task there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/msg.h"

/* All there are: fill_all has one of each. */
enum {
#define X(name, number) COUNT_##name,
    MSG_LIST(X)
#undef X
        MESSAGES
};

static char *words[] = {"a", "", "long one with spaces", NULL};

static struct task_spec sample_spec(void)
{
    struct task_spec s;

    task_spec_init(&s);
    s.id = "sweep/T100";
    s.command = "mpirun -np 2 lmp -in in.argon";
    s.cores = 2;
    s.timeout_ms = 1500;
    s.priority = -7;
    s.max_retries = 3;
    s.estimate_ms = 1200;
    s.memory = (int64_t)3 << 30;
    s.env = words;
    s.tags = "{\"T\":100}";
    s.workdir = "/data";
    s.depends_on = words;
    return s;
}

static void fill_all(struct buf *f)
{
    struct msg_hello hello = {"vc1", "1.2.3", "0-3,8", 4, 4711};
    struct msg_welcome welcome = {.role = ROLE_AGENT,
                                  .node = "vc1",
                                  .cpus = "0-3",
                                  .workdir = "/w",
                                  .grace_ms = 5000,
                                  .silence_ms = 30000,
                                  .heartbeat_ms = 1000,
                                  .left_ms = 3600000,
                                  .max_output = 1 << 20,
                                  .output = PILOT_OUTPUT_MERGED,
                                  .use_hyperthreads = true,
                                  .keep_env = true};
    struct msg_ready ready = {4, (int64_t)1 << 33, "4 cores: 0-3", "a warning"};
    struct msg_assign assign = {8, true};
    struct msg_kill kill_msg = {3, 2, REASON_CANCEL, true, true};
    struct msg_back back = {3, 2};
    struct msg_ended ended = {3, 2, "0,1", {REASON_SIGNAL, -1, 9, 1000, 2000, 5, 6, 7, 8, "text"}};
    struct msg_pack pack = {1ULL << 52};
    struct msg_room room = {"no space"};
    struct task_spec spec = sample_spec();
    struct buf packed;

    msg_put_hello(f, &hello);
    msg_put_welcome(f, &welcome);
    msg_put_ready(f, &ready);
    msg_put_assign(f, &assign);
    buf_init(&packed);
    spec_pack(&packed, &spec);
    msg_put_run(f, 3, 2, 7, 5, packed.data, packed.len);
    buf_fini(&packed);
    msg_put_kill(f, &kill_msg);
    ended.result.packed = true;
    ended.result.pack_at = 5ULL << 32 | 8;
    ended.result.stdout_bytes = 1LL << 40;
    ended.result.stderr_bytes = 3;
    msg_put_ended(f, &ended);
    msg_put_empty(f, MSG_PING);
    msg_put_empty(f, MSG_BYE);
    msg_put_empty(f, MSG_GONE);
    msg_put_empty(f, MSG_FINALIZE);
    msg_put_empty(f, MSG_LEAVE);
    msg_put_empty(f, MSG_ASK);
    msg_put_empty(f, MSG_STILL);
    msg_put_text(f, MSG_REQUEST, 7, "{\"op\": \"add\"}");
    msg_put_text(f, MSG_REPLY, 7, "");
    msg_put_empty(f, MSG_PROBE);
    msg_put_room(f, &room);
    msg_put_pack(f, &pack);
    msg_put_back(f, &back);
    assert_true(buf_ok(f));
}

/* Decodes one body whatever it is and encodes it again into out; negative when it does not decode.
 */
static int again(unsigned type, struct rd *body, struct buf *out)
{
    union {
        struct msg_hello hello;
        struct msg_welcome welcome;
        struct msg_ready ready;
        struct msg_assign assign;
        struct msg_kill kill_msg;
        struct msg_ended ended;
        struct msg_room room;
        struct msg_pack pack;
        struct msg_back back;
    } u;
    struct msg_text text;
    struct msg_run run;
    struct buf packed;
    int rc = 0;

    switch (type) {
    case MSG_HELLO:
        if ((rc = msg_get_hello(body, &u.hello)) == 0)
            msg_put_hello(out, &u.hello);
        return rc;
    case MSG_WELCOME:
        if ((rc = msg_get_welcome(body, &u.welcome)) == 0)
            msg_put_welcome(out, &u.welcome);
        return rc;
    case MSG_READY:
        if ((rc = msg_get_ready(body, &u.ready)) == 0)
            msg_put_ready(out, &u.ready);
        return rc;
    case MSG_ASSIGN:
        if ((rc = msg_get_assign(body, &u.assign)) == 0)
            msg_put_assign(out, &u.assign);
        return rc;
    case MSG_RUN:
        if ((rc = msg_get_run(body, &run)) < 0)
            return rc;
        buf_init(&packed);
        spec_pack(&packed, &run.spec);
        msg_put_run(out, run.task, run.attempt, run.after, run.backs, packed.data, packed.len);
        buf_fini(&packed);
        task_spec_fini(&run.spec);
        return 0;
    case MSG_KILL:
        if ((rc = msg_get_kill(body, &u.kill_msg)) == 0)
            msg_put_kill(out, &u.kill_msg);
        return rc;
    case MSG_ENDED:
        if ((rc = msg_get_ended(body, &u.ended)) == 0)
            msg_put_ended(out, &u.ended);
        return rc;
    case MSG_REQUEST:
    case MSG_REPLY:
        if ((rc = msg_get_text(body, &text)) == 0)
            msg_put_text(out, (enum msg_type)type, text.client, text.text);
        free(rc == 0 ? text.text : NULL);
        return rc;
    case MSG_ROOM:
        if ((rc = msg_get_room(body, &u.room)) == 0)
            msg_put_room(out, &u.room);
        return rc;
    case MSG_PACK:
        if ((rc = msg_get_pack(body, &u.pack)) == 0)
            msg_put_pack(out, &u.pack);
        return rc;
    case MSG_BACK:
        if ((rc = msg_get_back(body, &u.back)) == 0)
            msg_put_back(out, &u.back);
        return rc;
    case MSG_PING:
    case MSG_BYE:
    case MSG_GONE:
    case MSG_PROBE:
    case MSG_FINALIZE:
    case MSG_LEAVE:
    case MSG_ASK:
    case MSG_STILL:
        msg_put_empty(out, (enum msg_type)type);
        return rd_left(body) == 0 ? 0 : PILOT_EPROTO;
    default:
        return PILOT_EPROTO;
    }
}

/* Number of messages that decode before the end or the first failure. */
static int decode_all(const void *frame, size_t len, struct buf *out, bool *failed)
{
    struct msg_reader r;
    struct rd body;
    unsigned type;
    int n = 0, rc = msg_open(&r, frame, len, NULL);

    while (rc == 0 && (rc = msg_next(&r, &type, &body)) == 1) {
        rc = again(type, &body, out);
        n += rc == 0;
    }
    *failed = rc < 0;
    return n;
}

static void test_round_trip(void **state)
{
    struct buf frame, out;
    bool failed;

    (void)state;
    buf_init(&frame);
    buf_init(&out);
    fill_all(&frame);
    assert_int_equal(decode_all(frame.data, frame.len, &out, &failed), MESSAGES);
    assert_false(failed);
    assert_int_equal(frame.len, out.len);
    assert_memory_equal(frame.data, out.data, out.len);
    buf_fini(&frame);
    buf_fini(&out);
}

static void test_cut_at_every_byte(void **state)
{
    struct buf frame, out;
    bool failed;

    (void)state;
    buf_init(&frame);
    buf_init(&out);
    fill_all(&frame);
    for (size_t len = 0; len < frame.len; len++) {
        unsigned char *copy = malloc(len + 1); /* exact size, so that ASan sees an overrun */
        int n;

        assert_non_null(copy);
        copy = realloc(copy, len ? len : 1);
        memcpy(copy, frame.data, len);
        buf_clear(&out);
        n = decode_all(copy, len, &out, &failed);
        assert_true(n < MESSAGES);
        /* Whatever decoded is a prefix of the original. */
        assert_memory_equal(frame.data, out.data, out.len);
        free(copy);
    }
    buf_fini(&frame);
    buf_fini(&out);
}

static void test_mutations_never_crash(void **state)
{
    struct buf frame, out;
    bool failed;
    unsigned seed = 20240117;

    (void)state;
    buf_init(&frame);
    buf_init(&out);
    fill_all(&frame);
    print_message("seed %u\n", seed);
    for (int i = 0; i < 20000; i++) {
        size_t at = (size_t)rand_r(&seed) % frame.len;
        unsigned char old = frame.data[at];

        frame.data[at] = (unsigned char)rand_r(&seed);
        buf_clear(&out);
        decode_all(frame.data, frame.len, &out, &failed);
        frame.data[at] = old;
    }
    buf_fini(&frame);
    buf_fini(&out);
}

static void test_refuses_other_versions(void **state)
{
    struct pilot_error err;
    struct msg_reader r;
    struct buf frame;

    (void)state;
    buf_init(&frame);
    msg_put_empty(&frame, MSG_PING);
    frame.data[0] ^= 2;
    assert_int_equal(msg_open(&r, frame.data, frame.len, &err), PILOT_EPROTO);
    assert_non_null(strstr(err.text, "version"));
    frame.data[3] ^= 1;
    assert_int_equal(msg_open(&r, frame.data, frame.len, &err), PILOT_EPROTO);
    assert_non_null(strstr(err.text, "not pilot-mpi's"));
    buf_fini(&frame);
}

/* What is scheduled of a task, with and without dependencies; cut anywhere it is refused, or the
 * cut is behind what was asked for. */
static void test_spec_gives_its_shape(void **state)
{
    struct task_spec spec = sample_spec(), shape;
    char **deps = spec.depends_on;
    struct buf packed;
    struct rd rd;

    (void)state;
    buf_init(&packed);
    for (int i = 0; i < 2; i++) {
        spec.depends_on = i == 0 ? NULL : deps;
        buf_clear(&packed);
        spec_pack(&packed, &spec);
        rd_init(&rd, packed.data, packed.len);
        assert_int_equal(spec_unpack_shape(&rd, &shape), 0);
        assert_int_equal(shape.cores, spec.cores);
        assert_int_equal(shape.timeout_ms, spec.timeout_ms);
        assert_int_equal(shape.estimate_ms, spec.estimate_ms);
        assert_int_equal(shape.memory, spec.memory);
        assert_int_equal(shape.priority, spec.priority);
        assert_int_equal(shape.max_retries, spec.max_retries);
        assert_int_equal(strv_len(shape.depends_on), strv_len(spec.depends_on));
        task_spec_fini(&shape);
        for (size_t len = 0; len < packed.len; len++) {
            rd_init(&rd, packed.data, len);
            if (spec_unpack_shape(&rd, &shape) == 0)
                assert_int_equal(shape.max_retries, spec.max_retries);
            task_spec_fini(&shape);
        }
    }
    buf_fini(&packed);
}

static void test_spec_keeps_every_field(void **state)
{
    struct task_spec spec = sample_spec(), back;
    struct buf packed;
    struct rd rd;

    (void)state;
    buf_init(&packed);
    spec_pack(&packed, &spec);
    rd_init(&rd, packed.data, packed.len);
    assert_int_equal(spec_unpack(&rd, &back), 0);
    assert_true(rd_done(&rd));
    assert_string_equal(back.id, spec.id);
    assert_string_equal(back.command, spec.command);
    assert_null(back.argv);
    assert_null(back.stdin_path);
    assert_int_equal(back.cores, 2);
    assert_int_equal(back.timeout_ms, 1500);
    assert_int_equal(back.estimate_ms, 1200);
    assert_int_equal(back.memory, (int64_t)3 << 30);
    assert_int_equal(back.priority, -7);
    assert_int_equal(back.max_retries, 3);
    assert_string_equal(back.env[2], words[2]);
    assert_string_equal(back.tags, spec.tags);
    assert_string_equal(back.workdir, spec.workdir);
    assert_string_equal(back.depends_on[0], "a");
    task_spec_fini(&back);
    buf_fini(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_mutations_never_crash),
        cmocka_unit_test(test_refuses_other_versions),
        cmocka_unit_test(test_spec_gives_its_shape),
        cmocka_unit_test(test_spec_keeps_every_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
