/* SPDX-License-Identifier: Apache-2.0 */
/* override.h - "HOST:PORT:ADDR[,ADDR...]": addresses given by the app, as curl's --resolve. */
#ifndef HPXI_OVERRIDE_H
#define HPXI_OVERRIDE_H

#include "engine/resolver.h"
#include "engine/url.h"

typedef struct hpxi_override {
    char host[HPXI_URL_HOST_BYTES]; /* lower case, without brackets */
    uint16_t port;
    hpxi_addresses addresses;
} hpxi_override;

/* HPX_OK, or HPX_E_INVALID with the text and the reason in `error`. Addresses beyond
 * HPXI_ADDRESSES_MAX are left out. */
hpx_status hpxi_override_parse(hpxi_override *out, const char *text, hpx_error *error);

#endif /* HPXI_OVERRIDE_H */
