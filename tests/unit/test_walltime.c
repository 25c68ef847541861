/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is asked when the allocation ends, what is understood of the answers, and that nobody can
 * hold the start up. The programs of the batch systems are shell scripts here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "head/walltime.h"

static char dir[] = "/tmp/pilot-walltime-XXXXXX";
static char said[400];

static void listen_to_log(void *arg, enum log_level level, const char *text)
{
    (void)arg;
    (void)level;
    snprintf(said, sizeof(said), "%s", text);
}

/* The program NAME does this; NULL: it is not there. */
static void program(const char *name, const char *script)
{
    char path[100];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    unlink(path);
    if (script == NULL)
        return;
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    assert_int_equal(chmod(path, 0700), 0);
}

static void set_path(void)
{
    char path[200];

    snprintf(path, sizeof(path), "%s:/usr/bin:/bin", dir);
    setenv("PATH", path, 1);
}

static int set_up(void **state)
{
    (void)state;
    log_set_sink(listen_to_log, NULL);
    if (mkdtemp(dir) == NULL)
        return -1;
    set_path();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    program("squeue", NULL);
    program("bjobs", NULL);
    return rmdir(dir);
}

#define ENV(...) ((char *[]){__VA_ARGS__, NULL})

static struct walltime found(int64_t option_ms, char *const *env)
{
    struct walltime w;

    said[0] = '\0';
    walltime_find(&w, option_ms, env, 10000);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(errno, ECHILD);
    return w;
}

