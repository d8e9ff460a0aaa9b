/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: whatever a server writes into Location, a reference without scheme and authority stays
 * with the origin that it came from, and no dot segment is left in its path; one that is absolute
 * comes out as it is. Input: the length of the base's target, the target, the Location.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/http_pack.h"
#include "ring/assert.h"

static const hpxi_http_origin origin = {
    .is_tls = true,
    .version = HPX_HTTP_ANY,
    .port = 8443,
    .host = "api.example",
    .server_name = "api.example",
    .proxy = "",
    .identity = "",
};

/* A target that a request could have had. */
static void make_target(uint8_t *target, size_t size)
{
    static const char allowed[] = "/.a-?&=;,%/./../";
    for (size_t i = 0; i < size; i++) {
        target[i] = (uint8_t)allowed[target[i] % (sizeof(allowed) - 1)];
    }
    if (size != 0) {
        target[0] = '/';
    }
}

static void check_path(const char *target)
{
    const size_t path_bytes = strcspn(target, "?");
    for (size_t at = 0; at < path_bytes;) {
        const size_t segment = 1 + strcspn(target + at + 1, "/?");
        HPX_ASSERT(!(segment == 2 && target[at + 1] == '.'));
        HPX_ASSERT(!(segment == 3 && target[at + 1] == '.' && target[at + 2] == '.'));
        at += segment;
    }
}

static bool is_relative(hpx_span location)
{
    size_t i = 0;
    while (i < location.size && memchr(":/?#", location.data[i], 4) == NULL) {
        i++;
    }
    const bool has_scheme = i != 0 && i < location.size && location.data[i] == ':';
    const bool has_authority =
        location.size >= 2 && location.data[0] == '/' && location.data[1] == '/';
    return !has_scheme && !has_authority;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const size_t most = size - 1;
    const size_t base_bytes = 1 + data[0] % most;
    uint8_t *base = malloc(most); /* exact blocks: the sanitizer sees one byte too far */
    HPX_ASSERT(base != NULL);
    memcpy(base, data + 1, most);
    make_target(base, base_bytes);
    const hpx_span location = {.data = base + base_bytes, .size = most - base_bytes};
    char *out = malloc(HPXI_HTTP_LOCATION_BYTES);
    HPX_ASSERT(out != NULL);
    const bool fits = hpxi_http_location_resolve(
        out, &origin, (hpx_span){.data = base, .size = base_bytes}, location);
    HPX_ASSERT(memchr(out, '\0', HPXI_HTTP_LOCATION_BYTES) != NULL);
    hpxi_url url;
    if (fits && hpxi_url_parse_http(&url, out, NULL) == HPX_OK) {
        if (is_relative(location)) {
            HPX_ASSERT(url.is_tls && url.port == 8443);
            HPX_ASSERT(strcmp(url.host, "api.example") == 0);
            check_path(url.target);
        }
        char again[HPXI_HTTP_LOCATION_BYTES];
        HPX_ASSERT(hpxi_http_location_resolve(again, &origin, hpx_span_of("/"), hpx_span_of(out)));
        HPX_ASSERT(strcmp(again, out) == 0);
    }
    free(out);
    free(base);
    return 0;
}
