/* SPDX-License-Identifier: BSD-3-Clause */
/* The limit of a task's memory: every case twice, by a control group (left out where none can be
 * made) and by looking at the processes (with the groups taken out of sight); which files of the
 * kernel are read for that; and who ends when a node has none left. */
#include "launch_talk.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "launch/memcg.h"

#define MIB (1 << 20)
#define LIMIT_MIB 128

static bool hidden; /* the groups */

/* ---- Programs run as tasks ------------------------------------------------------------------- */

static void touch(size_t mib)
{
    size_t len = mib * MIB;
    volatile char *block =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (block == MAP_FAILED)
        _exit(97);
    for (size_t i = 0; i < len; i += 4096)
        block[i] = 1;
}

static void grow(size_t mib, int pause_ms)
{
    for (; mib >= 8; mib -= 8) {
        touch(8);
        (void)poll(NULL, 0, pause_ms);
    }
}

/* After it was asked to end. */
static void grow_late(size_t mib)
{
    be_stubborn();
    (void)poll(NULL, 0, 300);
    touch(mib);
    (void)poll(NULL, 0, 60000);
}

/* Waits until all n children said that they are there, and tells the first process's reader. */
static void await_children(int fd, int n)
{
    char c;

    while (n > 0 && read(fd, &c, 1) == 1)
        n--;
}

/* Children in sessions of their own, one of them a daemon, that grow to this much together. */
static void grow_as_family(size_t mib, const char *pids)
{
    for (int i = 0; i < 4; i++) {
        if (fork() != 0)
            continue;
        (void)setsid();
        if (i == 0 && fork() != 0)
            _exit(0);
        write_pid(pids);
        grow(mib / 4, 5);
        for (;;)
            pause();
    }
    for (;;)
        pause();
}

/* Children that have all pages of their parent and write to none. */
static void share(size_t mib)
{
    int ready[2];

    touch(mib);
    if (pipe(ready) < 0)
        _exit(99);
    for (int i = 0; i < 4; i++) {
        if (fork() == 0) {
            (void)!write(ready[1], "x", 1);
            (void)poll(NULL, 0, 700);
            _exit(0);
        }
    }
    await_children(ready[0], 4);
    while (wait(NULL) > 0)
        ;
}

/* A child that takes its time between vfork and execve. */
static void vfork_slowly(size_t mib)
{
    pid_t pid;

    touch(mib);
    pid = vfork(); /* NOLINT: that is what this is about */
    if (pid == 0) {
        (void)poll(NULL, 0, 700);
        _exit(0);
    }
    (void)waitpid(pid, NULL, 0);
}

static int memory_helper(char **argv)
{
    size_t mib = argv[1] != NULL ? strtoul(argv[1], NULL, 10) : 0;

    if (strcmp(argv[0], "touch") == 0)
        touch(mib);
    else if (strcmp(argv[0], "grow") == 0)
        grow(mib, 5);
    else if (strcmp(argv[0], "late") == 0)
        grow_late(mib);
    else if (strcmp(argv[0], "family") == 0)
        grow_as_family(mib, argv[2]);
    else if (strcmp(argv[0], "share") == 0)
        share(mib);
    else if (strcmp(argv[0], "vfork") == 0)
        vfork_slowly(mib);
    else
        return helper_main(argv);
    if (strcmp(argv[0], "touch") == 0 || strcmp(argv[0], "grow") == 0)
        (void)poll(NULL, 0, argv[2] != NULL ? (int)strtol(argv[2], NULL, 10) : 0);
    return 0;
}

/* ---- With and without groups ----------------------------------------------------------------- */

static bool have_groups(struct memcg *m)
{
    if (!memcg_find(m, "") || access(m->dir, W_OK) < 0)
        return false;
    memcg_prepare(m, getpid());
    return m->usable;
}

static int setup_group(void **state)
{
    (void)setup(state);
    return 0;
}

/* In a namespace of our own the groups are not mounted any more: for good, so these come last. */
static int setup_watched(void **state)
{
    struct memcg m;

    if (!hidden && memcg_find(&m, "") && access(m.dir, W_OK) == 0) {
        assert_int_equal(unshare(CLONE_NEWNS), 0);
        assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        m.dir[m.mount_len] = '\0';
        assert_int_equal(umount2(m.dir, MNT_DETACH), 0);
    }
    hidden = true;
    return setup(state);
}

/* Without groups a group's test says nothing. */
static void need_group(void)
{
    struct memcg m;

    if (!hidden && !have_groups(&m))
        skip();
}

static struct attempt_result run_limited(struct fixture *f, const char *what)
{
    struct launch_request req = request("t", helper(f, what));

