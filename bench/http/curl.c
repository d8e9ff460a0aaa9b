/* SPDX-License-Identifier: Apache-2.0 */
/* curl.c - libcurl's multi interface as a client: the usual way to do many requests with it. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/http/bench_http.h"

struct bench_curl {
    CURLM *multi;
    uint32_t open;
    uint32_t idle_count;
    CURL *idle[256];
    char url[96];
};

static size_t curl_write(char *data, size_t size, size_t count, void *user)
{
    (void)data;
    (void)user;
    return size * count;
}

bench_curl *bench_curl_new(uint16_t port, const char *path, uint32_t open)
{
    bench_curl *curl = calloc(1, sizeof(*curl));
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    curl->multi = curl_multi_init();
    curl->open = open;
    snprintf(curl->url, sizeof(curl->url), "http://127.0.0.1:%u%s", port, path);
    for (uint32_t i = 0; i < open; i++) {
        CURL *easy = curl_easy_init();
        (void)curl_easy_setopt(easy, CURLOPT_URL, curl->url);
        (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, curl_write);
        (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl->idle[curl->idle_count++] = easy;
    }
    return curl;
}

void bench_curl_free(bench_curl *curl)
{
    for (uint32_t i = 0; i < curl->idle_count; i++) {
        curl_easy_cleanup(curl->idle[i]);
    }
    (void)curl_multi_cleanup(curl->multi);
    free(curl);
}

uint64_t bench_curl_run(bench_curl *curl, uint32_t count)
{
    uint64_t done = 0;
    uint32_t begun = 0;
    while (done < count) {
        while (curl->idle_count != 0 && begun < count) {
            (void)curl_multi_add_handle(curl->multi, curl->idle[--curl->idle_count]);
            begun++;
        }
        int running = 0;
        (void)curl_multi_perform(curl->multi, &running);
        int left = 0;
        uint32_t ended = 0;
        for (CURLMsg *message; (message = curl_multi_info_read(curl->multi, &left)) != NULL;) {
            if (message->msg == CURLMSG_DONE) {
                CURL *easy = message->easy_handle;
                if (message->data.result != CURLE_OK) {
                    abort();
                }
                (void)curl_multi_remove_handle(curl->multi, easy);
                curl->idle[curl->idle_count++] = easy;
                done++;
                ended++;
            }
        }
        if (ended == 0 && done < count) {
            (void)curl_multi_poll(curl->multi, NULL, 0, 1000, NULL);
        }
    }
    return done;
}