static void answers_of_squeue(void **state)
{
    static const struct {
        const char *script;
        int64_t left_ms;
        const char *warning;
    } cases[] = {
        {"echo 1:30", 90000, ""},
        {"echo 59", 59000, ""},
        {"echo 2:00:01", 7201000, ""},
        {"echo 3-00:00:00", 3 * 86400000LL, ""},
        {"echo 1:30; echo 2:30", 90000, ""},
        {"printf 1:30", 90000, ""},
        {"[ \"$*\" = '-h -j 77 -o %L' ] && echo 1:00", 60000, ""},
        {"[ -z \"$(cat)\" ] && echo 1:00", 60000, ""},
        {"echo UNLIMITED", WALLTIME_UNKNOWN, ""},
        {"echo INVALID", WALLTIME_UNKNOWN, "squeue says 'INVALID'"},
        {"echo no such job >&2; exit 1", WALLTIME_UNKNOWN, "squeue says nothing"},
        {"head -c 100000 /dev/zero | tr '\\0' x", WALLTIME_UNKNOWN, "squeue says 'xxx"},
        {NULL, WALLTIME_UNKNOWN, "squeue cannot be run"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct walltime w;

        program("squeue", cases[i].script);
        if (cases[i].script == NULL)
            setenv("PATH", dir, 1); /* this machine may have it */
        w = found(0, ENV("SLURM_JOB_ID=77"));
        set_path();
        assert_int_equal(w.left_ms, cases[i].left_ms);
        if (cases[i].warning[0] == '\0')
            assert_string_equal(said, "");
        else if (strstr(said, cases[i].warning) == NULL || strstr(said, "--walltime") == NULL)
            fail_msg("case %zu: '%s' does not say '%s'", i, said, cases[i].warning);
    }
}

static void answers_of_bjobs(void **state)
{
    static const struct {
        const char *script;
        int64_t left_ms;
    } cases[] = {
        {"echo '0:10 L'", 600000},
        {"echo '100:00 E'", 360000000},
        {"[ \"$*\" = '-noheader -o time_left 5[2]' ] && echo 1:00", 3600000},
        {"echo '0:10 X'", WALLTIME_UNKNOWN},
        {"echo -", WALLTIME_UNKNOWN},
        {"echo what", WALLTIME_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        program("bjobs", cases[i].script);
        assert_int_equal(found(0, ENV("LSB_JOBID=5", "LSB_JOBINDEX=2")).left_ms, cases[i].left_ms);
    }
}

static void the_first_that_knows_is_believed(void **state)
{
    char slurm[60], old[60];
    struct walltime w;

    (void)state;
    snprintf(slurm, sizeof(slurm), "SLURM_JOB_END_TIME=%lld",
             (long long)clock_wall_ms() / 1000 + 500);
    snprintf(old, sizeof(old), "SLURM_JOB_END_TIME=%lld", (long long)clock_wall_ms() / 1000 - 500);
    program("squeue", "echo 3:00");
    program("bjobs", "echo 0:04");
    assert_int_equal(found(0, ENV("HOME=/")).left_ms, WALLTIME_UNKNOWN);
    assert_string_equal(said, "");
    assert_int_equal(found(0, ENV("PBS_WALLTIME=240", "LSB_JOBID=1")).left_ms, 240000);
    assert_int_equal(found(0, ENV("PBS_WALLTIME=", "LSB_JOBID=1")).left_ms, 240000);
    assert_int_equal(found(0, ENV("PBS_WALLTIME=240", "SLURM_JOB_ID=1")).left_ms, 180000);
    assert_int_equal(found(0, ENV(old, "SLURM_JOB_ID=1")).left_ms, 180000);
    w = found(0, ENV(slurm, "SLURM_JOB_ID=1"));
    assert_in_range(w.left_ms, 490000, 500000);
    assert_string_equal(w.source, "SLURM_JOB_END_TIME");
    w = found(7000, ENV(slurm, "SLURM_JOB_ID=1", "PBS_WALLTIME=240"));
    assert_int_equal(w.left_ms, 7000);
}

/* Neither a program that hangs, nor one that leaves a child behind which holds the pipe. */
static void nobody_can_hold_the_start_up(void **state)
{
    static const char *const scripts[] = {
        "echo $$ >pid; while :; do sleep 1; done",
        "trap '' TERM; (echo $$ >pid; exec sleep 1000) & wait",
        "(exec sleep 1000) & echo $! >pid; exit 0",
    };

    (void)state;
    assert_int_equal(chdir(dir), 0);
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        int64_t begin_ms = clock_mono_ms();
        struct walltime w;
        long pid = 0;
        FILE *f;

        program("squeue", scripts[i]);
        said[0] = '\0';
        walltime_find(&w, 0, ENV("SLURM_JOB_ID=77"), 400);
        assert_int_equal(w.left_ms, WALLTIME_UNKNOWN);
        assert_in_range(clock_mono_ms() - begin_ms, 400, 5000);
        assert_non_null(strstr(said, "squeue did not answer"));
        f = fopen("pid", "r");
        assert_non_null(f);
        assert_int_equal(fscanf(f, "%ld", &pid), 1);
        fclose(f);
        unlink("pid");
        for (int n = 0; n < 500 && kill((pid_t)pid, 0) == 0; n++)
            usleep(10000);
        /* An orphan is reaped by whoever reaps here; a zombie runs nothing any more. */
        if (kill((pid_t)pid, 0) == 0) {
            char path[60], stat[200] = "";

            snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
            f = fopen(path, "r");
            assert_true(f == NULL || fgets(stat, sizeof(stat), f) != NULL);
            assert_non_null(strstr(stat, ") Z"));
            fclose(f);
        }
    }
}

static void times_for_people(void **state)
{
    char buf[40];

    (void)state;
    assert_string_equal(walltime_text(-5, buf, sizeof(buf)), "0 s");
    assert_string_equal(walltime_text(119499, buf, sizeof(buf)), "119 s");
    assert_string_equal(walltime_text(119500, buf, sizeof(buf)), "0:02:00");
    assert_string_equal(walltime_text(100 * 3600000LL + 61000, buf, sizeof(buf)), "100:01:01");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_squeue),
        cmocka_unit_test(answers_of_bjobs),
        cmocka_unit_test(the_first_that_knows_is_believed),
        cmocka_unit_test(nobody_can_hold_the_start_up),
        cmocka_unit_test(times_for_people),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
