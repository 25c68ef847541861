/* SPDX-License-Identifier: BSD-3-Clause */
/* Where commands without '/' are found, and for how long that is remembered. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/found.h"

struct fixture {
    char dir[64];
    char path[256];      /* one:two below dir */
    struct found *found; /* shared with children, as in a slot */
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char sub[80];

    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "/tmp/test_found.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(sub, sizeof(sub), "%s/one", f->dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    snprintf(sub, sizeof(sub), "%s/two", f->dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    snprintf(f->path, sizeof(f->path), "%s/one:%s/two", f->dir, f->dir);
    f->found =
        mmap(NULL, sizeof(*f->found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(f->found != MAP_FAILED);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    munmap(f->found, sizeof(*f->found));
    free(f);
    return 0;
}

/* A program that exits so. */
static void put(const struct fixture *f, const char *sub, const char *name, int status)
{
    char file[128];
    FILE *out;

    snprintf(file, sizeof(file), "%s/%s/%s", f->dir, sub, name);
    out = fopen(file, "w");
    assert_non_null(out);
    fprintf(out, "#!/bin/sh\nexit %d\n", status);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(chmod(file, 0700), 0);
}

static void take(const struct fixture *f, const char *sub, const char *name)
{
    char file[128];

    snprintf(file, sizeof(file), "%s/%s/%s", f->dir, sub, name);
    assert_int_equal(unlink(file), 0);
}

/* The exit status of the program; 100 + errno when it could not be executed. */
static int run_in(struct fixture *f, const char *name, const char *path, int64_t now_ms,
                  const char *cwd)
{
    char *argv[] = {(char *)name, NULL};
    char *env[] = {NULL};
    int status;
    pid_t pid;

    found_expect(f->found, name, path, now_ms);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (cwd != NULL && chdir(cwd) < 0)
            _exit(99); /* as when a task's directory is gone: before its search */
        _exit(100 + found_exec(f->found, path, argv, env));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run(struct fixture *f, const char *name, int64_t now_ms)
{
    return run_in(f, name, f->path, now_ms, NULL);
}

static void a_place_is_kept_for_a_second(void **state)
{
    struct fixture *f = *state;

    put(f, "two", "tool", 2);
    assert_int_equal(run(f, "tool", 5000), 2);
    put(f, "one", "tool", 1);
    assert_int_equal(run(f, "tool", 5999), 2);
    assert_int_equal(run(f, "tool", 6000), 1);
}

static void what_has_gone_is_looked_for(void **state)
{
    struct fixture *f = *state;

    put(f, "two", "tool", 2);
    assert_int_equal(run(f, "tool", 5000), 2);
    take(f, "two", "tool");
    assert_int_equal(run(f, "tool", 5001), 100 + ENOENT);
    put(f, "one", "tool", 1);
    assert_int_equal(run(f, "tool", 5002), 1);
}

static void another_name_or_path_is_another_place(void **state)
{
    struct fixture *f = *state;
    char turned[256];

    put(f, "two", "tool", 2);
    put(f, "two", "other", 3);
    assert_int_equal(run(f, "tool", 5000), 2);
    assert_int_equal(run(f, "other", 5000), 3);
    assert_int_equal(run(f, "tool", 5000), 2);
    put(f, "one", "tool", 1);
    snprintf(turned, sizeof(turned), "%s/one", f->dir);
    assert_int_equal(run_in(f, "tool", turned, 5001, NULL), 1);
    assert_int_equal(run_in(f, "other", turned, 5001, NULL), 100 + ENOENT);
}

/* One that never came to its search must not leave the place of the one before it. */
static void who_never_searched_found_nothing(void **state)
{
    struct fixture *f = *state;

    put(f, "two", "tool", 2);
    put(f, "two", "other", 3);
    assert_int_equal(run(f, "tool", 5000), 2);
    assert_int_equal(run_in(f, "other", f->path, 5000, "/nowhere"), 99);
    assert_int_equal(run(f, "other", 5000), 3);
}

static void relative_directories_are_not_kept(void **state)
{
    struct fixture *f = *state;
    const char *paths[] = {".:%s/two", ":%s/two", "%s/two:", "one:%s/two"};

    put(f, "two", "tool", 2);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char path[256];

        snprintf(path, sizeof(path), paths[i], f->dir); /* NOLINT: formats of ours */
        assert_int_equal(run_in(f, "tool", path, 5000, f->dir), 2);
        assert_int_equal(f->found->until_ms, 0);
    }
}

static void what_is_too_long_is_only_not_kept(void **state)
{
    struct fixture *f = *state;
    char name[101], *path = malloc(6000);

    assert_non_null(path);
    memset(name, 'n', 100);
    name[100] = '\0';
    put(f, "two", name, 4);
    assert_int_equal(run(f, name, 5000), 4);
    assert_int_equal(f->found->until_ms, 0);
    put(f, "two", "tool", 2);
    path[0] = '/';
    memset(path + 1, 'd', 5000);
    snprintf(path + 5001, 999, ":%s", f->path);
    assert_int_equal(run_in(f, "tool", path, 5000, NULL), 2);
    assert_int_equal(f->found->until_ms, 0);
    free(path);
}

static void errors_are_those_of_execvp(void **state)
{
    struct fixture *f = *state;
    char file[128];

    put(f, "one", "tool", 1);
    snprintf(file, sizeof(file), "%s/one/tool", f->dir);
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(run(f, "tool", 5000), 100 + EACCES);
    put(f, "two", "tool", 2);
    assert_int_equal(run(f, "tool", 5000), 2);
    assert_int_equal(run(f, "", 5000), 100 + ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_place_is_kept_for_a_second, setup, teardown),
        cmocka_unit_test_setup_teardown(what_has_gone_is_looked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(another_name_or_path_is_another_place, setup, teardown),
        cmocka_unit_test_setup_teardown(who_never_searched_found_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(relative_directories_are_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_too_long_is_only_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_are_those_of_execvp, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
