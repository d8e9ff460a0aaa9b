/* SPDX-License-Identifier: Apache-2.0 */
/* handshake_key.h - private to the handshake: the Sec-WebSocket-Key of a nonce. */
#ifndef HPXI_WS_HANDSHAKE_KEY_H
#define HPXI_WS_HANDSHAKE_KEY_H

#include "ws/handshake.h"

/* base64(nonce) into key[HPXI_WS_KEY_BYTES + 1], NUL-terminated. */
void hpxi_ws_key_of(char *key, const uint8_t nonce[HPXI_WS_NONCE_BYTES]);

#endif /* HPXI_WS_HANDSHAKE_KEY_H */
