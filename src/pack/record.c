/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the bytes of a record, and the names of segments. */
#include "pack/record.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define MAGIC 0x4b504d50u /* "PMPK" */
#define VERSION 1
#define HEADER_CRC_AT 36
#define CRC_POLYNOMIAL 0xedb88320u
#define CRC_STEP 8 /* bytes at a time: a table for each */

static uint32_t crc_tables[CRC_STEP][256];

static void make_crc_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;

        for (int bit = 0; bit < 8; bit++)
            v = v >> 1 ^ (v & 1 ? CRC_POLYNOMIAL : 0);
        crc_tables[0][i] = v;
    }
    for (int t = 1; t < CRC_STEP; t++)
        for (int i = 0; i < 256; i++)
            crc_tables[t][i] =
                crc_tables[t - 1][i] >> 8 ^ crc_tables[0][crc_tables[t - 1][i] & 0xff];
}

uint32_t pack_crc(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *p = data;

    if (crc_tables[0][1] == 0)
        make_crc_tables();
    crc = ~crc;
    for (; len >= CRC_STEP; len -= CRC_STEP, p += CRC_STEP)
        crc = crc_tables[7][p[0] ^ (crc & 0xff)] ^ crc_tables[6][p[1] ^ (crc >> 8 & 0xff)] ^
              crc_tables[5][p[2] ^ (crc >> 16 & 0xff)] ^ crc_tables[4][p[3] ^ crc >> 24] ^
              crc_tables[3][p[4]] ^ crc_tables[2][p[5]] ^ crc_tables[1][p[6]] ^ crc_tables[0][p[7]];
    for (; len > 0; len--)
        crc = crc >> 8 ^ crc_tables[0][(crc ^ *p++) & 0xff];
    return ~crc;
}

static void put(unsigned char *out, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get(const unsigned char *in, int bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)in[i] << 8 * i;
    return v;
}

void pack_header_encode(unsigned char out[PACK_HEADER_BYTES], const struct pack_record *r)
{
    put(out, MAGIC, 4);
    out[4] = VERSION;
    out[5] = (unsigned char)r->stream;
    put(out + 6, r->id_len, 2);
    put(out + 8, r->data_len, 4);
    put(out + 12, r->attempt, 4);
    put(out + 16, r->prev, 8);
    put(out + 24, r->run, 8);
    put(out + 32, r->body_crc, 4);
    put(out + HEADER_CRC_AT, pack_crc(0, out, HEADER_CRC_AT), 4);
}

bool pack_header_decode(const unsigned char in[PACK_HEADER_BYTES], struct pack_record *r)
{
    if (get(in, 4) != MAGIC || in[4] != VERSION || in[5] >= PACK_STREAMS)
        return false;
    r->stream = (enum pack_stream)in[5];
    r->id_len = (uint32_t)get(in + 6, 2);
    r->data_len = (uint32_t)get(in + 8, 4);
    r->attempt = (uint32_t)get(in + 12, 4);
    r->prev = get(in + 16, 8);
    r->run = get(in + 24, 8);
    r->body_crc = (uint32_t)get(in + 32, 4);
    return r->id_len > 0 && r->id_len <= PACK_ID_MAX && r->data_len <= PACK_DATA_MAX &&
           get(in + HEADER_CRC_AT, 4) == pack_crc(0, in, HEADER_CRC_AT);
}

bool pack_path(char *out, size_t size, const char *dir, uint32_t segment)
{
    return snprintf(out, size, "%s/output-%04u.pack", dir, segment) < (int)size;
}

uint32_t pack_newest(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    uint32_t newest = 0;

    if (d == NULL)
        return 0;
    while ((e = readdir(d)) != NULL) {
        unsigned n;
        int end = 0;

        if (sscanf(e->d_name, "output-%9u.pack%n", &n, &end) == 1 && end > 0 &&
            e->d_name[end] == '\0' && n > newest)
            newest = n;
    }
    closedir(d);
    return newest;
}
