/* SPDX-License-Identifier: BSD-3-Clause */
/* The directory for what MPI programs leave: when it is there, when it goes, whose is not touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/scratch.h"

struct fixture {
    char node[64];
    struct scratch *s;
};

static struct scratch *create(const struct fixture *f)
{
    struct pilot_error err = {0};
    struct scratch *s = NULL;

    if (scratch_create(&s, f->node, &err) != 0)
        fail_msg("%s", err.text);
    return s;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->node, "/tmp/test-scratch.XXXXXX");
    if (mkdtemp(f->node) == NULL)
        return -1;
    f->s = create(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    scratch_destroy(f->s);
    assert_int_equal(rmdir(f->node), 0); /* no note is left */
    free(f);
    return 0;
}

/* The directory above those of the attempts. */
static void top(const struct scratch *s, char *path, size_t size)
{
    assert_non_null(scratch_path(s, 0, path, size));
    *strrchr(path, '/') = '\0';
}

/* As mpirun does: the directory, one below it, and a file in each. */
static void use(const struct scratch *s, uint64_t key)
{
    char path[300], below[320];

    scratch_path(s, key, path, sizeof(path));
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 2; i++) {
        FILE *file;

        snprintf(below, sizeof(below), "%s/file", path);
        file = fopen(below, "w");
        assert_non_null(file);
        fclose(file);
        strcat(path, "/below");
        assert_int_equal(i == 0 ? mkdir(path, 0700) : 0, 0);
    }
}

static bool is_there(const struct scratch *s, uint64_t key)
{
    char path[300];

    return access(scratch_path(s, key, path, sizeof(path)), F_OK) == 0;
}

static void only_the_user_may_enter(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char path[300];

    top(f->s, path, sizeof(path));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_false(is_there(f->s, 3)); /* is for those to make who need it */
}

static void what_an_attempt_left_goes_with_it(void **state)
{
    struct fixture *f = *state;

    use(f->s, 3);
    use(f->s, 4);
    scratch_clear(f->s, 3);
    scratch_clear(f->s, 5); /* had none */
    assert_false(is_there(f->s, 3));
    assert_true(is_there(f->s, 4));
}

static void all_goes_at_the_end(void **state)
{
    struct fixture *f = *state;
    char path[300];

    use(f->s, 4);
    top(f->s, path, sizeof(path));
    scratch_destroy(f->s);
    f->s = NULL;
    assert_int_equal(access(path, F_OK), -1);
    scratch_destroy(NULL);
}

static void what_a_killed_pilot_left_goes_at_the_next_start(void **state)
{
    struct fixture *f = *state;
    char old[300];
    int status;
    pid_t pid;

    scratch_destroy(f->s);
    pid = fork();
    if (pid == 0) {
        use(create(f), 7);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    snprintf(old, sizeof(old), "%s/scratch", f->node);
    {
        FILE *note = fopen(old, "r");

        assert_non_null(note);
        assert_non_null(fgets(old, sizeof(old), note));
        fclose(note);
        old[strcspn(old, "\n")] = '\0';
    }
    assert_int_equal(access(old, F_OK), 0);
    f->s = create(f);
    assert_int_equal(access(old, F_OK), -1);
}

static void that_of_a_living_pilot_stays(void **state)
{
    struct fixture *f = *state;
    struct scratch *other;

    use(f->s, 1);
    other = create(f); /* another work directory's database, say, with the same node directory */
    assert_true(is_there(f->s, 1));
    scratch_destroy(other);
}

static void a_note_that_names_something_else_removes_nothing(void **state)
{
    static const char *const names[] = {"other", "pilot-mpi.abcde", "pilot-mpi.abcdef.old",
                                        "pilot-mpi.abcdef"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char victim[128], inside[140], note[128];
        FILE *file;

        scratch_destroy(f->s);
        snprintf(victim, sizeof(victim), "%s/%s", f->node, names[i]);
        assert_int_equal(mkdir(victim, 0700), 0);
        snprintf(inside, sizeof(inside), "%s/mine", victim);
        assert_int_equal(mkdir(inside, 0700), 0);
        snprintf(note, sizeof(note), "%s/scratch", f->node);
        file = fopen(note, "w");
        assert_non_null(file);
        fputs(victim, file);
        fclose(file);
        f->s = create(f);
        assert_int_equal(rmdir(inside), 0); /* the last one has no lock file: not ours either */
        assert_int_equal(rmdir(victim), 0);
    }
}

static void one_that_had_no_lock_yet_goes_too(void **state)
{
    struct fixture *f = *state;
    char dir[128], note[128];
    FILE *file;

    scratch_destroy(f->s);
    snprintf(dir, sizeof(dir), "%s/pilot-mpi.abcdef", f->node);
    assert_int_equal(mkdir(dir, 0700), 0);
    snprintf(note, sizeof(note), "%s/scratch", f->node);
    file = fopen(note, "w");
    assert_non_null(file);
    fprintf(file, "%s\n", dir);
    fclose(file);
    f->s = create(f);
    assert_int_equal(access(dir, F_OK), -1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(only_the_user_may_enter),
        TEST(what_an_attempt_left_goes_with_it),
        TEST(all_goes_at_the_end),
        TEST(what_a_killed_pilot_left_goes_at_the_next_start),
        TEST(one_that_had_no_lock_yet_goes_too),
        TEST(that_of_a_living_pilot_stays),
        TEST(a_note_that_names_something_else_removes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