    req.memory = (int64_t)LIMIT_MIB * MIB;
    return finish_request(f, &req);
}

static unsigned groups_left(void)
{
    struct memcg m;
    unsigned n = 0;
    char command[MEMCG_PATH_MAX + 64], text[16] = "";
    FILE *p;

    if (!memcg_find(&m, ""))
        return 0;
    snprintf(command, sizeof(command), "ls -d '%s'/pilot-*-* 2>/dev/null | wc -l", m.dir);
    p = popen(command, "r"); /* NOLINT */
    if (p != NULL && fgets(text, sizeof(text), p) != NULL)
        n = (unsigned)strtoul(text, NULL, 10);
    if (p != NULL)
        pclose(p);
    return n;
}

/* ---- The limit ------------------------------------------------------------------------------- */

static void one_that_takes_too_much_is_killed_for_it(void **state)
{
    struct fixture *f = *state;
    struct attempt_result r;

    need_group();
    r = run_limited(f, "touch 300 60000");
    assert_int_equal(r.reason, REASON_MEMORY);
    assert_int_equal(r.exit_code, -1);
    assert_int_equal(r.signal, SIGKILL);
    assert_non_null(strstr(r.message, " of 128M"));
    assert_memory_equal(r.message, "used ", 5);
    assert_non_null(strstr(err_of(f, "t"), r.message));
    assert_true(r.end_wall_ms - r.start_wall_ms < 3000);
    /* The slot is good for others, and counts them anew. */
    assert_int_equal(run_limited(f, "touch 40 200").exit_code, 0);
    assert_int_equal(finish(f, "u", helper(f, "touch 300")).exit_code, 0);
    assert_int_equal(run_limited(f, "grow 300 60000").reason, REASON_MEMORY);
}

static void all_its_processes_count_and_all_are_killed(void **state)
{
    struct fixture *f = *state;
    struct launch_request req;
    struct attempt_result r;
    int total;

    need_group();
    req = request("t", helper_pids(f, "family 400"));
    req.memory = (int64_t)LIMIT_MIB * MIB;
    r = finish_request(f, &req);
    assert_int_equal(r.reason, REASON_MEMORY);
    assert_int_equal(living_helpers(f, &total), 0);
    assert_int_equal(total, 4);
}

static void what_it_shares_counts_once(void **state)
{
    struct fixture *f = *state;
    struct attempt_result r;

    need_group();
    r = run_limited(f, "share 80");
    assert_string_equal(r.message, "");
    assert_int_equal(r.exit_code, 0);
    r = run_limited(f, "vfork 80");
    assert_string_equal(r.message, "");
    assert_int_equal(r.exit_code, 0);
}

static void one_that_had_to_end_anyway_ends_for_that(void **state)
{
    struct fixture *f = *state;
    struct launch_request req;
    struct attempt_result r;

    need_group();
    restart(f, 20000);
    req = request("t", helper(f, "late 300"));
    req.memory = (int64_t)LIMIT_MIB * MIB;
    req.timeout_ms = 50; /* it grows in its grace time */
    r = finish_request(f, &req);
    assert_int_equal(r.reason, REASON_TIMEOUT);
    assert_string_equal(r.message, "");
    assert_true(r.end_wall_ms - r.start_wall_ms < 10000);
}

static void no_group_is_left_behind(void **state)
{
    struct fixture *f = *state;
    struct launch_request req;
    struct launch_event ev;
    unsigned before;
    pid_t pid;

    need_group();
    launcher_stop(f->l);
    before = groups_left();
    start_launcher(f, GRACE_MS);
    req = request("t", helper(f, "touch 10 60000"));
    req.memory = (int64_t)LIMIT_MIB * MIB;
    run(f, &req);
    AWAIT(launcher_next(f->l, &ev) == 0 && groups_left() == before + 1);
    pid = await_named("pilot-slot");
    assert_int_equal(kill(pid, SIGKILL), 0); /* the guardian tidies up ... */
    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(ev.result.reason, REASON_LOST);
    assert_int_equal(groups_left(), before);
    run(f, &req);
    AWAIT(launcher_next(f->l, &ev) == 0 && groups_left() == before + 1);
    pid = await_named("pilot-guardian");
    assert_int_equal(kill(pid, SIGKILL), 0); /* ... or the agent */
    assert_int_equal(next_event(f, &ev), 1);
    assert_int_equal(groups_left(), before);
    restart(f, GRACE_MS);
    run(f, &req);
    AWAIT(launcher_next(f->l, &ev) == 0 && groups_left() == before + 1);
    launcher_stop(f->l); /* while it runs */
    assert_int_equal(groups_left(), before);
    start_launcher(f, GRACE_MS);
}

