/* SPDX-License-Identifier: Apache-2.0 */
/*
 * duo.h - a client and a server session joined in memory, with every cut of the byte stream.
 *
 * A `duo` owns both sessions and the bytes on their way. Bytes are handed over in pieces of
 * `cut_bytes` (0: all there is; DUO_CUT_RANDOM: of random size from the seed), each in a block of
 * its own size, so that a sanitizer sees a read beyond it.
 */
#ifndef HPX_TESTS_TLS_DUO_H
#define HPX_TESTS_TLS_DUO_H

#include "tests/support/failing_allocator.h"
#include "tests/tls/certs.h"
#include "tls/internal.h"

#define DUO_CUT_RANDOM SIZE_MAX
#define DUO_PLAIN_MAX  32768
#define DUO_ALPN_MAX   64

/* A root, a server's context and a client's context that trusts the root. */
typedef struct duo_site {
    char folder[CERTS_PATH_MAX];
    char cert_file[CERTS_PATH_MAX];
    char key_file[CERTS_PATH_MAX];
    char root_pem[CERTS_PEM_MAX];
    certs_identity root;
    certs_identity leaf;
    hpx_tls_context *server;
    hpx_tls_context *client;
} duo_site;

/* A site whose server shows the leaf of `spec`, signed by the root. */
void duo_site_make(duo_site *site, const certs_spec *leaf);
/* As above, with this chain (leaf first) and the client trusting `root`; site->leaf holds the key.
 */
void duo_site_make_chain(duo_site *site, const certs_identity *const *chain, size_t count);
void duo_site_free(duo_site *site);
/* The settings of the site's own contexts, to change and make others of. Borrow from the site. */
hpx_tls_config duo_server_config(const duo_site *site);
hpx_tls_config duo_client_config(const duo_site *site);
/* Contexts that must be; released by the caller. */
hpx_tls_context *duo_server_context(const hpx_tls_config *config);
hpx_tls_context *duo_client_context(const hpx_tls_config *config);
/* The server speaks TLS 1.2 only from now on. */
void duo_site_force_tls12(duo_site *site);

typedef struct duo {
    hpxi_tls *client;
    hpxi_tls *server;
    hpxi_buf to_server;
    hpxi_buf to_client;
    hpx_error client_error;
    hpx_error server_error;
    hpx_status client_status; /* of the handshake: 1, HPX_E_PARTIAL, or its failure */
    hpx_status server_status;
    size_t cut_bytes;
    uint64_t seed;
    bool
        flip_from_client; /* flip a bit of byte flip_at (from 1; 0: none) of what this side sends */
    bool flipped;
    size_t flip_at;
    hpx_allocator allocator;
    failing_allocator memory;
} duo;

/* Makes both sessions. */
void duo_make_with(
    duo *d, const hpxi_tls_session_config *client, const hpxi_tls_session_config *server);
void duo_make(duo *d, duo_site *site, const char *server_name, bool insecure);
/* ALPN lists as "h2,http/1.1"; NULL: none. */
void duo_make_alpn(
    duo *d,
    duo_site *site,
    const char *server_name,
    const char *client_alpn,
    const char *server_alpn);
/* Checks that nothing is left of what the sessions allocated. */
void duo_free(duo *d);
/* Runs the handshake until both sides are done or one failed. True: both are done. */
bool duo_handshake(duo *d);

/* Moves what is under way to one side and returns the plain bytes it got, appended to `plain`.
 * Status: HPX_E_PARTIAL, 0 after close_notify, or the failure. */
hpx_status duo_receive(duo *d, bool at_client, hpxi_buf *plain);
void duo_send(duo *d, bool from_client, const uint8_t *bytes, size_t size);

/*
 * While on, wolfSSL's allocator counts live blocks and fails the nth allocation from now (0-based;
 * SIZE_MAX never).
 */
void duo_wolf_memory_start(size_t fail_at);
/* Bytes of the blocks that are live since the start. */
size_t duo_wolf_memory_bytes(void);
/* Ends that. Returns how many allocations were asked for; *live gets the blocks not yet freed. */
size_t duo_wolf_memory_stop(ptrdiff_t *live);

uint64_t duo_random(uint64_t *seed);
/* Bytes that tell their position. */
void duo_fill(uint8_t *to, size_t size, uint64_t start);

#endif /* HPX_TESTS_TLS_DUO_H */
