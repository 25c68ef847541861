/* SPDX-License-Identifier: BSD-3-Clause */
/* The files of the control socket: whose they are, what is left, who may come in. */
#include "control_helpers.h"

#include <dirent.h>
#include <sys/stat.h>

#define NOBODY 65534

/* ---- Files ----------------------------------------------------------------------------------- */

static void read_note(const struct fixture *f, char *path, size_t size)
{
    FILE *in = fopen(f->note, "r");

    assert_non_null(in);
    assert_non_null(fgets(path, (int)size, in));
    fclose(in);
    path[strcspn(path, "\n")] = '\0';
}

static unsigned entries(const char *dir)
{
    DIR *d = opendir(dir);
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void the_files_are_only_ours_and_go_at_the_end(void **state)
{
    struct fixture *f = *state;
    char path[128], dir[128];

    read_note(f, path, sizeof(path));
    assert_string_equal(path, control_path(f->c));
    assert_memory_equal(path, f->tmp, strlen(f->tmp));
    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(mode_of(dir), 0700);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(mode_of(f->note), 0600);
    assert_int_equal(entries(f->node), 1);
    control_destroy(f->c);
    f->c = NULL;
    assert_int_equal(entries(f->node), 0);
    assert_int_equal(entries(f->tmp), 0);
    control_destroy(NULL);
}

static void what_a_killed_pilot_left_is_removed(void **state)
{
    struct fixture *f = *state;
    char old[128];
    pid_t pid;

    control_destroy(f->c);
    pid = fork();
    if (pid == 0) {
        create(f);
        _exit(0);
    }
    assert_int_equal(status_of(pid), 0);
    read_note(f, old, sizeof(old));
    assert_int_equal(mode_of(old), 0600);
    f->c = create(f);
    assert_string_not_equal(control_path(f->c), old);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(entries(f->tmp), 1);
}

static void make_dead_socket(const struct fixture *f, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_true(snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", f->tmp, name) <
                (int)sizeof(address.sun_path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

/* Each makes something that the note may name, and that must survive. */
static void what_is_not_a_killed_pilots_stays(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *what, *setup, *named, *survives;
    } rows[] = {
        {"another file in it", "mkdir -m 700 pilot-mpi.aaaaaa; touch pilot-mpi.aaaaaa/data",
         "pilot-mpi.aaaaaa/control", "pilot-mpi.aaaaaa/data"},
        {"control is a file", "mkdir -m 700 pilot-mpi.aaaaab; touch pilot-mpi.aaaaab/control",
         "pilot-mpi.aaaaab/control", "pilot-mpi.aaaaab/control"},
        {"control is a directory", "mkdir -m 700 pilot-mpi.aaaaac; mkdir pilot-mpi.aaaaac/control",
         "pilot-mpi.aaaaac/control", "pilot-mpi.aaaaac/control"},
        {"another name", "mkdir -m 700 precious", "precious/control", "precious"},
        {"another name behind the prefix", "mkdir -m 700 pilot-mpi.precious",
         "pilot-mpi.precious/control", "pilot-mpi.precious"},
        {"open to others", "mkdir -m 755 pilot-mpi.aaaaad", "pilot-mpi.aaaaad/control",
         "pilot-mpi.aaaaad"},
        {"a link", "mkdir -m 700 precious2; ln -s precious2 pilot-mpi.aaaaae",
         "pilot-mpi.aaaaae/control", "precious2"},
        {"a link to somewhere with a dead socket",
         "mkdir -m 700 precious3; ln -s precious3 pilot-mpi.aaaaah", "pilot-mpi.aaaaah/control",
         "precious3/control"},
        {"not the socket in it", "mkdir -m 700 pilot-mpi.aaaaaf", "pilot-mpi.aaaaaf/other",
         "pilot-mpi.aaaaaf"},
        {"another's", "mkdir -m 700 pilot-mpi.aaaaag; chown 65534 pilot-mpi.aaaaag",
         "pilot-mpi.aaaaag/control", "pilot-mpi.aaaaag"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char command[512], path[256];
        FILE *note;

        if (strstr(rows[i].setup, "chown") != NULL && geteuid() != 0)
            continue;
        print_message("%s\n", rows[i].what);
        control_destroy(f->c);
        snprintf(command, sizeof(command), "cd %s && %s", f->tmp, rows[i].setup);
        assert_int_equal(system(command), 0);
        if (strstr(rows[i].survives, "precious3") != NULL)
            make_dead_socket(f, rows[i].survives);
        note = fopen(f->note, "w");
        assert_non_null(note);
        fprintf(note, "%s/%s\n", f->tmp, rows[i].named);
        fclose(note);
        f->c = create(f);
        snprintf(path, sizeof(path), "%s/%s", f->tmp, rows[i].survives);
        if (access(path, F_OK) != 0)
            fail_msg("%s: it is gone", rows[i].what);
    }
    assert_int_equal(unlink(f->note), 0); /* and no note at all is no error, nor an odd one */
    assert_int_equal(symlink("/etc/passwd", f->note), 0);
    control_destroy(f->c);
    f->c = create(f);
    assert_int_equal(mode_of(f->note), 0600);
}

static void a_pilot_that_lives_keeps_its_socket(void **state)
{
    struct fixture *f = *state;
    struct control *second = create(f);
    char path[128];
    int fd = client(f); /* of the first */
    const char *line;

    say(fd, "q\n");
    await(f->c, &line);
    assert_string_equal(line, "q");
    close(fd);
    read_note(f, path, sizeof(path));
    assert_string_equal(path, control_path(second));
    control_destroy(f->c); /* must not take the note of the second with it */
    f->c = second;
    read_note(f, path, sizeof(path));
    assert_string_equal(path, control_path(second));
}

static void a_tmpdir_that_will_not_do_is_passed_over(void **state)
{
    struct fixture *f = *state;
    char longer[200];
    static const char *const bad[] = {"relative", "/no/such/place", "/proc", "", NULL};

    memset(longer, 'd', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        control_destroy(f->c);
        setenv("TMPDIR", bad[i] != NULL ? bad[i] : longer, 1);
        f->c = create(f);
        assert_memory_equal(control_path(f->c), "/tmp/pilot-mpi.", 15);
    }
}

static void a_node_directory_that_is_not_there_is_said(void **state)
{
    struct fixture *f = *state;
    struct pilot_error err;
    struct control *c = NULL;

    assert_int_equal(control_create(&c, "/no/such/dir", &err), PILOT_EIO);
    assert_non_null(strstr(err.text, "/no/such/dir/socket"));
    assert_null(c);
    assert_int_equal(entries(f->tmp), 1);
}

/* ---- Other users ----------------------------------------------------------------------------- */

static void another_user_cannot_come_in(void **state)
{
    struct fixture *f = *state;
    char dir[128];
    pid_t pid;

    if (geteuid() != 0)
        skip();
    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(control_path(f->c), '/') - control_path(f->c)),
             control_path(f->c));
    pid = fork();
    if (pid == 0) {
        bool in = setgid(NOBODY) < 0 || setuid(NOBODY) < 0 ||
                  try_connect(control_path(f->c)) >= 0 || errno != EACCES || opendir(dir) != NULL ||
                  open(f->note, O_RDONLY) >= 0 || unlink(control_path(f->c)) == 0 ||
                  unlink(f->note) == 0;

        _exit(in);
    }
    assert_int_equal(status_of(pid), 0);
    expect_none(f->c);

    /* Somebody has opened the doors: it is refused all the same. */
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(chmod(control_path(f->c), 0666), 0);
    pid = fork();
    if (pid == 0) {
        char byte;
        int fd;

        if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0 || (fd = try_connect(control_path(f->c))) < 0)
            _exit(3);
        send(fd, "{\"op\": \"add\"}\n", 14, MSG_NOSIGNAL);
        _exit(recv(fd, &byte, 1, 0) > 0);
    }
    assert_int_equal(serve_until_end(f, pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_files_are_only_ours_and_go_at_the_end),
        TEST(what_a_killed_pilot_left_is_removed),
        TEST(what_is_not_a_killed_pilots_stays),
        TEST(a_pilot_that_lives_keeps_its_socket),
        TEST(a_tmpdir_that_will_not_do_is_passed_over),
        TEST(a_node_directory_that_is_not_there_is_said),
        TEST(another_user_cannot_come_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
