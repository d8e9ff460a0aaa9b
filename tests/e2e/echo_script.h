/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo_script.h - what every echoing peer has to pass, and payloads for it.
 */
#ifndef HPX_TESTS_E2E_ECHO_SCRIPT_H
#define HPX_TESTS_E2E_ECHO_SCRIPT_H

#include "tests/e2e/client.h"

#define ECHO_BYTES_MAX (16u << 20)

/* Bytes that differ with the seed and the place; text is UTF-8 with 1 to 4 bytes per character. */
void echo_fill(uint8_t *to, size_t size, hpx_message_kind kind, uint32_t seed);

/* Sends messages of 0, 1, 125, ... up to `bytes_max` bytes of both kinds and has them back. */
void echo_sizes(e2e_client *client, size_t bytes_max);

/* Sends `count` small messages without waiting and has them back in their order. */
void echo_pipelined(e2e_client *client, uint32_t count);

#endif /* HPX_TESTS_E2E_ECHO_SCRIPT_H */
