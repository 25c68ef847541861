/* SPDX-License-Identifier: BSD-3-Clause */
/* A fuzz target: one function, called by libFuzzer or by driver.c. It ends the process (BUG) when
 * something does not hold. */
#ifndef PILOT_TESTS_FUZZ_H
#define PILOT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
