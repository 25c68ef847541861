/* SPDX-License-Identifier: BSD-3-Clause */
/* The two clocks. Everything below the loops takes "now" as an argument instead. */
#ifndef PILOT_COMMON_CLOCK_H
#define PILOT_COMMON_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC: for timeouts and durations. */
int64_t clock_mono_ms(void);

/* Microseconds of CLOCK_MONOTONIC. */
int64_t clock_mono_us(void);

/* Milliseconds since 1970-01-01 UTC: for what people read and what is stored. */
int64_t clock_wall_ms(void);

#endif
