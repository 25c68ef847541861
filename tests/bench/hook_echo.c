/* SPDX-License-Identifier: BSD-3-Clause */
/* A hook that is as fast as a hook can be: answers each event with N new tasks until TOTAL were
 * made, and says how fast that went.
 *
 *     pilot-mpi-null --on-complete "hook_echo N TOTAL RESULT" tasks.json
 *
 * At the end, the file RESULT has "FOLLOW-UPS SECONDS": from the first event to the last. The tasks
 * are named f1, f2, ... That is right here, where nothing is killed; a hook that is to be resumed
 * must make its ids from what it is told. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* What follows "NAME": in the line, spaces skipped; NULL: nothing. */
static const char *member(const char *line, const char *name)
{
    const char *at = strstr(line, name);

    return at == NULL ? NULL : at + strlen(name) + strspn(at + strlen(name), " ");
}

static bool is_event(const char *line, const char *name)
{
    const char *event = member(line, "\"event\":");

    return event != NULL && strncmp(event, name, strlen(name)) == 0;
}

/* Number of tasks made, now that this event is answered. */
static long answer(const char *line, long each, long made, long total)
{
    const char *seq = member(line, "\"seq\":");
    long until = made + each < total ? made + each : total;

    if (seq == NULL) {
        fprintf(stderr, "hook_echo: an event without seq: %s\n", line);
        exit(1);
    }
    printf("{\"ack\":%ld,\"tasks\":[", strtol(seq, NULL, 10));
    for (long i = made + 1; i <= until; i++)
        printf("%s{\"id\":\"f%ld\",\"command\":\"true\"}", i > made + 1 ? "," : "", i);
    puts("]}");
    return until;
}

/* Reads as much as there is, so that answers are written once a batch: when the next read would
 * wait. */
static ssize_t fill(char *buf, size_t len, size_t size)
{
    fflush(stdout);
    return read(STDIN_FILENO, buf + len, size - len - 1);
}

int main(int argc, char **argv)
{
    static char buf[1 << 20], out[1 << 20];
    long each = argc == 4 ? strtol(argv[1], NULL, 10) : 0;
    long total = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    long made = 0;
    double first_s = 0, last_s = 0;
    size_t len = 0;
    ssize_t got;
    FILE *result;

    if (each < 1 || total < 1) {
        fputs("usage: hook_echo N TOTAL RESULT\n", stderr);
        return 2;
    }
    setvbuf(stdout, out, _IOFBF, sizeof(out));
    while (len < sizeof(buf) - 1 && (got = fill(buf, len, sizeof(buf))) > 0) {
        char *line = buf, *end;

        len += (size_t)got;
        buf[len] = '\0';
        for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            if (is_event(line, "\"error\""))
                fprintf(stderr, "hook_echo: %s\n", line);
            if (!is_event(line, "\"ended\""))
                continue;
            last_s = now_s();
            if (first_s == 0)
                first_s = last_s;
            made = answer(line, each, made, total);
        }
        len -= (size_t)(line - buf);
        memmove(buf, line, len);
    }
    result = fopen(argv[3], "w");
    if (result == NULL || fprintf(result, "%ld %.3f\n", made, last_s - first_s) < 0 ||
        fclose(result) != 0) {
        perror(argv[3]);
        return 1;
    }
    return 0;
}
