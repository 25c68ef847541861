/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the distance between two words: Damerau and Levenshtein's, in the restricted form that
 * edits no letter twice. */
#include "input/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define WORD_MAX 40 /* longer words get no suggestion; keeps the tables on the stack */

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static size_t distance(const char *a, size_t alen, const char *b, size_t blen)
{
    size_t d[WORD_MAX + 1][WORD_MAX + 1]; /* d[i][j]: from the first i of a to the first j of b */

    for (size_t i = 0; i <= alen; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= blen; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= alen; i++) {
        for (size_t j = 1; j <= blen; j++) {
            size_t best = d[i - 1][j - 1] + !same(a[i - 1], b[j - 1]);

            best = min_size(best, d[i - 1][j] + 1);
            best = min_size(best, d[i][j - 1] + 1);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                best = min_size(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    }
    return d[alen][blen];
}

const char *suggest_name(const char *given, const char *const *names)
{
    size_t glen = strlen(given);
    size_t best = 3;
    const char *found = NULL;

    if (glen == 0 || glen > WORD_MAX)
        return NULL;
    for (; *names != NULL; names++) {
        size_t len = strlen(*names);
        size_t longer = len > glen ? len : glen;
        size_t dist;

        if (len > WORD_MAX || longer - min_size(len, glen) > 2)
            continue;
        dist = distance(given, glen, *names, len);
        if (dist < best && (dist < 2 || longer > 4)) {
            best = dist;
            found = *names;
        }
    }
    return found;
}
