/* SPDX-License-Identifier: BSD-3-Clause */
/* What a terminal would show: bytes in, rows of text out. Knows carriage return, newline, erase to
 * the end of the line and colours, and fails on everything else, so that a test sees when something
 * else gets through. Each UTF-8 character is one cell. */
#ifndef TESTS_SCREEN_MODEL_H
#define TESTS_SCREEN_MODEL_H

#include <stdbool.h>
#include <string.h>

#define MODEL_ROWS 4096
#define MODEL_COLUMNS 256

struct model {
    unsigned width;
    unsigned row, column; /* the cursor */
    unsigned last_row;    /* greatest row touched */
    bool wrapped;         /* some character went beyond the last column */
    bool full;            /* the last column was written: the next character wraps */
    bool strange;         /* a byte or sequence that is not known here */
    bool coloured;        /* a colour is on */
    bool coloured_ever;
    unsigned erases;
    char cell[MODEL_ROWS][MODEL_COLUMNS][5];
};

static inline void model_init(struct model *m, unsigned width)
{
    memset(m, 0, sizeof(*m));
    m->width = width;
}

static inline void model_newline(struct model *m)
{
    if (m->row + 1 < MODEL_ROWS)
        m->row++;
    else
        m->strange = true;
    if (m->row > m->last_row)
        m->last_row = m->row;
    m->column = 0;
    m->full = false;
}

static inline size_t model_escape(struct model *m, const char *s, size_t len)
{
    size_t i = 2;

    while (i < len && strchr("0123456789;", s[i]) != NULL)
        i++;
    if (len < 3 || s[1] != '[' || i == len || (s[i] != 'm' && s[i] != 'K')) {
        m->strange = true;
        return 1;
    }
    if (s[i] == 'm') {
        m->coloured = !(i == 2 || (i == 3 && s[2] == '0'));
        m->coloured_ever = m->coloured_ever || m->coloured;
    } else {
        m->erases++;
        for (unsigned c = m->column; c < MODEL_COLUMNS; c++)
            m->cell[m->row][c][0] = '\0';
    }
    return i + 1;
}

static inline size_t model_char(struct model *m, const char *s, size_t len)
{
    size_t n = 1;

    while (n < len && n < 4 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n++;
    if (m->full) {
        model_newline(m);
        m->wrapped = true;
    }
    memcpy(m->cell[m->row][m->column], s, n);
    m->cell[m->row][m->column][n] = '\0';
    if (m->column + 1 < m->width)
        m->column++;
    else
        m->full = true;
    return n;
}

static inline void model_feed(struct model *m, const char *s, size_t len)
{
    while (len > 0) {
        size_t n = 1;

        if (*s == '\r') {
            m->column = 0;
            m->full = false;
        } else if (*s == '\n') {
            model_newline(m);
        } else if (*s == '\x1b') {
            n = model_escape(m, s, len);
        } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            m->strange = true;
        } else {
            n = model_char(m, s, len);
        }
        s += n;
        len -= n;
    }
}

/* The text of a row, without spaces at its end. */
static inline const char *model_row(const struct model *m, unsigned row)
{
    static char text[MODEL_COLUMNS * 5];
    size_t len = 0;

    text[0] = '\0';
    for (unsigned c = 0; c < MODEL_COLUMNS && m->cell[row][c][0] != '\0'; c++) {
        strcpy(text + len, m->cell[row][c]);
        len += strlen(text + len);
    }
    while (len > 0 && text[len - 1] == ' ')
        text[--len] = '\0';
    return text;
}

/* Rows that show exactly text. */
static inline unsigned model_count(const struct model *m, const char *text)
{
    unsigned n = 0;

    for (unsigned row = 0; row <= m->last_row; row++)
        n += strcmp(model_row(m, row), text) == 0;
    return n;
}

#endif
