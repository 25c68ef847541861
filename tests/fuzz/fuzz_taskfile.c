/* SPDX-License-Identifier: BSD-3-Clause */
/* Feeds any bytes to the reader of task files. What must hold, whatever they are: nothing crashes,
 * a refusal has a message of at most 21 printable lines, and what is handed out is a task that
 * comes back from its canonical JSON as the same text.
 *
 * Two ways to use it: built with -fsanitize=fuzzer by clang it is a libFuzzer target; otherwise it
 * has a main that runs over files and over mutations of them:
 *     fuzz_taskfile [-n MUTATIONS] [-s SEED] FILE...
 * The mutations depend on the seed alone, which is printed. */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "input/taskfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take_task(void *arg, const struct task_spec *spec, unsigned line,
                     struct pilot_error *err)
{
    uint64_t *count = arg;
    struct task_spec back;
    char *json = task_spec_to_json(spec);
    char *again;

    BUG_ON(json == NULL || line == 0);
    BUG_ON((spec->command == NULL) == (spec->argv == NULL));
    BUG_ON(spec->id == NULL || spec->id[0] == '\0' || spec->id[0] == '/' || spec->cores == 0);
    if (task_spec_from_json(json, &back, err) < 0)
        BUG("%s\n%s", err->text, json);
    again = task_spec_to_json(&back);
    BUG_ON(again == NULL || strcmp(json, again) != 0);
    free(again);
    free(json);
    task_spec_fini(&back);
    ++*count;
    return 0;
}

static void take_warning(void *arg, const char *text)
{
    (void)arg;
    for (; *text != '\0'; text++)
        BUG_ON((unsigned char)*text < 0x20);
}

static bool known_before(void *arg, const char *id)
{
    (void)arg;
    return id[0] == 'k';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const reserved[] = {"state.db", NULL};
    static const struct taskfile_config config = {.max_cores = 64, .reserved = reserved};
    uint64_t count = 0;
    const struct taskfile_ops ops = {
        .task = take_task, .known = known_before, .warn = take_warning, .arg = &count};
    struct pilot_error err = {0};
    unsigned lines = 1;
    int64_t rc = taskfile_read_text("fuzz", (const char *)data, size, &config, &ops, &err);

    if (rc >= 0) {
        BUG_ON((uint64_t)rc != count);
        return 0;
    }
    BUG_ON(rc != PILOT_EINVAL || err.code != rc || strncmp(err.text, "fuzz:", 5) != 0);
    for (const char *p = err.text; *p != '\0'; p++) {
        lines += *p == '\n';
        BUG_ON((unsigned char)*p < 0x20 && *p != '\n');
    }
    BUG_ON(lines > TASKFILE_ERRORS_SHOWN + 1);
    return 0;
}

#ifndef PILOT_LIBFUZZER
#define TEXT_MAX 65536
#define MUTATIONS 4000

static uint64_t random_state;

static size_t random_below(size_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return n > 0 ? (size_t)(random_state >> 33) % n : 0;
}

/* A copy of its exact size, so that the address sanitizer sees any byte read behind it. */
static void feed(const char *text, size_t len)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);

    BUG_ON(exact == NULL);
    memcpy(exact, text, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

static void replace(char *text, size_t *len, size_t at, size_t cut, const char *by, size_t by_len)
{
    if (*len - cut + by_len > TEXT_MAX)
        return;
    memmove(text + at + by_len, text + at + cut, *len - at - cut);
    memcpy(text + at, by, by_len);
    *len = *len - cut + by_len;
}

/* One small change that keeps most of the structure. */
static void mutate(char *text, size_t *len)
{
    static const char *const pieces[] = {
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "\n",
        "\\",
        "\\u0000",
        "\\ud800",
        "null",
        "true",
        "1e999",
        "-1",
        "0.5",
        "\"id\":",
        "\"depends_on\":[\"a\",\"k\"]",
        "\"tasks\":",
        "\"defaults\":",
        "\"env\":{\"A\":1}",
        "\xff",
        " ",
        "#",
        "\r\n",
        "../",
        "{}",
        "[]",
        "\"\"",
        "99999999999999999999",
    };
    size_t at = random_below(*len + 1);
    size_t left = *len - at;
    const char *piece = pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))];
    char byte = (char)random_below(256);
    char part[64];
    size_t n;

    switch (random_below(6)) {
    case 0: /* cut out a few bytes */
        n = random_below(8) + 1;
        replace(text, len, at, n < left ? n : left, "", 0);
        break;
    case 1: /* change a byte */
        replace(text, len, at, left > 0, &byte, 1);
        break;
    case 2: /* double a part elsewhere */
        n = random_below(sizeof(part));
        n = n < left ? n : left;
        memcpy(part, text + at, n);
        replace(text, len, random_below(*len + 1), 0, part, n);
        break;
    case 3: /* cut off the end */
        if (random_below(4) == 0)
            *len = at;
        break;
    default: /* put in something that means something */
        replace(text, len, at, random_below(2) && left > 0, piece, strlen(piece));
        break;
    }
}

static size_t load(const char *path, char *text)
{
    FILE *f = fopen(path, "rb");
    size_t len;

    if (f == NULL) {
        fprintf(stderr, "fuzz_taskfile: %s: %s\n", path, strerror(errno));
        exit(2);
    }
    len = fread(text, 1, TEXT_MAX, f);
    fclose(f);
    return len;
}

int main(int argc, char **argv)
{
    static char original[TEXT_MAX];
    static char text[TEXT_MAX];
    unsigned long mutations = MUTATIONS;
    unsigned long long seed = 1;
    int opt;

    while ((opt = getopt(argc, argv, "n:s:")) != -1) {
        if (opt == 'n')
            mutations = strtoul(optarg, NULL, 10);
        else if (opt == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (optind == argc) {
        fputs("usage: fuzz_taskfile [-n MUTATIONS] [-s SEED] FILE...\n", stderr);
        return 2;
    }
    printf("seed %llu, %lu mutations of each of %d files\n", seed, mutations, argc - optind);
    random_state = seed;
    for (int i = optind; i < argc; i++) {
        size_t original_len = load(argv[i], original);

        feed(original, original_len);
        for (unsigned long m = 0; m < mutations; m++) {
            size_t len = original_len;

            memcpy(text, original, len);
            for (size_t changes = 1 + random_below(6); changes > 0; changes--)
                mutate(text, &len);
            feed(text, len);
        }
    }
    puts("ok");
    return 0;
}
#endif
