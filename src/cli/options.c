/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/units.h"
#include "input/suggest.h"

#define MAX_SECONDS 1e9

static const struct option_spec *find(const struct option_spec *specs, const char *name, size_t len)
{
    for (; specs->name != NULL; specs++)
        if (strlen(specs->name) == len && strncmp(specs->name, name, len) == 0)
            return specs;
    return NULL;
}

static int unknown(const struct option_spec *specs, const char *arg, struct pilot_error *err)
{
    const char *names[64], *near;
    char given[64];
    size_t n = 0;

    while (*arg == '-')
        arg++;
    snprintf(given, sizeof(given), "%.*s", (int)strcspn(arg, "="), arg);
    for (; specs->name != NULL && n < 63; specs++)
        names[n++] = specs->name;
    names[n] = NULL;
    near = suggest_name(given, names);
    if (near != NULL)
        return err_set(err, PILOT_EINVAL, "unknown option '--%s'; did you mean '--%s'?", given,
                       near);
    return err_set(err, PILOT_EINVAL, "unknown option '--%s'; --help lists the options", given);
}

static int set_count(const struct option_spec *spec, const char *value, unsigned *target,
                     struct pilot_error *err)
{
    unsigned long n;
    char *end;

    errno = 0;
    n = strtoul(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || n == 0 || n > INT_MAX)
        return err_set(err, PILOT_EINVAL,
                       "--%s '%.80s': write a whole number from 1 on, such as --%s 8", spec->name,
                       value, spec->name);
    *target = (unsigned)n;
    return 0;
}

static int set_number(const struct option_spec *spec, const char *value, int *target,
                      struct pilot_error *err)
{
    bool has_sign = value[0] == '-' || value[0] == '+';
    char *end;
    long n;

    errno = 0;
    n = strtol(value, &end, 10);
    if (value[has_sign] < '0' || value[has_sign] > '9' || *end != '\0' || errno != 0 ||
        n < INT_MIN || n > INT_MAX)
        return err_set(err, PILOT_EINVAL, "--%s '%.80s': write a whole number, such as --%s 5",
                       spec->name, value, spec->name);
    *target = (int)n;
    return 0;
}

static int append(struct option_list *list, const char *value, struct pilot_error *err)
{
    const char **v = realloc(list->v, (list->len + 2) * sizeof(*v));

    if (v == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for the options");
    list->v = v;
    v[list->len++] = value;
    v[list->len] = NULL;
    return 0;
}

static int set_seconds(const struct option_spec *spec, const char *value, int64_t *target,
                       struct pilot_error *err)
{
    double s;
    char *end;

    errno = 0;
    s = strtod(value, &end);
    if (end == value || *end != '\0' || errno != 0 || !(s >= 0) || s > MAX_SECONDS)
        return err_set(err, PILOT_EINVAL,
                       "--%s '%.80s': write a number of seconds, such as --%s 2.5", spec->name,
                       value, spec->name);
    *target = (int64_t)ceil(s * 1000);
    return 0;
}

static int set_time(const struct option_spec *spec, const char *value, int64_t *target,
                    struct pilot_error *err)
{
    if (units_parse_time(value, target))
        return 0;
    return err_set(err, PILOT_EINVAL,
                   "--%s '%.80s': write seconds or hours:minutes:seconds, such as --%s 3600 or "
                   "--%s 1:00:00",
                   spec->name, value, spec->name, spec->name);
}

static int set_size(const struct option_spec *spec, const char *value, int64_t *target,
                    struct pilot_error *err)
{
    if (units_parse_size(value, target))
        return 0;
    return err_set(err, PILOT_EINVAL, "--%s '%.80s': write a size, such as --%s 500M", spec->name,
                   value, spec->name);
}

static int set_choice(const struct option_spec *spec, const char *value, void *target,
                      struct pilot_error *err)
{
    char words[128] = "";
    size_t at = 0;
    unsigned i = 0;

    for (; spec->choices[i] != NULL && strcmp(spec->choices[i], value) != 0; i++)
        at += (size_t)snprintf(words + at, sizeof(words) - at, "%s%s", i > 0 ? ", " : "",
                               spec->choices[i]);
    if (spec->choices[i] == NULL)
        return err_set(err, PILOT_EINVAL, "--%s '%.80s': write one of %s", spec->name, value,
                       words);
    memcpy(target, &i, sizeof(i));
    return 0;
}

static int set(const struct option_spec *spec, const char *value, void *target,
               struct pilot_error *err)
{
    char *at = (char *)target + spec->offset;

    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)at = true;
        return 0;
    case OPTION_COUNT:
        return set_count(spec, value, (unsigned *)(void *)at, err);
    case OPTION_NUMBER:
        return set_number(spec, value, (int *)(void *)at, err);
    case OPTION_SECONDS:
        return set_seconds(spec, value, (int64_t *)(void *)at, err);
    case OPTION_TIME:
        return set_time(spec, value, (int64_t *)(void *)at, err);
    case OPTION_SIZE:
        return set_size(spec, value, (int64_t *)(void *)at, err);
    case OPTION_CHOICE:
        return set_choice(spec, value, at, err);
    case OPTION_STRING:
    case OPTION_LIST:
        break;
    }
    if (value[0] == '\0')
        return err_set(err, PILOT_EINVAL, "--%s is empty: write --%s %s", spec->name, spec->name,
                       spec->value);
    if (spec->kind == OPTION_LIST)
        return append((struct option_list *)(void *)at, value, err);
    *(const char **)(void *)at = value;
    return 0;
}

