/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the decision which commands need no shell. Starting a shell costs as much as starting the
 * program; most commands of a task file are plain words. A wrong "no shell needed" changes what a
 * command means and is a bug; a wrong "shell needed" costs half a millisecond. So only characters
 * are let through that no shell found as /bin/sh (dash, bash, busybox, ksh) treats specially. */
#include "launch/shell.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Builtins, functions and keywords of those shells. A builtin may differ from the program of its
 * name (echo, printf, test, kill, time), so it stays with the shell. Sorted, for bsearch. */
static const char *const words_of_shells[] = {
    ".",        ":",         "[",        "[[",       "alias",    "autoload", "bg",
    "bind",     "break",     "builtin",  "caller",   "case",     "cd",       "chdir",
    "command",  "compgen",   "complete", "compopt",  "continue", "coproc",   "declare",
    "dirs",     "disown",    "do",       "done",     "echo",     "elif",     "else",
    "enable",   "end",       "esac",     "eval",     "exec",     "exit",     "export",
    "false",    "fc",        "fg",       "fi",       "float",    "for",      "foreach",
    "function", "functions", "getopts",  "hash",     "hashinfo", "help",     "hist",
    "history",  "if",        "in",       "integer",  "jobs",     "kill",     "let",
    "local",    "login",     "logout",   "mapfile",  "nameref",  "newgrp",   "nocorrect",
    "noglob",   "popd",      "print",    "printf",   "pushd",    "pwd",      "r",
    "read",     "readarray", "readonly", "redirect", "repeat",   "return",   "select",
    "set",      "setopt",    "shift",    "shopt",    "source",   "stop",     "suspend",
    "test",     "then",      "time",     "times",    "trap",     "true",     "type",
    "typeset",  "ulimit",    "umask",    "unalias",  "unset",    "until",    "wait",
    "whence",   "while",
};

static int by_word(const void *key, const void *element)
{
    return strcmp(key, *(const char *const *)element);
}

static bool is_shell_word(const char *word)
{
    return bsearch(word, words_of_shells, sizeof(words_of_shells) / sizeof(words_of_shells[0]),
                   sizeof(words_of_shells[0]), by_word) != NULL;
}

/* Stands for itself in any word, quoted or not. */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_-./:,+@=%", c) != NULL);
}

/* Stands for itself within double quotes, but not outside. No '!': bash may replace it. */
static bool is_plain_in_quotes(char c)
{
    return is_plain(c) || (c != '\0' && strchr(" \t\n'~#&*()[]{}|;<>?^", c) != NULL);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool reserve(struct shell_words *w, size_t text)
{
    if (text > w->text_cap) {
        char *p = realloc(w->text, text);

        if (p == NULL)
            return false;
        w->text = p;
        w->text_cap = text;
    }
    /* Words need a blank between them. */
    if (text / 2 + 2 > w->v_cap) {
        char **v = realloc(w->v, (text / 2 + 2) * sizeof(*v));

        if (v == NULL)
            return false;
        w->v = v;
        w->v_cap = text / 2 + 2;
    }
    return true;
}

/* Copies what is between two quotes from *in, which is behind the first, to *out. */
static bool take_quoted(const char **in, char **out, char quote)
{
    const char *p = *in;
    char *q = *out;

    for (; *p != quote; p++) {
        if (*p == '\0' || (signed char)*p < 0 || (quote == '"' && !is_plain_in_quotes(*p)))
            return false;
        *q++ = *p;
    }
    *in = p + 1;
    *out = q;
    return true;
}

/* Copies one word from *in to *out, less its quotes. False when it needs a shell. */
static bool take_word(const char **in, char **out)
{
    while (**in != '\0' && !is_blank(**in)) {
        char c = *(*in)++;

        if (is_plain(c))
            *(*out)++ = c;
        else if ((c != '\'' && c != '"') || !take_quoted(in, out, c))
            return false;
    }
    *(*out)++ = '\0';
    return true;
}

/* The command word names a program for certain: no quotes, which hide what is a keyword and what
 * an assignment; no assignment, no job (%1), nothing that sh would take for its own option. */
static bool is_program_name(const char *start, const char *end, const char *word)
{
    return memchr(start, '\'', (size_t)(end - start)) == NULL &&
           memchr(start, '"', (size_t)(end - start)) == NULL && strpbrk(word, "=%") == NULL &&
           word[0] != '-' && word[0] != '+' && !is_shell_word(word);
}

bool shell_split(const char *command, struct shell_words *w)
{
    const char *in = command;
    char *out;

    w->n = 0;
    if (!reserve(w, strlen(command) + 1))
        return false;
    out = w->text;
    for (;;) {
        const char *start;

        while (is_blank(*in))
            in++;
        if (*in == '\0')
            break;
        start = in;
        w->v[w->n] = out;
        if (!take_word(&in, &out))
            return false;
        if (w->n == 0 && !is_program_name(start, in, w->v[0]))
            return false;
        w->n++;
    }
    w->v[w->n] = NULL;
    return w->n > 0;
}

void shell_words_fini(struct shell_words *w)
{
    free(w->v);
    free(w->text);
    memset(w, 0, sizeof(*w));
}
