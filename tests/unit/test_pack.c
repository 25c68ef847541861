/* SPDX-License-Identifier: BSD-3-Clause */
/* Packed output: records of random sizes by many writers at once come out as they went in, segments
 * change without a gap, and what is torn, damaged or of somebody else is not taken for output. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pack/read.h"
#include "pack/unpack.h"
#include "pack/write.h"

#define RUN 77
#define WRITERS 8
#define ATTEMPTS 150   /* of each writer */
#define SEGMENT 400000 /* bytes, so that there are many */

static char dir[64];
static struct pack_out out;
static struct pack_reader reader;

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test-pack-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int remove_dir(void **state)
{
    (void)state;
    pack_reader_fini(&reader);
    if (out.segment != 0)
        close(out.fd);
    free(out.buffer);
    memset(&out, 0, sizeof(out));
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- Output that can be made again ------------------------------------------------------------
 */

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Sizes of puts: mostly small, some larger than a record, sometimes none. */
static size_t put_size(uint32_t *seed)
{
    uint32_t kind = next_random(seed) % 40;

    if (kind == 0)
        return next_random(seed) % 200000;
    return kind < 20 ? next_random(seed) % 30 : next_random(seed) % 3000;
}

static void fill(char *data, size_t len, uint32_t *seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)next_random(seed);
}

struct text {
    char data[3 << 20];
    size_t len;
};

/* What attempt n of a writer puts: to out, or only remembered as it is to be read. */
static void play(uint32_t n, struct pack_out *o, struct text text[PACK_STREAMS])
{
    static char data[200000];
    uint32_t seed = n;
    uint32_t puts = next_random(&seed) % 12;

    text[0].len = text[1].len = 0;
    for (uint32_t i = 0; i < puts; i++) {
        enum pack_stream stream = (enum pack_stream)(next_random(&seed) % PACK_STREAMS);
        size_t len = put_size(&seed);

        fill(data, len, &seed);
        if (o != NULL)
            pack_out_put(o, stream, data, len);
        if (o != NULL && next_random(&seed) % 8 == 0)
            pack_out_flush(o);
        else if (o == NULL)
            (void)next_random(&seed);
        assert_true(text[stream].len + len <= sizeof(text[stream].data));
        memcpy(text[stream].data + text[stream].len, data, len);
        text[stream].len += len;
    }
}

static struct text wanted[PACK_STREAMS], got[PACK_STREAMS];

static int collect(void *arg, enum pack_stream stream, const void *data, size_t len)
{
    (void)arg;
    assert_true(got[stream].len + len <= sizeof(got[stream].data));
    memcpy(got[stream].data + got[stream].len, data, len);
    got[stream].len += len;
    return 0;
}

/* Reads the attempt that ends at last into got; false: something is torn. */
static bool read_back(const char *id, uint32_t attempt, uint64_t run, uint64_t last)
{
    struct pack_key key = {.id = id, .attempt = attempt, .run = run};
    struct pack_chain chain = {0};
    bool torn = false;

    got[0].len = got[1].len = 0;
    pack_reader_init(&reader, dir);
    assert_int_equal(pack_chain_read(&reader, &key, 0, last, 0, &chain), 0);
    assert_int_equal(pack_chain_copy(&reader, &chain, 0, 3, collect, NULL, &torn), 0);
    torn = torn || chain.torn;
    pack_chain_fini(&chain);
    pack_reader_fini(&reader);
    return !torn;
}

