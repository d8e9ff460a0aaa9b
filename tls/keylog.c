/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keylog.c - NSS key log lines ("CLIENT_RANDOM ...") for a packet analyser, only when asked for.
 *
 * Threads   Sessions of every thread append to one file: a line is one write() to a descriptor
 *           opened with O_APPEND. It blocks the writer for as long as the file system takes; a
 *           debugging aid, not for production.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tls/internal.h"

#define KEYLOG_RANDOM_BYTES     32
#define KEYLOG_SECRET_BYTES_MAX 64
#define KEYLOG_LINE_BYTES_MAX   (40 + 2 * KEYLOG_RANDOM_BYTES + 1 + 2 * KEYLOG_SECRET_BYTES_MAX + 2)

#if defined(HAVE_SECRET_CALLBACK)

static size_t keylog_hex(char *to, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        to[2 * i] = digits[bytes[i] >> 4];
        to[2 * i + 1] = digits[bytes[i] & 0x0F];
    }
    return 2 * size;
}

static void keylog_write(
    WOLFSSL *ssl,
    const hpx_tls_context *context,
    const char *label,
    const uint8_t *secret,
    int secret_bytes)
{
    HPX_ASSERT(context->keylog_fd >= 0);
    uint8_t random[KEYLOG_RANDOM_BYTES];
    if (wolfSSL_get_client_random(ssl, random, sizeof(random)) != sizeof(random) ||
        secret_bytes <= 0 || secret_bytes > KEYLOG_SECRET_BYTES_MAX) {
        return;
    }
    char line[KEYLOG_LINE_BYTES_MAX];
    HPX_ASSERT(strlen(label) < 40);
    size_t size = (size_t)snprintf(line, sizeof(line), "%s ", label);
    size += keylog_hex(line + size, random, sizeof(random));
    line[size++] = ' ';
    size += keylog_hex(line + size, secret, (size_t)secret_bytes);
    line[size++] = '\n';
    HPX_ASSERT(size <= sizeof(line));
    /* A full disk loses the line and nothing else. */
    (void)!write(context->keylog_fd, line, size);
    explicit_bzero(line, sizeof(line));
}

static int keylog_on_master_secret(WOLFSSL *ssl, void *secret, int secret_bytes, void *context)
{
    keylog_write(ssl, context, "CLIENT_RANDOM", secret, secret_bytes);
    return 0;
}

static int keylog_on_tls13_secret(
    WOLFSSL *ssl, int id, const unsigned char *secret, int secret_bytes, void *context)
{
    const char *label = NULL;
    switch (id) {
    case CLIENT_HANDSHAKE_TRAFFIC_SECRET:
        label = "CLIENT_HANDSHAKE_TRAFFIC_SECRET";
        break;
    case SERVER_HANDSHAKE_TRAFFIC_SECRET:
        label = "SERVER_HANDSHAKE_TRAFFIC_SECRET";
        break;
    case CLIENT_TRAFFIC_SECRET:
        label = "CLIENT_TRAFFIC_SECRET_0";
        break;
    case SERVER_TRAFFIC_SECRET:
        label = "SERVER_TRAFFIC_SECRET_0";
        break;
    case EXPORTER_SECRET:
        label = "EXPORTER_SECRET";
        break;
    default:
        break;
    }
    if (label != NULL) {
        keylog_write(ssl, context, label, secret, secret_bytes);
    }
    return 0;
}

hpx_status hpxi_tls_keylog_open(const char *path, int *out_fd, hpx_error *error)
{
    HPX_ASSERT(path != NULL);
    const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        const int reason = errno;
        const hpx_status status = hpxi_tls_error_set(
            error,
            HPX_E_TLS_CONFIG,
            HPX_STAGE_CONFIG,
            0,
            "keylog_file '%s' cannot be opened: %s",
            path,
            strerrordesc_np(reason));
        if (error != NULL) {
            error->os_errno = reason;
        }
        return status;
    }
    *out_fd = fd;
    return HPX_OK;
}

bool hpxi_tls_keylog_attach(WOLFSSL *ssl, hpx_tls_context *context)
{
    if (context->keylog_fd < 0) {
        return true;
    }
    return wolfSSL_set_secret_cb(ssl, keylog_on_master_secret, context) == WOLFSSL_SUCCESS &&
           wolfSSL_set_tls13_secret_cb(ssl, keylog_on_tls13_secret, context) == WOLFSSL_SUCCESS;
}

#else

hpx_status hpxi_tls_keylog_open(const char *path, int *out_fd, hpx_error *error)
{
    (void)path;
    (void)out_fd;
    return hpxi_tls_error_set(
        error,
        HPX_E_INVALID,
        HPX_STAGE_CONFIG,
        0,
        "keylog_file: this wolfSSL is built without HAVE_SECRET_CALLBACK");
}

bool hpxi_tls_keylog_attach(WOLFSSL *ssl, hpx_tls_context *context)
{
    (void)ssl;
    HPX_ASSERT(context->keylog_fd < 0);
    return true;
}

#endif

void hpxi_tls_keylog_close(int fd)
{
    HPX_ASSERT(fd >= 0);
    (void)close(fd);
}
