/* SPDX-License-Identifier: BSD-3-Clause */
/* Who has a short slice: who asked for it, what that one starts if it is to inherit it, and nobody
 * any more after latency_drop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/latency.h"

static uint64_t slice_ns(void)
{
    struct latency_attr attr = {0};

    assert_int_equal(syscall(SYS_sched_getattr, 0, &attr, (unsigned)sizeof(attr), 0U), 0);
    return attr.runtime_ns;
}

/* Of a child, which drops it first, or not. */
static uint64_t slice_of_child_ns(const struct latency *drop)
{
    int fds[2], status;
    uint64_t ns = 0;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (drop != NULL)
            latency_drop(drop);
        ns = slice_ns();
        _exit(write(fds[1], &ns, sizeof(ns)) != sizeof(ns));
    }
    assert_int_equal(read(fds[0], &ns, sizeof(ns)), sizeof(ns));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(fds[0]);
    close(fds[1]);
    return ns;
}

/* False: the kernel does not know it. */
static bool ask(struct latency *l, bool inherited, uint64_t before_ns)
{
    latency_ask(l, inherited);
    if (slice_ns() != before_ns)
        return true;
    print_message(
        "SKIP: this kernel has no slices to ask for (Linux 6.12 has), or nice is negative\n");
    skip();
    return false;
}

static void what_inherits_it_drops_it(void **state)
{
    uint64_t before_ns = slice_ns(), asked_ns;
    struct latency l;

    (void)state;
    if (!ask(&l, true, before_ns))
        return;
    asked_ns = slice_ns();
    assert_true(asked_ns < before_ns);
    assert_int_equal(slice_of_child_ns(NULL), asked_ns);
    assert_int_equal(slice_of_child_ns(&l), before_ns);
    latency_drop(&l);
    assert_int_equal(slice_ns(), before_ns);
    assert_int_equal(slice_of_child_ns(NULL), before_ns);
}

static void it_is_kept_to_oneself(void **state)
{
    uint64_t before_ns = slice_ns();
    struct latency l;

    (void)state;
    if (!ask(&l, false, before_ns))
        return;
    assert_int_equal(slice_of_child_ns(NULL), before_ns);
    latency_drop(&l);
    assert_int_equal(slice_ns(), before_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_inherits_it_drops_it),
        cmocka_unit_test(it_is_kept_to_oneself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