/* ---- Who is killed first --------------------------------------------------------------------- */

static int score_of(pid_t pid)
{
    char path[64];
    int score = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
    file = fopen(path, "re");
    if (file != NULL && fscanf(file, "%d", &score) != 1)
        score = -1;
    if (file != NULL)
        fclose(file);
    return score;
}

static void tasks_go_before_the_pilot(void **state)
{
    struct fixture *f = *state;
    int own = score_of(getpid());

    if (own >= 500)
        skip();
    assert_int_equal(finish(f, "t", "cat /proc/self/oom_score_adj").exit_code, 0);
    assert_string_equal(out_of(f, "t"), "500\n");
    assert_int_equal(score_of(await_named("pilot-slot")), 500); /* as what it starts */
    assert_int_equal(score_of(await_named("pilot-guardian")), own);
    assert_int_equal(score_of(getpid()), own);
}

/* In the slot that has just run a task, and the other way round. */
static void a_program_that_talks_stays_with_the_pilot(void **state)
{
    struct launch_request req = request("hook", "cat /proc/self/oom_score_adj");
    struct fixture *f = *state;
    char want[16];
    struct talk t;

    if (score_of(getpid()) >= 500)
        skip();
    snprintf(want, sizeof(want), "%d\n", score_of(getpid()));
    assert_int_equal(finish(f, "t", "/bin/true").exit_code, 0);
    t = talk_with(f->l, &req);
    assert_string_equal(read_all(t.io), want);
    assert_int_equal(end_of(f, 1).exit_code, 0);
    hang_up(&t);
    assert_int_equal(finish(f, "u", "cat /proc/self/oom_score_adj").exit_code, 0);
    assert_string_equal(out_of(f, "u"), "500\n");
}

/* ---- What the kernel says -------------------------------------------------------------------- */

static void put_file(const char *root, const char *name, const char *text)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(path, 0755);
        *p = '/';
    }
    f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define MOUNT_1 "35 24 0:30 / /cg/memory rw,relatime - cgroup cgroup rw,memory\n"
#define MOUNT_2 "36 24 0:31 / /cg/unified rw,relatime - cgroup2 cgroup2 rw\n"

static void groups_are_found_where_they_are(void **state)
{
    static const struct {
        const char *mounts, *groups, *dir;
        int version;
    } rows[] = {
        {"", "0::/\n", NULL, 0},
        {MOUNT_2, "0::/job\n", "/cg/unified/job", 2},
        {MOUNT_2, "0::/\n", "/cg/unified", 2},
        {MOUNT_2 MOUNT_1, "9:cpu,memory:/job/step\n0::/other\n", "/cg/memory/job/step", 1},
        {MOUNT_1, "9:cpu:/job\n", NULL, 0},
        /* In a container: what is mounted is a part, named from its own top or from the host's. */
        {"35 24 0:30 /docker/abc /cg/memory rw - cgroup cgroup rw,memory\n",
         "4:memory:/docker/abc/job\n", "/cg/memory/job", 1},
        {"35 24 0:30 /docker/abc /cg/memory rw - cgroup cgroup rw,memory\n", "4:memory:/abc\n",
         "/cg/memory", 1},
        {"36 24 0:31 /../../.. /cg/unified rw - cgroup2 cgroup2 rw\n", "0::/gone\n", "/cg/unified",
         2},
        {"garbage\n\n - \n35 24 0:30 / /cg/memory rw master:1 - cgroup none rw,cpu\n", "0::/\n",
         NULL, 0},
    };
    struct fixture *f = *state;
    char dir[512];
    struct memcg m;

    put_file(f->dir, "cg/memory/job/step/x", "");
    put_file(f->dir, "cg/unified/job/x", "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put_file(f->dir, "proc/self/mountinfo", rows[i].mounts);
        put_file(f->dir, "proc/self/cgroup", rows[i].groups);
        assert_int_equal(memcg_find(&m, f->dir), rows[i].version != 0);
        assert_int_equal(m.version, rows[i].version);
        assert_true(memcg_limit(&m) == MEMCG_NO_LIMIT);
        if (rows[i].version == 0)
            continue;
        snprintf(dir, sizeof(dir), "%s%s", f->dir, rows[i].dir);
        assert_string_equal(m.dir, dir);
    }
}

