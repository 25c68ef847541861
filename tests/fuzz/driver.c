/* SPDX-License-Identifier: BSD-3-Clause */
/* The main of a fuzz target where there is no libFuzzer: runs it over the files of its corpus and
 * over mutations of them, so that every compiler can build it and every test run uses it.
 *     fuzz_NAME [-n MUTATIONS] [-s SEED] FILE_OR_DIRECTORY...
 * The mutations depend on the seed alone, which is printed. A directory stands for its files. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"
#include "fuzz.h"

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
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    len = fread(text, 1, TEXT_MAX, f);
    fclose(f);
    return len;
}

/* One file as it is, and mutated. */
static unsigned try_file(const char *path, unsigned long mutations)
{
    static char original[TEXT_MAX];
    static char text[TEXT_MAX];
    size_t original_len = load(path, original);

    feed(original, original_len);
    for (unsigned long m = 0; m < mutations; m++) {
        size_t len = original_len;

        memcpy(text, original, len);
        for (size_t changes = 1 + random_below(6); changes > 0; changes--)
            mutate(text, &len);
        feed(text, len);
    }
    return 1;
}

/* In the order of their names: the seed is all that a run depends on. */
static unsigned try_directory(const char *path, unsigned long mutations)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    unsigned files = 0;
    char file[4096];

    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            files += try_file(file, mutations);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return files;
}

int main(int argc, char **argv)
{
    unsigned long mutations = MUTATIONS;
    unsigned long long seed = 1;
    unsigned files = 0;
    int opt;

    while ((opt = getopt(argc, argv, "n:s:")) != -1) {
        if (opt == 'n')
            mutations = strtoul(optarg, NULL, 10);
        else if (opt == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    printf("seed %llu, %lu mutations of each file\n", seed, mutations);
    random_state = seed;
    for (int i = optind; i < argc; i++) {
        struct stat st;

        files += stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? try_directory(argv[i], mutations)
                                                                : try_file(argv[i], mutations);
    }
    printf("%u files\n", files);
    if (files > 0)
        return 0;
    fprintf(stderr, "usage: %s [-n MUTATIONS] [-s SEED] FILE_OR_DIRECTORY...\n", argv[0]);
    return 2;
}
