/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the launcher that need no launcher: which commands need a shell, messages, lists of
 * CPUs, the process tree. */
#include "launch_helpers.h"

#include "common/clock.h"
#include "launch/results.h"
#include "launch/cpubind.h"
#include "launch/plan.h"
#include "launch/shell.h"
#include "launch/wire.h"

/* ---- shell.c --------------------------------------------------------------------------------- */

/* Commands for which it is decided; words joined by '|', NULL: needs a shell. */
static const struct {
    const char *command;
    const char *words;
} splits[] = {
    {"/bin/true", "/bin/true"},
    {"  ls\t -l  /tmp ", "ls|-l|/tmp"},
    {"./run.sh a.in b=c --x=1,2:3 @f 50%", "./run.sh|a.in|b=c|--x=1,2:3|@f|50%"},
    {"g++ -O2 a.c", "g++|-O2|a.c"},
    {"python3 -c 'print(1 + 2)'", "python3|-c|print(1 + 2)"},
    {"cmd 'it is $HOME `x` \\ \"q\"' \"a  b\"", "cmd|it is $HOME `x` \\ \"q\"|a  b"},
    {"cmd a'b c'\"d e\"f ''", "cmd|ab cd ef|"},
    {"cmd 'two\nlines'", "cmd|two\nlines"},
    {"mpirun -np 2 lmp -in input.lmp", "mpirun|-np|2|lmp|-in|input.lmp"},
    {"", NULL},
    {"   ", NULL},
    {"a;b", NULL},
    {"a & ", NULL},
    {"a | b", NULL},
    {"a > b", NULL},
    {"a < b", NULL},
    {"a 2>&1", NULL},
    {"a $b", NULL},
    {"a \"$b\"", NULL},
    {"a `b`", NULL},
    {"a \"`b`\"", NULL},
    {"a \\b", NULL},
    {"a \"\\b\"", NULL},
    {"a \"b!\"", NULL},
    {"a !", NULL},
    {"! a", NULL},
    {"a *", NULL},
    {"a ?", NULL},
    {"a [b]", NULL},
    {"a {b,c}", NULL},
    {"{ a; }", NULL},
    {"(a)", NULL},
    {"~/a", NULL},
    {"a ~", NULL},
    {"a b=~/c", NULL},
    {"a # b", NULL},
    {"a^b", NULL},
    {"a\nb", NULL},
    {"a\n", NULL},
    {"a\rb", NULL},
    {"a 'b", NULL},
    {"a \"b", NULL},
    {"a '", NULL},
    {"A=1", NULL},
    {"A=1 b", NULL},
    {"'ls' x", NULL},
    {"\"ls\" x", NULL},
    {"l's' x", NULL},
    {"'A=1' b", NULL},
    {"%1", NULL},
    {"-x", NULL},
    {"+x", NULL},
    {"a caf\303\251", NULL},
    {"a 'caf\303\251'", NULL},
    {"a \302\240b", NULL},
};

static const char *joined(const struct shell_words *w)
{
    static char text[1024];
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < w->n; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i > 0 ? "|" : "", w->v[i]);
        assert_true(len < sizeof(text));
    }
    assert_null(w->v[w->n]);
    return text;
}

static void commands_are_split_or_left_to_a_shell(void **state)
{
    struct shell_words w = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
        bool split = shell_split(splits[i].command, &w);

        if (split != (splits[i].words != NULL))
            fail_msg("'%s': %d", splits[i].command, split);
        if (split)
            assert_string_equal(joined(&w), splits[i].words);
    }
    shell_words_fini(&w);
}

