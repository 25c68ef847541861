/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the folding of node lists. Must not know what a map means: equal text is equal. */
#include "report/nodes.h"

#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "report/text.h"

#define NAMES_MAX 200 /* bytes of a folded list of names */

/* A node's name cut at its number: the last run of digits before the first dot. */
struct name {
    const char *text;
    int before, digits; /* lengths; digits 0: there is no number */
    uint64_t number;
};

static void parse_name(struct name *n, const char *text)
{
    size_t end = strcspn(text, "."), start;

    memset(n, 0, sizeof(*n));
    n->text = text;
    while (end > 0 && !(text[end - 1] >= '0' && text[end - 1] <= '9'))
        end--;
    start = end;
    while (start > 0 && text[start - 1] >= '0' && text[start - 1] <= '9')
        start--;
    if (end == start || end - start > 18)
        return;
    n->before = (int)start;
    n->digits = (int)(end - start);
    for (size_t i = start; i < end; i++)
        n->number = n->number * 10 + (uint64_t)(text[i] - '0');
}

static const char *after(const struct name *n)
{
    return n->text + n->before + n->digits;
}

/* Names of one family differ in their number only. */
static int compare_family(const struct name *a, const struct name *b)
{
    int c = (a->digits > 0) - (b->digits > 0);

    if (c != 0)
        return c;
    if (a->digits == 0)
        return strcmp(a->text, b->text);
    c = a->before - b->before;
    if (c == 0)
        c = memcmp(a->text, b->text, (size_t)a->before);
    return c != 0 ? c : strcmp(after(a), after(b));
}

static int compare_names(const void *pa, const void *pb)
{
    const struct name *a = pa, *b = pb;
    int c = compare_family(a, b);

    if (c == 0)
        c = (a->number > b->number) - (a->number < b->number);
    return c != 0 ? c : a->digits - b->digits;
}

/* b directly follows a in counting: 9 10, 09 10, but not 09 010. */
static bool follows(const struct name *a, const struct name *b)
{
    bool zeros = a->text[a->before] == '0' || b->text[b->before] == '0';

    return b->number == a->number + 1 && (a->digits == b->digits || !zeros);
}

static void fold_family(struct buf *b, const struct name *v, size_t count)
{
    const char *comma = "";

    text_add(b, "%.*s[", v->before, v->text);
    for (size_t i = 0, j; i < count && b->len < NAMES_MAX; i = j + 1) {
        for (j = i; j + 1 < count && follows(&v[j], &v[j + 1]); j++)
            ;
        text_add(b, "%s%.*s", comma, v[i].digits, v[i].text + v[i].before);
        if (j > i)
            text_add(b, "-%.*s", v[j].digits, v[j].text + v[j].before);
        comma = ",";
        if (j + 1 < count && b->len >= NAMES_MAX)
            text_add(b, ",...");
    }
    text_add(b, "]%s", after(v));
}

static void fold_names(struct buf *b, struct name *v, size_t count)
{
    qsort(v, count, sizeof(*v), compare_names);
    for (size_t i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && compare_family(&v[i], &v[i + n]) == 0; n++)
            ;
        if (i > 0)
            text_add(b, ",");
        if (b->len >= NAMES_MAX) {
            text_add(b, "...");
            return;
        }
        if (n == 1 || v[i].digits == 0)
            text_add(b, "%s", v[i].text);
        else
            fold_family(b, v + i, n);
    }
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static void node_line(struct screen *s, const char *names, unsigned count,
                      const struct report_node *node)
{
    struct buf *b = screen_begin_bare(s);
    char memory[32];

    if (b == NULL)
        return;
    text_add(b, "  ");
    text_safe(b, names, strlen(names), s->utf8, false, 0);
    if (count > 1)
        text_add(b, " (%u nodes)", count);
    if (node->map != NULL && *node->map != '\0') {
        text_add(b, ": ");
        text_safe(b, node->map, strlen(node->map), s->utf8, false, 0);
    } else {
        text_add(b, ": %u core%s", node->cores, node->cores == 1 ? "" : "s");
    }
    if (node->memory > 0)
        text_add(b, "; memory: %s", units_size_text(node->memory, memory, sizeof(memory)));
    screen_end(s);
}

static bool alike(const struct report_node *a, const struct report_node *b)
{
    char a_memory[32], b_memory[32];

    /* As it is shown: machines of one kind differ by some KiB. */
    units_size_text(a->memory, a_memory, sizeof(a_memory));
    units_size_text(b->memory, b_memory, sizeof(b_memory));
    return a->cores == b->cores && strcmp(a_memory, b_memory) == 0 &&
           strcmp(a->map ? a->map : "", b->map ? b->map : "") == 0;
}

/* names has room for count entries. */
static void group_lines(struct screen *s, const struct report_node *nodes, unsigned count,
                        struct name *names, unsigned char *done)
{
    unsigned lines = 0, left = count;
    struct buf folded;

    buf_init(&folded);
    for (unsigned i = 0; i < count && lines < NODES_EACH; i++) {
        unsigned n = 0;

        if (done[i])
            continue;
        for (unsigned j = i; j < count; j++) {
            if (done[j] || !alike(&nodes[i], &nodes[j]))
                continue;
            done[j] = 1;
            parse_name(&names[n++], nodes[j].name);
        }
        buf_clear(&folded);
        fold_names(&folded, names, n);
        buf_put(&folded, "", 1);
        if (buf_ok(&folded))
            node_line(s, (const char *)folded.data, n, &nodes[i]);
        left -= n;
        lines++;
    }
    buf_fini(&folded);
    if (left > 0 && screen_begin_bare(s) != NULL) {
        text_add(&s->lines, "  ... and %u more nodes", left);
        screen_end(s);
    }
}

void nodes_write(struct screen *s, const struct report_node *nodes, unsigned count)
{
    struct name *names = NULL;
    unsigned char *done = NULL;

    if (count > NODES_EACH) {
        names = calloc(count, sizeof(*names));
        done = calloc(count, 1);
    }
    if (names != NULL && done != NULL)
        group_lines(s, nodes, count, names, done);
    else
        for (unsigned i = 0; i < count; i++)
            node_line(s, nodes[i].name, 1, &nodes[i]);
    free(names);
    free(done);
}
