/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certs.h - a throw-away certificate authority and a server certificate for the local exchange.
 */
#ifndef HPX_TOOL_CERTS_H
#define HPX_TOOL_CERTS_H

#include <stdbool.h>

#include <hpx/base.h>

#define CERTS_PATH_BYTES 512

typedef struct certs {
    char folder[CERTS_PATH_BYTES];
    char ca_file[CERTS_PATH_BYTES + 16];   /* ca.pem: what a client trusts */
    char cert_file[CERTS_PATH_BYTES + 16]; /* server.pem: localhost, 127.0.0.1, ::1 */
    char key_file[CERTS_PATH_BYTES + 16];  /* server.key, mode 0600 */
    bool is_fresh_folder;                  /* made by us: certs_remove() takes it away again */
} certs;

/*
 * Make the three files in `folder` (created if missing), or in a fresh folder under
 * $XDG_RUNTIME_DIR, $TMPDIR or /tmp if it is NULL. Files younger than six days that are all there
 * are kept, so that clients survive a restart of the server. ECDSA P-256, valid from an hour ago
 * for seven days. The authority's own key is never written.
 *
 * @returns HPX_OK, or a status with `error` filled in (stage config)
 */
hpx_status certs_make(certs *out, const char *folder, hpx_error *error);

/* Remove the files if the folder was made by certs_make(). */
void certs_remove(const certs *made);

#endif /* HPX_TOOL_CERTS_H */