/* Every name that the shells of this machine say is theirs. */
static void words_of_shells_are_left_to_them(void **state)
{
    static const char *const words[] = {
        ".",       ":",      "[",        "alias",   "bg",       "break",    "case",    "cd",
        "command", "chdir",  "continue", "do",      "done",     "echo",     "elif",    "else",
        "esac",    "eval",   "exec",     "exit",    "export",   "false",    "fc",      "fg",
        "fi",      "for",    "getopts",  "hash",    "if",       "in",       "jobs",    "kill",
        "local",   "printf", "pwd",      "read",    "readonly", "return",   "set",     "shift",
        "test",    "then",   "times",    "trap",    "true",     "type",     "ulimit",  "umask",
        "unalias", "unset",  "until",    "wait",    "while",    "function", "select",  "time",
        "[[",      "coproc", "source",   "declare", "typeset",  "let",      "shopt",   "mapfile",
        "suspend", "disown", "enable",   "builtin", "caller",   "popd",     "pushd",   "dirs",
        "logout",  "help",   "history",  "bind",    "compgen",  "complete", "compopt", "readarray",
        "print",   "whence", "login",    "newgrp",  "nameref",  "redirect", "repeat",  "foreach",
    };
    struct shell_words w = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char command[64];

        snprintf(command, sizeof(command), "%s x", words[i]);
        if (shell_split(command, &w))
            fail_msg("'%s' is a word of a shell", words[i]);
    }
    shell_words_fini(&w);
}

/* The builtins and keywords that bash lists by itself, if there is a bash. */
static void all_builtins_of_bash_are_known(void **state)
{
    FILE *list = popen("bash -c 'compgen -b; compgen -k' 2>/dev/null", "r");
    struct shell_words w = {0};
    char word[64];
    int n = 0;

    (void)state;
    assert_non_null(list);
    while (fgets(word, sizeof(word), list) != NULL) {
        word[strcspn(word, "\n")] = '\0';
        if (shell_split(word, &w))
            fail_msg("'%s' is a word of bash", word);
        n++;
    }
    pclose(list);
    shell_words_fini(&w);
    if (n == 0)
        skip();
}

/* ---- The same with and without a shell ------------------------------------------------------- */

/* Not among them: death by a signal. bash executes the command in its own place, so that the signal
 * is seen, as it is without a shell; dash waits for it and exits with 128 + signal. */
static const char *const same[] = {
    "ls /",
    "ls /nonexistent",
    "ls -d /etc /usr 'a b' \"c d\"",
    "no-such-command",
    "no-such-command with arguments",
    "/no/such/file",
    "./not-there",
    "/etc/passwd",
    "/etc/passwd/x",
    "/etc",
    "./script-without-first-line a b",
    "./script-not-executable",
    "./script-with-missing-interpreter",
    "script-in-path x",
    "hidden-in-path x",
    "expr 1 + 2",
    "cat stdin-is-empty",
    "cat",
    "sort -k1,1 -t: /etc/group",
    "date -d @0 +%Y-%m-%d",
    "sh -c 'exit 9'",
    "sh -c 'echo $0 $1 $#' a 'b c'",
    "env -i A=1 env",
    "printenv PWD",
    "/bin/pwd",
    "awk 'BEGIN { print \"x\"; exit 3 }'",
    "seq 3",
    "cmd=1",
    "-x",
    "echo 'a  b'  c",
    "true",
    "test -d /",
    "kill",
};

/* Output, error output and status of a task, as one string on the heap. */
static char *outcome(struct fixture *f, struct launch_request *req)
{
    struct attempt_result res = finish_request(f, req);
    char *text = NULL;
    char *out = strdup(out_of(f, req->id));

    assert_non_null(out);
    assert_true(asprintf(&text, "%s %d %d\n%s\n%s", attempt_reason_name(res.reason), res.exit_code,
                         res.signal, out, err_of(f, req->id)) > 0);
    free(out);
    return text;
}

static void make_scripts(struct fixture *f)
{
    static const char command[] =
        "mkdir -p bin1 bin2 && cd . &&"
        "echo 'echo $# args; exit 7' > script-without-first-line &&"
        "echo '#!/no/such/interpreter' > script-with-missing-interpreter &&"
        "echo 'echo x' > script-not-executable &&"
        "cp script-without-first-line bin1/script-in-path && chmod +x script-w* bin1/* &&"
        "echo no > bin1/hidden-in-path && mkdir bin1/seq &&"
        "printf '#!/bin/sh\\necho found\\n' > bin2/hidden-in-path && chmod +x bin2/*";

    assert_int_equal(finish(f, "t", command).exit_code, 0);
}

