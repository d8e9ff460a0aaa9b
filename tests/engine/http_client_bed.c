/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/engine/http_client_bed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test.h"

/* Generous: only a broken client takes so long. */
#define BED_PATIENCE_NS (30 * HPX_NS_PER_S)

static void bed_add_headers(char *to, size_t room, const hpx_http_header *headers, uint32_t count)
{
    size_t used = 0;
    for (uint32_t i = 0; i < count && used < room; i++) {
        used += (size_t)snprintf(
            to + used,
            room - used,
            "%.*s: %.*s\n",
            (int)headers[i].name.size,
            (const char *)headers[i].name.data,
            (int)headers[i].value.size,
            (const char *)headers[i].value.data);
    }
}

static void bed_add_body(http_answer *answer, hpx_span body)
{
    for (size_t i = 0; i < body.size; i++) {
        if (answer->body_bytes + 1 < sizeof(answer->body)) {
            answer->body[answer->body_bytes] = (char)body.data[i];
        }
        answer->body_bytes++;
        answer->body_sum = answer->body_sum * 31 + body.data[i];
    }
}

static void bed_on_event(hpx_http_client *client, const hpx_http_event *event, void *user)
{
    client_bed *bed = user;
    http_answer *answer = event->user;
    assert_ptr_equal(client, bed->client);
    assert_int_equal(event->id, answer->id);
    answer->is_late |= answer->ends != 0;
    switch (event->kind) {
    case HPX_HTTP_EVENT_HEADERS:
        answer->heads++;
        answer->status = event->status;
        bed_add_headers(
            answer->headers, sizeof(answer->headers), event->headers, event->header_count);
        break;
    case HPX_HTTP_EVENT_BODY:
        assert_int_equal(answer->heads, 1);
        assert_true(event->body.size != 0);
        bed_add_body(answer, event->body);
        break;
    case HPX_HTTP_EVENT_END:
        answer->ends++;
        answer->status = event->status;
        answer->outcome = event->outcome;
        answer->processed = event->processed;
        answer->error = *event->error;
        answer->info = *event->info;
        if (event->header_count != 0) {
            bed_add_headers(
                answer->headers, sizeof(answer->headers), event->headers, event->header_count);
        }
        bed_add_headers(
            answer->trailers, sizeof(answer->trailers), event->trailers, event->trailer_count);
        bed_add_body(answer, event->body);
        break;
    }
    if (bed->on_event != NULL) {
        bed->on_event(bed, event, answer);
    }
}

static void bed_listen(client_bed *bed)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bed->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(bed->listener >= 0);
    assert_int_equal(bind(bed->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(bed->listener, 512), 0);
    assert_int_equal(getsockname(bed->listener, (struct sockaddr *)&address, &size), 0);
    bed->port = ntohs(address.sin_port);
    snprintf(bed->base, sizeof(bed->base), "http://127.0.0.1:%u", bed->port);
}

void client_bed_prepare(client_bed *bed)
{
    memset(bed, 0, sizeof(*bed));
    bed->memory.fail_at = SIZE_MAX;
    bed->config = (hpx_http_config)HPX_HTTP_CONFIG_INIT;
    bed->config.on_event = bed_on_event;
    bed->config.user = bed;
    bed->config.idle_connection_ns = HPX_NEVER; /* what closes is not closed by time */
    bed_listen(bed);
}

