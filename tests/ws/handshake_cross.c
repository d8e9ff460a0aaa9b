/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake_cross.c - our handshake as a filter, for handshake_cross.py.
 *
 *   request HOST TARGET NONCE_HEX [-p SUBPROTOCOL]... [-h "Name: value"]...   writes a request
 *   check   HOST TARGET NONCE_HEX [-p SUBPROTOCOL]...   reads an answer, writes the status's name
 *                                                       and the subprotocol
 *   answer  [-p SUBPROTOCOL]...                         reads a request, writes the answer
 */
#include <stdio.h>
#include <stdlib.h>

#include "ws/handshake.h"

#define ITEMS_MAX 16u

static void *cross_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void cross_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

static const hpx_allocator allocator = {.alloc = cross_alloc, .free = cross_free};

static const char *subprotocols[ITEMS_MAX];
static uint32_t subprotocol_count;
static const char *headers[ITEMS_MAX];
static uint32_t header_count;

static _Noreturn void cross_die(const char *why)
{
    fprintf(stderr, "handshake_cross: %s\n", why);
    exit(2);
}

static void cross_options(char **argv)
{
    for (; argv[0] != NULL && argv[1] != NULL; argv += 2) {
        if (subprotocol_count == ITEMS_MAX || header_count == ITEMS_MAX) {
            cross_die("too many options");
        }
        if (strcmp(argv[0], "-p") == 0) {
            subprotocols[subprotocol_count++] = argv[1];
        } else if (strcmp(argv[0], "-h") == 0) {
            headers[header_count++] = argv[1];
        } else {
            cross_die("unknown option");
        }
    }
}

static hpxi_ws_request_config cross_config(char **argv)
{
    hpxi_ws_request_config config = {
        .host = argv[0],
        .target = argv[1],
        .headers = headers,
        .header_count = header_count,
        .subprotocols = subprotocols,
        .subprotocol_count = subprotocol_count,
    };
    for (size_t i = 0; i < HPXI_WS_NONCE_BYTES; i++) {
        unsigned int byte = 0;
        if (sscanf(argv[2] + 2 * i, "%2x", &byte) != 1) {
            cross_die("bad nonce");
        }
        config.nonce[i] = (uint8_t)byte;
    }
    hpx_error error;
    if (hpxi_ws_request_check(&config, &error) != HPX_OK) {
        cross_die(error.detail);
    }
    return config;
}

static void cross_print(const hpxi_buf *out)
{
    const hpx_span bytes = hpxi_buf_span(out);
    if (fwrite(bytes.data, 1, bytes.size, stdout) != bytes.size) {
        cross_die("cannot write");
    }
}

/* Reads a head from standard input, in small pieces. */
static hpx_status cross_read(hpxi_ws_head *head, hpx_error *error)
{
    uint8_t piece[7];
    hpx_status status = HPX_E_PARTIAL;
    size_t size;
    while (status == HPX_E_PARTIAL && (size = fread(piece, 1, sizeof(piece), stdin)) != 0) {
        uint8_t *data = piece;
        status = hpxi_ws_head_feed(head, &data, &size, error);
    }
    return status;
}

static void cross_check(const hpxi_ws_request_config *config)
{
    hpxi_ws_head head;
    hpxi_ws_answer answer = {0};
    hpx_error error = {0};
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, 16384, 100, &allocator);
    hpx_status status = cross_read(&head, &error);
    if (status == 1) {
        status = hpxi_ws_answer_check(&head, config, &answer, &error);
    }
    printf("%s\n%s\n", hpx_status_name(status), answer.subprotocol);
    hpxi_ws_head_fini(&head);
}

static void cross_answer(hpxi_buf *out)
{
    hpxi_ws_head head;
    hpxi_ws_offer offer;
    hpx_error error = {0};
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_SERVER, 16384, 100, &allocator);
    hpx_status status = cross_read(&head, &error);
    uint32_t http_status = status == HPX_E_HTTP_TOO_BIG ? 431 : 400;
    if (status == 1) {
        http_status = hpxi_ws_offer_check(&head, subprotocols, subprotocol_count, &offer, &error);
    }
    status = http_status == 101 ? hpxi_ws_answer_write(out, &offer)
                                : hpxi_ws_refusal_write(out, http_status, 0);
    hpxi_ws_head_fini(&head);
    if (status != HPX_OK) {
        cross_die("no memory");
    }
}

int main(int argc, char **argv)
{
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "answer") == 0) {
        cross_options(argv + 2);
        cross_answer(&out);
    } else if (argc >= 5) {
        cross_options(argv + 5);
        const hpxi_ws_request_config config = cross_config(argv + 2);
        if (strcmp(command, "request") != 0) {
            cross_check(&config);
        } else if (hpxi_ws_request_write(&out, &config) != HPX_OK) {
            cross_die("no memory");
        }
    } else {
        cross_die("usage: request|check|answer ...");
    }
    if (hpxi_buf_size(&out) != 0) {
        cross_print(&out);
    }
    hpxi_buf_fini(&out);
    return 0;
}