static void direct_execution_means_the_same_as_sh(void **state)
{
    struct fixture *f = *state;
    struct shell_words w = {0};
    char path[512];
    char *env[] = {path, NULL};
    int direct = 0;

    make_scripts(f);
    snprintf(path, sizeof(path), "PATH=%s/t/bin1:%s/t/bin2:/nowhere:/usr/bin:/bin", f->workdir,
             f->workdir);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct launch_request req = request("t", same[i]);
        char *shell[] = {(char *)"sh", (char *)"-c", (char *)"--", (char *)same[i], NULL};
        char *ours;
        char *theirs;

        if (strstr(same[i], "missing-interpreter") != NULL && under_valgrind())
            continue;
        req.env = env;
        ours = outcome(f, &req);
        req.argv = shell;
        theirs = outcome(f, &req);
        if (strcmp(ours, theirs) != 0)
            fail_msg("%s\nours: %s\nsh: %s", same[i], ours, theirs);
        free(ours);
        free(theirs);
        direct += shell_split(same[i], &w);
    }
    shell_words_fini(&w);
    assert_in_range(direct, 20, 100); /* or the comparison says nothing */
}

/* ---- plan.c ---------------------------------------------------------------------------------- */

static void functions_from_the_environment_need_a_shell(void **state)
{
    static const struct {
        const char *entry;
        bool direct;
    } rows[] = {
        {"BASH_FUNC_which%%=() { :; }", false},
        {"BASH_FUNC_which()=() { :; }", false},
        {"BASH_FUNC_whichever%%=() { :; }", true},
        {"BASH_FUNC_whic%%=() { :; }", true},
        {"X=1", true},
    };
    struct launch_request req = request("t", "which ls");
    struct plan p = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *env[] = {(char *)"PATH=/bin", (char *)rows[i].entry, NULL};
        struct spawn_spec spec;

        assert_int_equal(plan_make(&p, &req, env, "/w/t", &spec), 0);
        assert_int_equal(spec.argv != NULL, rows[i].direct);
        assert_string_equal(spec.shell[2], "which ls");
    }
    plan_fini(&p);
}

static void without_path_names_are_left_to_the_shell(void **state)
{
    struct launch_request req = request("t", "ls");
    char *env[] = {(char *)"PATHS=/bin", NULL};
    struct plan p = {0};
    struct spawn_spec spec;

    (void)state;
    assert_int_equal(plan_make(&p, &req, env, "/w/t", &spec), 0);
    assert_null(spec.argv);
    req.command = "/bin/ls";
    assert_int_equal(plan_make(&p, &req, env, "/w/t", &spec), 0);
    assert_non_null(spec.argv);
    plan_fini(&p);
}

/* ---- wire.c ---------------------------------------------------------------------------------- */

static char *some_env[] = {(char *)"A=1", (char *)"", (char *)"B=x y", NULL};
static char *some_argv[] = {(char *)"prog", (char *)"", (char *)"a b", NULL};