void client_bed_open(client_bed *bed)
{
    hpx_error error = {0};
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    config.wait_mode = HPX_WAIT_SLEEP;
    config.allocator = fa_allocator(&bed->memory);
    if (hpx_engine_new(&bed->engine, &config, &error) != HPX_OK ||
        hpx_engine_start(bed->engine, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    bed->shard = hpx_engine_shard(bed->engine, 0);
    if (hpx_shard_attach(bed->shard, &error) != HPX_OK ||
        hpx_shard_http_client(bed->shard, &bed->config, &bed->client, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
}

void client_bed_close(client_bed *bed)
{
    for (uint32_t i = 0; i < bed->answer_count; i++) {
        assert_false(bed->answers[i].is_late);
        assert_true(bed->answers[i].ends <= 1);
    }
    hpx_http_client_release(bed->client);
    assert_int_equal(hpx_shard_detach_wait(bed->shard, 5 * HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(bed->engine);
    close(bed->listener);
    assert_int_equal(bed->memory.live, 0);
}

http_answer *client_bed_send(client_bed *bed, hpx_http_request *request)
{
    char url[8192];
    assert_true(bed->answer_count < CLIENT_BED_ANSWERS_MAX);
    http_answer *answer = &bed->answers[bed->answer_count++];
    memset(answer, 0, sizeof(*answer));
    if (request->url[0] == '/') {
        snprintf(url, sizeof(url), "%s%s", bed->base, request->url);
        request->url = url;
    }
    request->user = answer;
    hpx_error error = {0};
    const hpx_status status = hpx_http_send(bed->client, request, &answer->id, &error);
    if (status != HPX_OK) {
        fail_msg("%s: %s", hpx_status_name(status), error.detail);
    }
    assert_int_not_equal(answer->id, 0);
    assert_int_equal(answer->heads + answer->ends, 0); /* nothing from inside the call */
    return answer;
}

http_answer *client_bed_get(client_bed *bed, const char *url)
{
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = url;
    return client_bed_send(bed, &request);
}

http_answer *client_bed_post(client_bed *bed, const char *url, const char *body)
{
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = url;
    request.method = "POST";
    request.body = hpx_span_of(body);
    return client_bed_send(bed, &request);
}

void client_bed_turn(client_bed *bed, uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++) {
        (void)hpx_shard_poll_wait(bed->shard, 20 * HPX_NS_PER_US);
    }
}

void client_bed_until_end(client_bed *bed, const http_answer *answer)
{
    const uint64_t limit_ns = hpx_clock_now_ns() + BED_PATIENCE_NS;
    while (answer->ends == 0) {
        client_bed_turn(bed, 1);
        assert_true(hpx_clock_now_ns() < limit_ns);
    }
}

void client_bed_stats(const client_bed *bed, hpx_http_stats *out)
{
    hpx_http_get_stats(bed->client, out);
}

void client_bed_until_idle(client_bed *bed, uint64_t idle)
{
    const uint64_t limit_ns = hpx_clock_now_ns() + BED_PATIENCE_NS;
    hpx_http_stats stats;
    do {
        client_bed_turn(bed, 1);
        client_bed_stats(bed, &stats);
        assert_true(hpx_clock_now_ns() < limit_ns);
    } while (stats.idle != idle);
}

void client_bed_until_connections(client_bed *bed, uint64_t count)
{
    const uint64_t limit_ns = hpx_clock_now_ns() + BED_PATIENCE_NS;
    hpx_http_stats stats;
    do {
        client_bed_turn(bed, 1);
        client_bed_stats(bed, &stats);
        assert_true(hpx_clock_now_ns() < limit_ns);
    } while (stats.connections != count);
}

int client_bed_accept(client_bed *bed)
{
    const uint64_t limit_ns = hpx_clock_now_ns() + BED_PATIENCE_NS;
    for (;;) {
        const int fd = accept4(bed->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            const int on = 1; /* answers in several writes do not wait for acknowledgements */
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return fd;
        }
        client_bed_turn(bed, 1);
        assert_true(hpx_clock_now_ns() < limit_ns);
    }
}

bool client_bed_has_connection(client_bed *bed)
{
    client_bed_turn(bed, 20);
    const int fd = accept4(bed->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

size_t client_bed_read(client_bed *bed, int fd, const char *until, char text[CLIENT_BED_TEXT_BYTES])
{
    const uint64_t limit_ns = hpx_clock_now_ns() + BED_PATIENCE_NS;
    size_t used = 0;
    text[0] = '\0';
    while (strstr(text, until) == NULL) {
        const ssize_t got = read(fd, text + used, CLIENT_BED_TEXT_BYTES - 1 - used);
        if (got > 0) {
            used += (size_t)got;
            text[used] = '\0';
            continue;
        }
        assert_true(got < 0 && errno == EAGAIN);
        client_bed_turn(bed, 1);
        assert_true(hpx_clock_now_ns() < limit_ns);
    }
    return used;
}

void client_bed_write_bytes(client_bed *bed, int fd, const void *bytes, size_t size)
{
    const uint64_t limit_ns = hpx_clock_now_ns() + BED_PATIENCE_NS;
    for (size_t done = 0; done < size;) {
        const ssize_t sent =
            send(fd, (const char *)bytes + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            done += (size_t)sent;
            continue;
        }
        if (errno != EAGAIN) {
            return; /* the client has gone */
        }
        client_bed_turn(bed, 1);
        assert_true(hpx_clock_now_ns() < limit_ns);
    }
}

void client_bed_write(client_bed *bed, int fd, const char *text)
{
    client_bed_write_bytes(bed, fd, text, strlen(text));
}

bool client_bed_is_closed(client_bed *bed, int fd)
{
    char bytes[1024];
    for (int i = 0; i < 40; i++) {
        client_bed_turn(bed, 1);
        const ssize_t got = read(fd, bytes, sizeof(bytes));
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            return true;
        }
    }
    return false;
}

int client_bed_serve(client_bed *bed, http_answer *answer, const char *response)
{
    const int fd = client_bed_accept(bed);
    client_bed_again(bed, fd, answer, response);
    return fd;
}

void client_bed_again(client_bed *bed, int fd, http_answer *answer, const char *response)
{
    (void)client_bed_read(bed, fd, "\r\n\r\n", bed->text);
    client_bed_write(bed, fd, response);
    client_bed_until_end(bed, answer);
}

void client_bed_expect_done(const http_answer *answer, int32_t status, const char *body)
{
    assert_int_equal(answer->outcome, HPX_HTTP_DONE);
    assert_int_equal(answer->processed, HPX_HTTP_PROCESSED_YES);
    assert_int_equal(answer->error.status, HPX_OK);
    assert_int_equal(answer->status, status);
    assert_string_equal(answer->body, body);
}

void client_bed_expect_failed(
    const http_answer *answer, hpx_status status, hpx_stage stage, hpx_http_processed processed)
{
    assert_string_equal(hpx_status_name(answer->error.status), hpx_status_name(status));
    assert_int_equal(answer->outcome, HPX_HTTP_FAILED);
    assert_string_equal(hpx_stage_name(answer->error.stage), hpx_stage_name(stage));
    assert_string_equal(
        hpx_http_processed_name(answer->processed), hpx_http_processed_name(processed));
    assert_string_not_equal(answer->error.detail, "");
}