/* One option at argv[*i], which it moves to the last word it used. */
static int parse_one(const struct option_spec *specs, int argc, char **argv, int *i, void *target,
                     struct pilot_error *err)
{
    const char *arg = argv[*i], *value = NULL, *equals = strchr(arg, '=');
    const struct option_spec *spec = NULL;

    if (arg[1] == '-')
        spec = find(specs, arg + 2, equals ? (size_t)(equals - arg - 2) : strlen(arg + 2));
    else if (strcmp(arg, "-h") == 0)
        spec = find(specs, "help", 4);
    else if (strcmp(arg, "-f") == 0)
        spec = find(specs, "follow", 6);
    if (spec == NULL)
        return unknown(specs, arg, err);
    if (spec->kind == OPTION_FLAG) {
        if (equals != NULL)
            return err_set(err, PILOT_EINVAL, "--%s takes no value: write --%s", spec->name,
                           spec->name);
    } else if (equals != NULL) {
        value = equals + 1;
    } else if (*i + 1 < argc) {
        value = argv[++*i];
    } else {
        return err_set(err, PILOT_EINVAL, "--%s needs a value: write --%s %s", spec->name,
                       spec->name, spec->value);
    }
    return set(spec, value, target, err);
}

int options_parse(const struct option_spec *specs, int argc, char **argv, void *target,
                  const char **argument, struct pilot_error *err)
{
    bool options = true;
    int rc;

    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            rc = parse_one(specs, argc, argv, &i, target, err);
            if (rc < 0)
                return rc;
        } else if (*argument != NULL) {
            return err_set(err, PILOT_EINVAL,
                           "'%.200s' is one argument too many after '%.200s'; give one task file",
                           argv[i], *argument);
        } else {
            *argument = argv[i];
        }
    }
    return 0;
}

int options_parse_many(const struct option_spec *specs, int argc, char **argv, void *target,
                       struct option_list *arguments, struct pilot_error *err)
{
    bool options = true;
    int rc = 0;

    for (int i = 1; rc == 0 && i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && argv[i][0] == '-' && argv[i][1] != '\0')
            rc = parse_one(specs, argc, argv, &i, target, err);
        else
            rc = append(arguments, argv[i], err);
    }
    return rc;
}

void options_print(const struct option_spec *specs)
{
    for (; specs->name != NULL; specs++) {
        char left[64];

        snprintf(left, sizeof(left), "--%s%s%s", specs->name, specs->value ? " " : "",
                 specs->value ? specs->value : "");
        printf("  %-22s %s\n", left, specs->help);
    }
}