static void put_all(struct buf *b, int which)
{
    const struct wire_config config = {.grace_ms = 5000, .workdir = "/w", .env = some_env};
    const struct wire_kill k = {
        .key = 1ULL << 63, .reason = REASON_CANCEL, .now = true, .unbegun = true};
    const struct launch_request by_argv = {.key = 7,
                                           .id = "a/b",
                                           .attempt = 3,
                                           .argv = some_argv,
                                           .env = some_env,
                                           .cwd = "/c",
                                           .stdin_path = "in",
                                           .timeout_ms = INT64_MAX,
                                           .memory = INT64_MAX - 1,
                                           .max_output = 1LL << 40,
                                           .output = PILOT_OUTPUT_PACKED,
                                           .wait_ms = 1LL << 40,
                                           .cpus = "0-3,8"};
    const struct launch_request by_command = {
        .key = 8, .id = "x", .attempt = 1, .command = "", .stdio_fd = 5, .stderr_fd = 6};
    const struct launch_event ev = {.key = 9,
                                    .result = {.reason = REASON_SPAWN,
                                               .exit_code = -1,
                                               .signal = 15,
                                               .start_wall_ms = 1700000000000,
                                               .end_wall_ms = 1700000000001,
                                               .user_us = 2,
                                               .sys_us = 3,
                                               .max_rss_kib = 4,
                                               .output_dropped = 1LL << 41,
                                               .message = "cannot",
                                               .packed = true,
                                               .pack_at = 3ULL << 32 | 40,
                                               .stdout_bytes = 1LL << 33,
                                               .stderr_bytes = 1}};
    const struct wire_pack pack = {.dir = "/w/.pilot/n", .run = 1ULL << 52};

    if (which == 0)
        wire_put_config(b, &config);
    else if (which == 1)
        wire_put_kill(b, &k);
    else if (which == 2)
        wire_put_run(b, &by_argv);
    else if (which == 3)
        wire_put_run(b, &by_command);
    else if (which == 4)
        wire_put_result(b, &ev);
    else if (which == 5)
        wire_put_slot(b, 1234);
    else if (which == 6)
        wire_put_gone(b, 1234);
    else if (which == 7)
        wire_put_watch(b, 1234);
    else if (which == 8)
        wire_put_pack(b, &pack);
    else
        wire_put_noslot(b, EAGAIN);
}

#define MESSAGE_KINDS 10

static void strv_equal(char *const *a, char *const *b)
{
    size_t i = 0;

    for (; a[i] != NULL && b[i] != NULL; i++)
        assert_string_equal(a[i], b[i]);
    assert_true(a[i] == NULL && b[i] == NULL);
}

/* Decodes; when whole, checks what came out. */
static int get_any(int which, const void *p, size_t len, bool whole)
{
    struct wire_config config;
    struct wire_run run = {0};
    struct wire_kill k;
    struct launch_event ev;
    struct wire_pack pack;
    int64_t number = 0;
    int rc;

    switch (which) {
    case 0:
        rc = wire_get_config(p, len, &config);
        if (whole) {
            assert_int_equal(config.grace_ms, 5000);
            assert_string_equal(config.workdir, "/w");
            strv_equal(config.env, some_env);
        }
        if (rc == 0)
            strv_free(config.env);
        return rc;
    case 1:
        rc = wire_get_kill(p, len, &k);
        if (whole)
            assert_true(k.key == 1ULL << 63 && k.reason == REASON_CANCEL && k.now);
        return rc;
    case 2:
    case 3:
        rc = wire_get_run(p, len, &run);
        if (whole && which == 2) {
            assert_true(run.req.key == 7 && run.req.attempt == 3 &&
                        run.req.timeout_ms == INT64_MAX && run.req.command == NULL);
            assert_true(run.req.memory == INT64_MAX - 1);
            assert_string_equal(run.req.id, "a/b");
            strv_equal(run.req.argv, some_argv);
            strv_equal(run.req.env, some_env);
            assert_string_equal(run.req.cwd, "/c");
            assert_string_equal(run.req.stdin_path, "in");
            assert_string_equal(run.req.cpus, "0-3,8");
            assert_true(run.req.stdio_fd == 0 && run.req.stderr_fd == 0);
            assert_true(run.req.max_output == 1LL << 40);
            assert_true(run.req.output == PILOT_OUTPUT_PACKED);
        } else if (whole) {
            assert_string_equal(run.req.command, "");
            assert_true(run.req.argv == NULL && run.req.env == NULL && run.req.cwd == NULL &&
                        run.req.stdin_path == NULL && run.req.cpus == NULL);
            assert_true(run.req.stdio_fd == -1 && run.req.stderr_fd == -1); /* come along */
        }
        wire_run_fini(&run);
        return rc;
    case 4:
        rc = wire_get_result(p, len, &ev);
        if (whole) {
            assert_true(ev.key == 9 && ev.result.reason == REASON_SPAWN &&
                        ev.result.exit_code == -1 && ev.result.signal == 15 &&
                        ev.result.start_wall_ms == 1700000000000 &&
                        ev.result.end_wall_ms == 1700000000001 && ev.result.user_us == 2 &&
                        ev.result.sys_us == 3 && ev.result.max_rss_kib == 4 &&
                        ev.result.output_dropped == 1LL << 41);
            assert_string_equal(ev.result.message, "cannot");
            assert_true(ev.result.packed && ev.result.pack_at == (3ULL << 32 | 40) &&
                        ev.result.stdout_bytes == 1LL << 33 && ev.result.stderr_bytes == 1);
        }
        return rc;
    case 8:
        rc = wire_get_pack(p, len, &pack);
        if (whole) {
            assert_string_equal(pack.dir, "/w/.pilot/n");
            assert_true(pack.run == 1ULL << 52);
        }
        return rc;
    default:
        rc = wire_get_number(p, len, &number);
        if (whole)
            assert_int_equal(number, which == MESSAGE_KINDS - 1 ? EAGAIN : 1234);
        return rc;
    }
}

