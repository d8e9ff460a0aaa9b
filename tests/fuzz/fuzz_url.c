/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: any text is refused with one printable line, or its parts, written out again as a URL,
 * parse to the same parts; and then a request may be made of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/url.h"
#include "ring/assert.h"
#include "ws/handshake.h"

static void check_again(const hpxi_url *url)
{
    char text[HPXI_URL_HOST_BYTES + HPXI_URL_TARGET_BYTES + 32];
    const int bytes = snprintf(
        text, sizeof(text), "%s://%s%s", url->is_tls ? "wss" : "ws", url->host_header, url->target);
    HPX_ASSERT(bytes > 0 && (size_t)bytes < sizeof(text));
    hpxi_url again;
    HPX_ASSERT(hpxi_url_parse(&again, text, NULL) == HPX_OK);
    HPX_ASSERT(again.is_tls == url->is_tls);
    HPX_ASSERT(again.host_is_v4 == url->host_is_v4);
    HPX_ASSERT(again.host_is_v6 == url->host_is_v6);
    HPX_ASSERT(again.port == url->port);
    HPX_ASSERT(strcmp(again.host, url->host) == 0);
    HPX_ASSERT(strcmp(again.host_header, url->host_header) == 0);
    HPX_ASSERT(strcmp(again.target, url->target) == 0);
}

static void check_good(const hpxi_url *url)
{
    HPX_ASSERT(url->port != 0);
    HPX_ASSERT(url->host[0] != '\0');
    HPX_ASSERT(!(url->host_is_v4 && url->host_is_v6));
    HPX_ASSERT(url->target[0] == '/');
    const hpxi_ws_request_config request = {.host = url->host_header, .target = url->target};
    HPX_ASSERT(hpxi_ws_request_check(&request, NULL) == HPX_OK);
    check_again(url);
}

static void check_bad(const hpxi_url *url, const hpx_error *error)
{
    HPX_ASSERT(error->status == HPX_E_URL);
    HPX_ASSERT(url->host[0] == '\0');
    HPX_ASSERT(error->detail[0] != '\0');
    HPX_ASSERT(memchr(error->detail, 0, sizeof(error->detail)) != NULL);
    for (const char *at = error->detail; *at != '\0'; at++) {
        HPX_ASSERT(*at >= 0x20 && *at < 0x7F);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    HPX_ASSERT(text != NULL);
    if (size != 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    hpxi_url url;
    hpx_error error = {0};
    const hpx_status status = hpxi_url_parse(&url, text, &error);
    if (status == HPX_OK) {
        check_good(&url);
    } else {
        HPX_ASSERT(status == HPX_E_URL);
        check_bad(&url, &error);
    }
    free(text);
    return 0;
}
