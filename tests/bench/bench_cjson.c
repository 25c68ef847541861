/* SPDX-License-Identifier: BSD-3-Clause */
/* The yardstick for reading task files: bench_cjson FILE [--lines] has the bytes in memory and
 * parses them with cJSON, as one value or as one value a line. Prints "SECONDS seconds ...". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/clock.h"

static char *read_all(const char *name, size_t *len)
{
    FILE *f = fopen(name, "rb");
    char *text = NULL;
    long size;

    if (f == NULL)
        return NULL;
    if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0 &&
        (text = malloc((size_t)size + 1)) != NULL) {
        rewind(f);
        *len = fread(text, 1, (size_t)size, f);
        text[*len] = '\0';
        if (*len != (size_t)size) {
            free(text);
            text = NULL;
        }
    }
    fclose(f);
    return text;
}

/* Number of tasks; -1: not JSON. Freeing is part of the work, as it is for everybody who reads. */
static long parse(const char *text, size_t len, int lines)
{
    long tasks = 0;
    cJSON *all;

    if (!lines) {
        all = cJSON_ParseWithLength(text, len);
        tasks = cJSON_IsArray(all) ? cJSON_GetArraySize(all) : -1;
        cJSON_Delete(all);
        return tasks;
    }
    for (const char *end, *p = text; *p != '\0'; p = end + 1) {
        end = strchr(p, '\n');
        if (end == NULL || (all = cJSON_ParseWithLength(p, (size_t)(end - p))) == NULL)
            return -1;
        cJSON_Delete(all);
        tasks++;
    }
    return tasks;
}

int main(int argc, char **argv)
{
    int lines = argc == 3 && strcmp(argv[2], "--lines") == 0;
    size_t len = 0;
    int64_t start_us;
    char *text;
    long tasks;

    if (argc != 2 && !lines) {
        fputs("usage: bench_cjson FILE [--lines]\n", stderr);
        return 2;
    }
    text = read_all(argv[1], &len);
    if (text == NULL) {
        fprintf(stderr, "bench_cjson: cannot read '%s'\n", argv[1]);
        return 1;
    }
    start_us = clock_mono_us();
    tasks = parse(text, len, lines);
    start_us = clock_mono_us() - start_us;
    free(text);
    if (tasks < 0) {
        fprintf(stderr, "bench_cjson: '%s' is not JSON\n", argv[1]);
        return 1;
    }
    printf("%.6f seconds (%ld tasks, %zu bytes)\n", (double)start_us / 1e6, tasks, len);
    return 0;
}