static void the_smallest_limit_on_the_way_up_counts(void **state)
{
    struct fixture *f = *state;
    struct memcg m;

    put_file(f->dir, "proc/self/mountinfo", MOUNT_1);
    put_file(f->dir, "proc/self/cgroup", "4:memory:/job/step\n");
    put_file(f->dir, "cg/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put_file(f->dir, "cg/memory/job/memory.limit_in_bytes", "5000000\n");
    put_file(f->dir, "cg/memory/job/step/memory.limit_in_bytes", "9223372036854771712\n");
    put_file(f->dir, "cg/memory/job/step/memory.oom_control",
             "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n");
    assert_true(memcg_find(&m, f->dir));
    assert_true(memcg_limit(&m) == 5000000);
    assert_true(memcg_oom_kills(&m) == 7);
    put_file(f->dir, "proc/self/mountinfo", MOUNT_2);
    put_file(f->dir, "proc/self/cgroup", "0::/job/step\n");
    put_file(f->dir, "cg/unified/job/memory.max", "max\n");
    put_file(f->dir, "cg/unified/job/step/memory.max", "6000000\n");
    put_file(f->dir, "cg/unified/job/step/memory.events",
             "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 9\n");
    assert_true(memcg_find(&m, f->dir));
    assert_true(memcg_limit(&m) == 6000000);
    assert_true(memcg_oom_kills(&m) == 1);
}

/* Version 2 with plain files for the kernel's: what is written, and that nothing is touched where
 * there is no controller to hand down. */
static void version_2_hands_the_controller_down_or_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct memcg_task t;
    struct memcg m;
    char name[sizeof(t.dir)];

    put_file(f->dir, "proc/self/mountinfo", MOUNT_2);
    put_file(f->dir, "proc/self/cgroup", "0::/job\n");
    put_file(f->dir, "cg/unified/job/cgroup.controllers", "cpu io pids\n");
    put_file(f->dir, "cg/unified/job/cgroup.subtree_control", "");
    assert_true(memcg_find(&m, f->dir));
    memcg_prepare(&m, getpid());
    assert_false(m.usable);
    assert_false(memcg_task_make(&t, &m, 1000));
    put_file(f->dir, "cg/unified/job/cgroup.controllers", "cpu memory pids\n");
    memcg_prepare(&m, getpid());
    assert_true(m.usable);
    snprintf(name, sizeof(name), "%s", strrchr(m.dir, '/'));
    assert_string_equal(name, "/job");
    /* Plain directories have no files of the kernel's in them: the group is given up. */
    assert_false(memcg_task_make(&t, &m, 1000));
    assert_int_equal(t.procs_fd, -1);
}

static void children_are_found_without_a_look_at_everybody(void **state)
{
    struct fixture *f = *state;
    struct tree t = {0};
    struct launch_request req;
    struct launch_event ev;
    int total = 0;

    req = request("t", helper_pids(f, "daemon-stay"));
    run(f, &req);
    AWAIT(launcher_next(f->l, &ev) == 0 && living_helpers(f, &total) == 2);
    if (tree_children(&t, getpid()) == PILOT_ESYS) {
        launcher_kill(f->l, 1, REASON_CANCEL, true);
        assert_int_equal(next_event(f, &ev), 1);
        skip();
    }
    AWAIT(tree_children(&t, getpid()) == 4); /* guardian, slot, the task, its daemon */
    assert_int_equal(t.procs[0].ppid, getpid());
    launcher_kill(f->l, 1, REASON_CANCEL, true);
    assert_int_equal(next_event(f, &ev), 1);
    tree_fini(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define GROUP(name) {"group: " #name, name, setup_group, teardown, NULL}
#define WATCHED(name)                                                                              \
    {                                                                                              \
        "watched: " #name, name, setup_watched, teardown, NULL                                     \
    }
        T(groups_are_found_where_they_are),
        T(the_smallest_limit_on_the_way_up_counts),
        T(version_2_hands_the_controller_down_or_is_left_alone),
        T(children_are_found_without_a_look_at_everybody),
        T(tasks_go_before_the_pilot),
        T(a_program_that_talks_stays_with_the_pilot),
        GROUP(one_that_takes_too_much_is_killed_for_it),
        GROUP(all_its_processes_count_and_all_are_killed),
        GROUP(what_it_shares_counts_once),
        GROUP(one_that_had_to_end_anyway_ends_for_that),
        GROUP(no_group_is_left_behind),
        WATCHED(one_that_takes_too_much_is_killed_for_it),
        WATCHED(all_its_processes_count_and_all_are_killed),
        WATCHED(what_it_shares_counts_once),
        WATCHED(one_that_had_to_end_anyway_ends_for_that),
    };

    if (argc > 2 && strcmp(argv[1], "helper") == 0)
        return memory_helper(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