static void assert_got_wanted(void)
{
    for (int i = 0; i < PACK_STREAMS; i++) {
        assert_int_equal(got[i].len, wanted[i].len);
        assert_memory_equal(got[i].data, wanted[i].data, wanted[i].len);
    }
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void the_checksum_is_crc_32(void **state)
{
    (void)state;
    assert_int_equal(pack_crc(0, "123456789", 9), 0xcbf43926); /* the value that everybody checks */
    assert_int_equal(pack_crc(pack_crc(0, "12345678901", 11), "2345", 4),
                     pack_crc(0, "123456789012345", 15));
}

static void a_header_comes_out_as_it_went_in(void **state)
{
    const struct pack_record r = {.stream = PACK_STDERR,
                                  .attempt = 3,
                                  .prev = pack_position(5, 4096),
                                  .run = 1ULL << 52,
                                  .id_len = 7,
                                  .data_len = PACK_DATA_MAX,
                                  .body_crc = 0xdeadbeef};
    unsigned char bytes[PACK_HEADER_BYTES];
    struct pack_record back;

    (void)state;
    memset(&back, 0, sizeof(back));
    pack_header_encode(bytes, &r);
    assert_true(pack_header_decode(bytes, &back));
    assert_true(back.stream == r.stream && back.attempt == 3 && back.prev == r.prev &&
                back.run == r.run && back.id_len == 7 && back.data_len == PACK_DATA_MAX &&
                back.body_crc == r.body_crc);
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_false(pack_header_decode(bytes, &back));
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

/* One writer: its attempts, and where each ended. */
static void write_many(struct pack_place *place, uint32_t writer, uint64_t *last)
{
    for (uint32_t n = 0; n < ATTEMPTS; n++) {
        char id[64];

        snprintf(id, sizeof(id), "writer%u/task%u", writer, n);
        if (pack_out_begin(&out, place, id, n % 3 + 1) != 0)
            _exit(1);
        play(writer * ATTEMPTS + n, &out, wanted);
        if (pack_out_end(&out) != 0)
            _exit(2);
        last[n] = out.last;
    }
}

static int count_found(void *arg, const struct pack_found *found)
{
    (void)found;
    (*(unsigned *)arg)++;
    return 0;
}

static void many_writers_share_segments(void **state)
{
    struct pack_place *place = pack_place_create(dir, RUN, SEGMENT);
    uint64_t(*last)[ATTEMPTS];
    char path[128];
    FILE *f;
    int status;
    unsigned records = 0;

    (void)state;
    assert_non_null(place);
    for (uint32_t w = 0; w < WRITERS; w++) {
        pid_t pid = fork();

        if (pid == 0) {
            static uint64_t ends[ATTEMPTS];

            write_many(place, w, ends);
            snprintf(path, sizeof(path), "%s/ends%u", dir, w);
            f = fopen(path, "w");
            _exit(f == NULL || fwrite(ends, sizeof(ends), 1, f) != 1 || fclose(f) != 0);
        }
        assert_true(pid > 0);
    }
    for (uint32_t w = 0; w < WRITERS; w++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    last = calloc(WRITERS, sizeof(*last));
    for (uint32_t w = 0; w < WRITERS; w++) {
        snprintf(path, sizeof(path), "%s/ends%u", dir, w);
        f = fopen(path, "r");
        assert_non_null(f);
        assert_int_equal(fread(last[w], sizeof(last[w]), 1, f), 1);
        fclose(f);
        for (uint32_t n = 0; n < ATTEMPTS; n++) {
            char id[64];

            snprintf(id, sizeof(id), "writer%u/task%u", w, n);
            play(w * ATTEMPTS + n, NULL, wanted);
            assert_true(read_back(id, n % 3 + 1, RUN, last[w][n]));
            assert_got_wanted();
            assert_true((last[w][n] == 0) == (wanted[0].len + wanted[1].len == 0));
        }
    }
    free(last);
    /* Nobody's place was another's, and no segment is longer than it may be. */
    assert_true(pack_newest(dir) > 20);
    for (uint32_t n = 1; n <= pack_newest(dir); n++) {
        struct stat st;

        pack_path(path, sizeof(path), dir, n);
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_size > 0 && st.st_size <= SEGMENT);
    }
    pack_reader_init(&reader, dir);
    assert_int_equal(pack_scan(&reader, 0, NULL, count_found, &records), 0);
    assert_true(records > WRITERS * ATTEMPTS);
    pack_place_destroy(place);
}

/* Two processes take places as fast as they can, and mark them. */
static void no_place_is_given_twice(void **state)
{
    struct pack_place *place = pack_place_create(dir, RUN, PACK_SEGMENT_BYTES);
    const size_t each = 2000000;
    atomic_uchar *marks =
        mmap(NULL, 2 * each + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    size_t wrong = 0;
    pid_t pid;
    int status;

    (void)state;
    assert_true(marks != MAP_FAILED);
    pid = fork();
    assert_true(pid >= 0);
    atomic_fetch_add(&marks[2 * each], 1);
    while (atomic_load(&marks[2 * each]) < 2)
        ; /* both are there */
    for (size_t i = 0; i < each; i++) {
        size_t at = pack_offset(pack_place_take(place, PACK_ALIGN)) / PACK_ALIGN;

        wrong += at >= 2 * each || atomic_fetch_add(&marks[at], 1) != 0;
    }
    if (pid == 0)
        _exit(wrong > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(wrong, 0);
    assert_int_equal(status, 0);
    munmap(marks, 2 * each + 1);
    pack_place_destroy(place);
}

/* A state's next pilot begins behind what there is, and out of the way of who may still end. */
static void a_new_place_is_behind_the_old_one(void **state)
{
    struct pack_place *place = pack_place_create(dir, RUN, SEGMENT);

    (void)state;
    assert_int_equal(pack_out_begin(&out, place, "a", 1), 0);
    pack_out_put(&out, PACK_STDOUT, "x", 1);
    assert_int_equal(pack_out_end(&out), 0);
    assert_int_equal(out.last, pack_position(1, 0));
    pack_place_destroy(place);
    place = pack_place_create(dir, RUN, SEGMENT);
    assert_int_equal(pack_out_begin(&out, place, "a", 2), 0);
    assert_int_equal(pack_out_end(&out), 0); /* nothing was put: no file */
    assert_int_equal(pack_newest(dir), 1);
    assert_int_equal(pack_out_begin(&out, place, "a", 3), 0);
    pack_out_put(&out, PACK_STDOUT, "x", 1);
    assert_int_equal(pack_out_end(&out), 0);
    assert_int_equal(pack_segment(out.last), 3);
    pack_place_destroy(place);
}

/* Three attempts one after the other in one segment. */
static void write_three(uint64_t last[3])
{
    static const char *const ids[] = {"a", "torn", "b"};
    struct pack_place *place = pack_place_create(dir, RUN, PACK_SEGMENT_BYTES);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(pack_out_begin(&out, place, ids[i], 1), 0);
        pack_out_put(&out, PACK_STDOUT, "first", 5);
        pack_out_flush(&out);
        pack_out_put(&out, PACK_STDOUT, " second", 7);
        assert_int_equal(pack_out_end(&out), 0);
        last[i] = out.last;
    }
    pack_place_destroy(place);
}

struct ids {
    char text[256];
};

static int note_id(void *arg, const struct pack_found *found)
{
    struct ids *ids = arg;
    size_t at = strlen(ids->text);

    snprintf(ids->text + at, sizeof(ids->text) - at, "%.*s ", (int)found->record.id_len, found->id);
    return 0;
}

static void overwrite(uint64_t at, const void *data, size_t len)
{
    char path[128];
    int fd;

    pack_path(path, sizeof(path), dir, pack_segment(at));
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, pack_offset(at)), (ssize_t)len);
    close(fd);
}

static void what_is_torn_is_said_and_the_rest_is_found(void **state)
{
    static const char zeros[PACK_HEADER_BYTES + 4];
    struct ids ids = {""};
    uint64_t last[3];

    (void)state;
    write_three(last);
    assert_true(read_back("torn", 1, RUN, last[1]));
    assert_int_equal(got[0].len, 12);
    /* Data that is not what was written. */
    overwrite(last[1] + PACK_HEADER_BYTES + 4, "?", 1);
    assert_false(read_back("torn", 1, RUN, last[1]));
    assert_int_equal(got[0].len, 5);
    /* A place that was taken and never filled. */
    overwrite(last[1], zeros, sizeof(zeros));
    assert_false(read_back("torn", 1, RUN, last[1]));
    assert_int_equal(got[0].len, 0);
    assert_true(read_back("b", 1, RUN, last[2]));
    assert_int_equal(got[0].len, 12);
    pack_reader_init(&reader, dir);
    assert_int_equal(pack_scan(&reader, 0, NULL, note_id, &ids), 0);
    assert_string_equal(ids.text, "a a torn b b ");
    /* Of somebody else. */
    assert_false(read_back("a", 1, RUN, last[2]));
    assert_false(read_back("b", 2, RUN, last[2]));
    assert_false(read_back("b", 1, RUN + 1, last[2]));
    assert_int_equal(got[0].len, 0);
}

static void the_end_of_a_file_may_be_missing(void **state)
{
    struct ids ids = {""};
    uint64_t last[3], hole;
    char path[128];
    struct stat st;

    (void)state;
    write_three(last);
    pack_path(path, sizeof(path), dir, 1);
    assert_int_equal(stat(path, &st), 0);
    for (off_t len = st.st_size - 1; len >= 0; len--) {
        bool whole = len >= (off_t)pack_offset(last[2]) + PACK_HEADER_BYTES + 1 + 7;

        assert_int_equal(truncate(path, len), 0);
        assert_int_equal(read_back("b", 1, RUN, last[2]), whole);
        ids.text[0] = '\0';
        pack_reader_init(&reader, dir);
        assert_int_equal(pack_scan(&reader, 0, &hole, note_id, &ids), 0);
        assert_true(pack_offset(hole) % PACK_ALIGN == 0);
    }
}

/* Bytes at random: nothing is read that was not written, and nothing beyond the file. */
static void damage_never_becomes_output(void **state)
{
    uint64_t last[3];
    uint32_t seed = 20240117;
    char path[128];
    unsigned char bytes[1024], other[1024];
    size_t len;
    FILE *f;

    (void)state;
    write_three(last);
    pack_path(path, sizeof(path), dir, 1);
    f = fopen(path, "r");
    assert_non_null(f);
    len = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    for (int i = 0; i < 3000; i++) {
        unsigned records = 0;

        memcpy(other, bytes, len);
        for (uint32_t n = next_random(&seed) % 4 + 1; n > 0; n--)
            other[next_random(&seed) % len] = (unsigned char)next_random(&seed);
        overwrite(pack_position(1, 0), other, len);
        for (int k = 0; k < 3; k++) {
            static const char *const ids[] = {"a", "torn", "b"};
            bool good = read_back(ids[k], 1, RUN, last[k]);

            if (good)
                assert_int_equal(got[0].len, 12);
            assert_memory_equal(got[0].data, got[0].len == 7 ? " second" : "first second",
                                got[0].len);
        }
        pack_reader_init(&reader, dir);
        assert_int_equal(pack_scan(&reader, 0, NULL, count_found, &records), 0);
        assert_true(records <= 6);
    }
}

static void the_tail_is_the_end_of_one_stream(void **state)
{
    struct pack_place *place = pack_place_create(dir, RUN, PACK_SEGMENT_BYTES);
    struct pack_key key = {.id = "a", .attempt = 1};
    char data[100];
    bool cut;

    (void)state;
    assert_int_equal(pack_out_begin(&out, place, "a", 1), 0);
    for (int i = 0; i < 50; i++) {
        pack_out_put(&out, PACK_STDERR, "0123456789", 10);
        pack_out_put(&out, PACK_STDOUT, "noise", 5);
        if (i % 7 == 0)
            pack_out_flush(&out);
    }
    pack_out_put(&out, PACK_STDERR, "end", 3);
    assert_int_equal(pack_out_end(&out), 0);
    pack_reader_init(&reader, dir);
    assert_int_equal(pack_tail(&reader, &key, out.last, PACK_STDERR, data, 15, &cut), 15);
    assert_memory_equal(data, "890123456789end", 15);
    assert_true(cut);
    assert_int_equal(pack_tail(&reader, &key, out.last, PACK_STDOUT, data, 100, &cut), 100);
    assert_memory_equal(data, "noisenoise", 10);
    assert_true(cut);
    pack_place_destroy(place);
}

static void files_are_made_of_it(void **state)
{
    struct pack_key key = {.id = "torn", .attempt = 1, .run = RUN};
    struct pilot_error err;
    uint64_t last[3];
    char root[96], path[128], text[32];
    FILE *f;
    bool torn;

    (void)state;
    write_three(last);
    snprintf(root, sizeof(root), "%s/up", dir);
    pack_reader_init(&reader, dir);
    assert_int_equal(pack_unpack(&reader, &key, last[1], root, 0, &torn, &err), 0);
    assert_false(torn);
    snprintf(path, sizeof(path), "%s/torn/stdout.txt", root);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, sizeof(text), f), 12);
    fclose(f);
    snprintf(path, sizeof(path), "%s/torn/stderr.txt", root);
    assert_int_equal(access(path, F_OK), 0);
    key.id = "nobody";
    assert_int_equal(pack_unpack(&reader, &key, 0, root, 2, &torn, &err), 0);
    snprintf(path, sizeof(path), "%s/nobody/stdout.2.txt", root);
    assert_int_equal(access(path, F_OK), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_crc_32),
        cmocka_unit_test(a_header_comes_out_as_it_went_in),
        TEST(many_writers_share_segments),
        TEST(no_place_is_given_twice),
        TEST(a_new_place_is_behind_the_old_one),
        TEST(what_is_torn_is_said_and_the_rest_is_found),
        TEST(the_end_of_a_file_may_be_missing),
        TEST(damage_never_becomes_output),
        TEST(the_tail_is_the_end_of_one_stream),
        TEST(files_are_made_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