static void messages_survive_and_their_cuts_are_refused(void **state)
{
    (void)state;
    for (int which = 0; which < MESSAGE_KINDS; which++) {
        struct wire_rx rx;
        struct buf b;
        enum wire_type type;
        const void *p;
        size_t len;

        buf_init(&b);
        put_all(&b, which);
        assert_true(buf_ok(&b));
        rx = (struct wire_rx){.data = b.data, .end = b.len, .cap = b.cap};
        assert_int_equal(wire_next(&rx, &type, &p, &len), 1);
        assert_int_equal(len, b.len - 5);
        assert_int_equal(get_any(which, p, len, true), 0);
        for (size_t cut = 0; cut < len; cut++) {
            /* A copy of that size on the heap, so that reading past its end is seen. */
            unsigned char *copy = malloc(cut + (cut == 0));

            assert_non_null(copy);
            memcpy(copy, p, cut);
            assert_int_equal(get_any(which, copy, cut, false), PILOT_EPROTO);
            free(copy);
        }
        for (size_t cut = 0; cut < b.len; cut++) {
            rx = (struct wire_rx){.data = b.data, .end = cut, .cap = b.cap};
            assert_int_equal(wire_next(&rx, &type, &p, &len), 0);
        }
        buf_fini(&b);
    }
}

static void lengths_beyond_reason_are_refused(void **state)
{
    unsigned char zero[] = {0, 0, 0, 0, 1};
    unsigned char huge[] = {0xff, 0xff, 0xff, 0x7f, 1};
    struct wire_rx rx = {.data = zero, .end = 5, .cap = 5};
    enum wire_type type;
    const void *p;
    size_t len;

    (void)state;
    assert_int_equal(wire_next(&rx, &type, &p, &len), PILOT_EPROTO);
    rx.data = huge;
    rx.start = 0;
    assert_int_equal(wire_next(&rx, &type, &p, &len), PILOT_EPROTO);
}

/* ---- cpubind.c ------------------------------------------------------------------------------- */

static void lists_of_cpus(void **state)
{
    static const struct {
        const char *list;
        int cpus; /* how many; -1: refused */
    } rows[] = {
        {"0", 1},      {"0-3", 4},         {"0-3,8", 5}, {"1,1", 1},
        {"16383", 1},  {"0-16383", 16384}, {"", -1},     {"16384", -1},
        {"a", -1},     {"1-", -1},         {"-1", -1},   {"3-2", -1},
        {"1,", -1},    {",", -1},          {"1 2", -1},  {"99999999999", -1},
        {"1-2-3", -1},
    };
    struct cpubind_mask mask;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int n = 0;

        if (!cpubind_parse(rows[i].list, &mask))
            n = -1;
        for (size_t w = 0; n >= 0 && w < sizeof(mask.bits) / sizeof(mask.bits[0]); w++)
            n += __builtin_popcountl(mask.bits[w]);
        if (n != rows[i].cpus)
            fail_msg("'%s': %d", rows[i].list, n);
    }
}

/* ---- tree.c ---------------------------------------------------------------------------------- */

