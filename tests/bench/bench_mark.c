/* SPDX-License-Identifier: BSD-3-Clause */
/* A task that says when it ran: bench_mark FILE SPIN_US NUMBER spins so long and appends a record
 * of 32 bytes to FILE. The first thing that it does is to look at the clock, and the last before it
 * leaves, but for the write.
 *
 * On x86-64 it is linked without libc and static: it starts in a fifth of the time of other
 * programs, so that what lies between two tasks is the launcher's, not the dynamic linker's. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

struct record {
    int64_t start_ns, end_ns; /* CLOCK_MONOTONIC */
    uint32_t number, cpu;     /* the CPU on which it ended */
    char node[8];             /* the beginning of the host's name */
};
_Static_assert(sizeof(struct record) == 32, "rows/marks.py reads it");

#if defined(__x86_64__) && defined(BENCH_NOLIBC)
static long call(long number, long a, long b, long c)
{
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}
#define OPEN(file) call(SYS_open, (long)(file), O_WRONLY | O_CREAT | O_APPEND, 0644)
#else
#include <unistd.h>
#define call syscall
#define OPEN(file) open(file, O_WRONLY | O_CREAT | O_APPEND, 0644)
#endif

static int64_t now_ns(void)
{
    struct timespec ts;

    (void)call(SYS_clock_gettime, (long)CLOCK_MONOTONIC, (long)&ts, 0L);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t number_of(const char *text)
{
    int64_t n = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        n = 10 * n + (*text - '0');
    return n;
}

static int mark(int argc, char **argv)
{
    struct record r = {.start_ns = now_ns()};
    struct utsname name;
    int64_t until_ns;
    long fd;

    if (argc != 4)
        return 2;
    until_ns = r.start_ns + 1000 * number_of(argv[2]);
    r.number = (uint32_t)number_of(argv[3]);
    fd = OPEN(argv[1]);
    if (fd < 0 || call(SYS_uname, (long)&name, 0L, 0L) < 0)
        return 1;
    for (unsigned i = 0; i < sizeof(r.node) && name.nodename[i] != '\0'; i++)
        r.node[i] = name.nodename[i];
    do {
        r.end_ns = now_ns();
    } while (r.end_ns < until_ns);
    (void)call(SYS_getcpu, (long)&r.cpu, 0L, 0L);
    return call(SYS_write, fd, (long)&r, (long)sizeof(r)) == (long)sizeof(r) ? 0 : 1;
}

#if defined(__x86_64__) && defined(BENCH_NOLIBC)
/* The stack begins with the number of arguments and the arguments. */
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n\thlt\n");
__attribute__((noreturn, used)) void begin(long *stack);
void begin(long *stack)
{
    long status = mark((int)stack[0], (char **)(stack + 1));

    for (;;)
        (void)call(SYS_exit_group, status, 0, 0);
}
#else
int main(int argc, char **argv)
{
    return mark(argc, argv);
}
#endif
