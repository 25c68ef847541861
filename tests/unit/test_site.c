/* SPDX-License-Identifier: BSD-3-Clause */
/* The directory where a node keeps files of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/site.h"

static const char dir[] = "work/.pilot/n1";

static void make(const char *name)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool take(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return unlink(path) == 0;
}

static void what_a_dead_process_was_writing_is_removed(void **state)
{
    struct pilot_error err = {0};
    char dead[64], ours[64];
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    snprintf(dead, sizeof(dead), "cpus-0-1.xml.%d.tmp", (int)pid);
    snprintf(ours, sizeof(ours), "socket.%d.tmp", (int)getpid());
    assert_int_equal(site_make_dir("work", "n1", &err), 0);
    make(dead);
    make(ours);
    make("cpus-0-1.xml");
    make("a.tmp");
    make(".tmp");
    assert_int_equal(site_make_dir("work", "n1", &err), 0);
    assert_false(take(dead));
    assert_true(take(ours));
    assert_true(take("cpus-0-1.xml"));
    assert_true(take("a.tmp"));
    assert_true(take(".tmp"));
}

static int setup(void **state)
{
    static char base[] = "/tmp/test-site.XXXXXX";

    *state = mkdtemp(base);
    return *state == NULL ? -1 : chdir(base);
}

static int teardown(void **state)
{
    if (rmdir(dir) < 0 || rmdir("work/.pilot") < 0 || rmdir("work") < 0 || chdir("/") < 0)
        return -1;
    return rmdir(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_dead_process_was_writing_is_removed, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