static pid_t fork_sleeper(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)prctl(PR_SET_NAME, ") 1 2 (x"); /* what a name may do to /proc/PID/stat */
        for (;;)
            pause();
    }
    return pid;
}

static void the_tree_of_a_process(void **state)
{
    struct tree t = {0};
    struct tree_proc proc;
    pid_t a = fork_sleeper();
    pid_t b = fork_sleeper();

    (void)state;
    AWAIT(is_named(a, ") 1 2 (x") && is_named(b, ") 1 2 (x"));
    assert_true(tree_look(a, &proc));
    assert_int_equal(proc.ppid, getpid());
    assert_int_equal(proc.sid, getsid(0));
    assert_true(proc.start > 0 && !proc.zombie);
    assert_int_equal(tree_find(&t, getpid(), NULL, 0), 2);
    assert_int_equal(tree_find(&t, getpid(), &a, 1), 1);
    assert_int_equal(t.procs[0].pid, b);
    assert_int_equal(tree_find(&t, getpid(), NULL, 0), 2);
    tree_signal(&t, SIGKILL);
    assert_int_equal(waitpid(a, NULL, 0), a);
    assert_int_equal(waitpid(b, NULL, 0), b);
    assert_int_equal(tree_find(&t, getpid(), NULL, 0), 0);
    assert_false(tree_look(a, &proc));
    tree_fini(&t);
}

/* ---- results.c ------------------------------------------------------------------------------- */

/* Ends of tasks of that length, with so many left to begin; are they to be sent then? */
static bool put_end(struct results *r, enum attempt_reason reason, int64_t took_ms, size_t left)
{
    struct launch_event ev = {.key = 1, .result = {.reason = reason, .end_wall_ms = took_ms}};

    results_put(r, &ev, left);
    return results_are_due(r);
}

static void test_results_wait_for_each_other(void **state)
{
    struct results r;
    int64_t began_ms;

    (void)state;
    results_init(&r);
    assert_false(results_are_due(&r));
    do { /* unless this process was held up */
        results_clear(&r);
        began_ms = clock_mono_ms();
        for (unsigned i = 1; i < LENT_MAX; i++)
            (void)put_end(&r, REASON_EXIT, 1, 5);
    } while (results_are_due(&r) && clock_mono_ms() - began_ms >= 10);
    assert_false(r.at_once);
    assert_true(put_end(&r, REASON_EXIT, 1, 5)); /* as many as there can be */
    results_clear(&r);
    assert_true(put_end(&r, REASON_EXIT, 1, 2)); /* the agent is to send more */
    results_clear(&r);
    assert_true(put_end(&r, REASON_EXIT, 6, 5)); /* a long one */
    results_clear(&r);
    assert_true(put_end(&r, REASON_SIGNAL, 1, 5));
    results_clear(&r);
    (void)put_end(&r, REASON_EXIT, 1, 5);
    assert_false(r.at_once);
    results_put_back(&r, 2);
    assert_true(results_are_due(&r));
    results_clear(&r);
    (void)put_end(&r, REASON_EXIT, 1, 5);
    while (!results_are_due(&r)) /* nothing else comes: the time is enough */
        assert_true(clock_mono_ms() <= r.due_ms + 60000 && r.due_ms < INT64_MAX);
    buf_fini(&r.out);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_split_or_left_to_a_shell),
        cmocka_unit_test(words_of_shells_are_left_to_them),
        cmocka_unit_test(all_builtins_of_bash_are_known),
        cmocka_unit_test_setup_teardown(direct_execution_means_the_same_as_sh, setup, teardown),
        cmocka_unit_test(functions_from_the_environment_need_a_shell),
        cmocka_unit_test(without_path_names_are_left_to_the_shell),
        cmocka_unit_test(messages_survive_and_their_cuts_are_refused),
        cmocka_unit_test(lengths_beyond_reason_are_refused),
        cmocka_unit_test(lists_of_cpus),
        cmocka_unit_test(the_tree_of_a_process),
        cmocka_unit_test(test_results_wait_for_each_other),
    };

    if (argc > 2 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
