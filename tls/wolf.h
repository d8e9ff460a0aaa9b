/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wolf.h - the one place in tls/ that includes wolfSSL. options.h must come first, so no sorting:
 * without it wolfSSL's structures have another layout than the library was built with.
 */
#ifndef HPXI_TLS_WOLF_H
#define HPXI_TLS_WOLF_H
/* clang-format off */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/memory.h>
#include <wolfssl/wolfcrypt/sha256.h>
/* clang-format on */

#if defined(OPENSSL_COMPATIBLE_DEFAULTS)
#error "this wolfSSL verifies no peer by default; run tools/setup"
#endif
#if defined(NO_WOLFSSL_CM_VERIFY) && !defined(WOLFSSL_ALWAYS_VERIFY_CB)
#error "this wolfSSL tells us of no certificate that it accepts, so names could not be checked"
#endif

#endif /* HPXI_TLS_WOLF_H */
