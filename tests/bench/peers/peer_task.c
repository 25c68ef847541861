/* SPDX-License-Identifier: BSD-3-Clause */
/* The task of the comparison with other tools: the same small program under all of them.
 *
 *     peer_task spin US           uses US microseconds of CPU time
 *     peer_task mark FILE ID [US] uses them (default none), then appends a line with ID to FILE
 *     peer_task out BYTES         writes so many bytes, lines of 64, to its standard output
 *
 * Further words are ignored, since some tools append one. A mark is one write of a few bytes with
 * O_APPEND, so what is in FILE was done, in that order, whatever is killed afterwards. CPU time
 * counts from main() on: loading the program is the price of a task, not its work. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long cpu_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void spin(long us)
{
    long end = cpu_us() + us;

    while (us > 0 && cpu_us() < end)
        ;
}

static int mark(const char *file, const char *id)
{
    char line[64];
    int len = snprintf(line, sizeof(line), "%s\n", id);
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

    if (fd < 0 || len < 0 || len >= (int)sizeof(line) || write(fd, line, (size_t)len) != len) {
        perror(file);
        return 1;
    }
    return 0;
}

static int fill(long bytes)
{
    static char buf[65536];
    size_t left = bytes > 0 ? (size_t)bytes : 0;

    memset(buf, 'x', sizeof(buf));
    for (size_t i = 63; i < sizeof(buf); i += 64)
        buf[i] = '\n';
    while (left > 0) {
        ssize_t put = write(STDOUT_FILENO, buf, left < sizeof(buf) ? left : sizeof(buf));

        if (put < 0) {
            perror("peer_task: standard output");
            return 1;
        }
        left -= (size_t)put;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "spin") == 0) {
        spin(strtol(argv[2], NULL, 10));
        return 0;
    }
    if (argc >= 4 && strcmp(argv[1], "mark") == 0) {
        spin(argc > 4 ? strtol(argv[4], NULL, 10) : 0);
        return mark(argv[2], argv[3]);
    }
    if (argc >= 3 && strcmp(argv[1], "out") == 0)
        return fill(strtol(argv[2], NULL, 10));
    fputs("usage: peer_task spin US | mark FILE ID [US] | out BYTES\n", stderr);
    return 2;
}
