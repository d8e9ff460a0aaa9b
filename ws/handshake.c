/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake.c - what both roles share: the key and its answer (RFC 6455 4.1, 4.2.2).
 *
 * Threads   Any; no state. Memory: the stack.
 */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/sha.h>

#include "ws/handshake_key.h"

static const char handshake_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* Base64 with padding and without line ends, NUL-terminated. `to` has to_bytes and a NUL. */
static void handshake_base64(char *to, word32 to_bytes, const uint8_t *from, word32 from_bytes)
{
    word32 written = to_bytes + 1;
    const int result = Base64_Encode_NoNl(from, from_bytes, (byte *)to, &written);
    HPX_ASSERT(result == 0);
    HPX_ASSERT(written == to_bytes);
    to[to_bytes] = '\0';
}

void hpxi_ws_key_of(char *key, const uint8_t nonce[HPXI_WS_NONCE_BYTES])
{
    handshake_base64(key, HPXI_WS_KEY_BYTES, nonce, HPXI_WS_NONCE_BYTES);
}

void hpxi_ws_accept_of(char *accept, const char *key, size_t key_bytes)
{
    HPX_ASSERT(key_bytes != 0);
    HPX_ASSERT(key_bytes <= HPXI_WS_KEY_BYTES);
    uint8_t digest[WC_SHA_DIGEST_SIZE];
    wc_Sha sha;
    int result = wc_InitSha(&sha);
    if (result == 0) {
        result = wc_ShaUpdate(&sha, (const byte *)key, (word32)key_bytes);
    }
    if (result == 0) {
        result = wc_ShaUpdate(&sha, (const byte *)handshake_guid, sizeof(handshake_guid) - 1);
    }
    if (result == 0) {
        result = wc_ShaFinal(&sha, digest);
    }
    HPX_ASSERT(result == 0); /* in software, and the arguments are ours */
    wc_ShaFree(&sha);
    handshake_base64(accept, HPXI_WS_ACCEPT_BYTES, digest, sizeof(digest));
}
