/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the rules for ids. Two different ids that pass name two different directories, since there
 * are no empty, "." or ".." components; a task may lie below another one ("a" and "a/b"). */
#include "input/ids.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "input/text.h"

static bool has_control_or_broken(const char *id, size_t len)
{
    while (len > 0) {
        uint32_t code;
        size_t n;

        if (*id >= 0x20 && *id < 0x7f) {
            id++;
            len--;
            continue;
        }
        n = text_char(id, len, &code);

        if (n == 0 || code < 0x20 || (code >= 0x7f && code <= 0x9f))
            return true;
        id += n;
        len -= n;
    }
    return false;
}

/* stdout.txt, stderr.txt and stdout.N.txt, stderr.N.txt: the pilot's own files in every task's
 * directory. */
static bool is_output_name(const char *name, size_t len)
{
    const char *p = name + 6;
    const char *end = name + len;

    if (len < 10 || (memcmp(name, "stdout", 6) != 0 && memcmp(name, "stderr", 6) != 0))
        return false;
    if (*p == '.' && isdigit((unsigned char)p[1])) {
        p++;
        while (p < end && isdigit((unsigned char)*p))
            p++;
    }
    return end - p == 4 && memcmp(p, ".txt", 4) == 0;
}

/* What is wrong with one component, or NULL. */
static const char *component_fault(const char *name, size_t len)
{
    if (len == 0)
        return "has an empty part between slashes; remove the extra '/'";
    if (len == 1 && name[0] == '.')
        return "has a part \".\"; leave it out";
    if (len == 2 && name[0] == '.' && name[1] == '.')
        return "would leave the work directory; an id must not contain \"..\"";
    if (len > ID_COMPONENT_BYTES_MAX)
        return "has a part longer than 255 bytes, the most a file name may have; shorten it";
    if (is_output_name(name, len))
        return "is called like the files that hold a task's output; choose another id";
    return NULL;
}

static const char *reserved_above(const char *id, const char *const *reserved)
{
    for (; reserved != NULL && *reserved != NULL; reserved++) {
        size_t len;

        if (**reserved != *id)
            continue;
        len = strlen(*reserved);
        if (strncmp(id, *reserved, len) == 0 && (id[len] == '\0' || id[len] == '/'))
            return *reserved;
    }
    return NULL;
}

bool id_check(const char *id, const char *const *reserved, char *why, size_t size)
{
    size_t len = strlen(id);
    const char *fault = NULL;
    const char *taken;

    if (len == 0)
        fault = "is empty; give a name or leave the id out";
    else if (len > ID_BYTES_MAX)
        fault = "is longer than 1024 bytes; shorten it";
    else if (id[0] == '/')
        fault = "would leave the work directory; an id must not start with '/'";
    else if (has_control_or_broken(id, len))
        fault = "has control characters or is not UTF-8; use printable characters";
    for (const char *p = id; fault == NULL; p++) {
        size_t part = strcspn(p, "/");

        fault = component_fault(p, part);
        p += part;
        if (*p == '\0')
            break;
    }
    if (fault != NULL) {
        snprintf(why, size, "%s", fault);
        return false;
    }
    taken = reserved_above(id, reserved);
    if (taken != NULL)
        snprintf(why, size, "would lie at \"%s\", which the pilot uses itself; choose another id",
                 taken);
    return taken == NULL;
}
