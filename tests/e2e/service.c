/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/service.h"

#include <stdio.h>
#include <time.h>

#include "tests/e2e/client.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

/* One accepted connection. */
typedef struct service_visit {
    e2e_service *service;
    char target[sizeof(((hpx_conn_info *)0)->target)];
    uint32_t number;
} service_visit;

static void service_log(e2e_service *service, uint32_t visit, service_what what, const char *line)
{
    (void)pthread_mutex_lock(&service->lock);
    if (visit >= SERVICE_VISITS_MAX || service->log[visit].count != (uint32_t)what) {
        (void)snprintf(
            service->failure,
            sizeof(service->failure),
            "visit %u: \"%s\" comes after %u",
            visit,
            line,
            visit < SERVICE_VISITS_MAX ? service->log[visit].count : 0);
    } else {
        (void)snprintf(service->log[visit].lines[what], SERVICE_LINE_BYTES, "%s", line);
        service->log[visit].count++;
    }
    (void)pthread_cond_signal(&service->changed);
    (void)pthread_mutex_unlock(&service->lock);
}

/* The shard's thread must not jump out through cmocka. */
static void must(bool good, e2e_service *service, const char *what)
{
    if (!good) {
        (void)pthread_mutex_lock(&service->lock);
        (void)snprintf(service->failure, sizeof(service->failure), "%s", what);
        (void)pthread_mutex_unlock(&service->lock);
    }
}

static void visit_push(hpx_conn *conn, e2e_service *service)
{
    static uint8_t big[70000];
    memset(big, 'b', sizeof(big));
    const hpx_span binary = {.data = big, .size = sizeof(big)};
    must(hpx_conn_send(conn, HPX_MESSAGE_TEXT, hpx_span_of("one")) == HPX_OK, service, "push 1");
    must(hpx_conn_send(conn, HPX_MESSAGE_TEXT, hpx_span_of("two")) == HPX_OK, service, "push 2");
    must(hpx_conn_send(conn, HPX_MESSAGE_BINARY, binary) == HPX_OK, service, "push 3");
}

static void visit_open(hpx_conn *conn, const hpx_event *event, e2e_service *service)
{
    char line[2 * SERVICE_LINE_BYTES];
    service_visit *v = calloc(1, sizeof(*v));
    must(v != NULL && event->info->is_server, service, "bad open");
    v->service = service;
    (void)snprintf(v->target, sizeof(v->target), "%s", event->info->target);
    hpx_conn_set_user(conn, v);
    v->number = service->visits++;
    (void)snprintf(
        line,
        sizeof(line),
        "%s %s %s",
        v->target,
        event->info->subprotocol[0] != '\0' ? event->info->subprotocol : "-",
        event->info->is_tls ? "tls" : "plain");
    service_log(service, v->number, SERVICE_OPEN, line);
    if (strcmp(v->target, "/push") == 0) {
        visit_push(conn, service);
    }
}

static void visit_end(const hpx_event *event, service_visit *v)
{
    char line[SERVICE_LINE_BYTES];
    (void)snprintf(
        line,
        sizeof(line),
        "%s %s %d %s",
        hpx_status_name(event->error->status),
        hpx_stage_name(event->error->stage),
        event->error->close_code,
        event->error->detail);
    service_log(v->service, v->number, SERVICE_END, line);
}

static void service_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    if (event->kind == HPX_EVENT_CONNECTED) {
        visit_open(conn, event, user);
        return;
    }
    service_visit *v = user;
    switch (event->kind) {
    case HPX_EVENT_MESSAGE:
        if (strcmp(v->target, "/close") == 0) {
            (void)hpx_conn_close(conn, 4002, hpx_span_of("enough"));
        } else {
            must(
                hpx_conn_send(conn, event->message_kind, event->payload) == HPX_OK,
                v->service,
                "echo failed");
        }
        break;
    case HPX_EVENT_DISCONNECTED:
        visit_end(event, v);
        break;
    case HPX_EVENT_CLOSED:
        service_log(v->service, v->number, SERVICE_CLOSED, "");
        free(v);
        break;
    case HPX_EVENT_CONNECTED:
    case HPX_EVENT_WRITABLE:
        break;
    }
}

/* ---- Up and down ------------------------------------------------------------------------------
 */

static void service_listen(hpx_shard *shard, void *user)
{
    e2e_service *service = user;
    static const char *const subprotocols[] = {"hpx.v2", "hpx.v1"};
    hpx_listen_config config = HPX_LISTEN_CONFIG_INIT;
    config.address = "127.0.0.1:0";
    config.on_event = service_on_event;
    config.user = service;
    config.subprotocols = subprotocols;
    config.subprotocol_count = COUNT_OF(subprotocols);
    config.receive_mode = service->mode;
    config.handshake_timeout_ns = 2 * HPX_NS_PER_S;
    config.close_timeout_ns = 5 * HPX_NS_PER_S; /* clients that are slow under a sanitizer */
    hpx_listener *listener = NULL;
    if (hpx_shard_listen(shard, &config, &listener, &service->listen_error) != HPX_OK) {
        return;
    }
    service->port = hpx_listener_get_port(listener);
    config.tls = service->tls;
    if (hpx_shard_listen(shard, &config, &listener, &service->listen_error) == HPX_OK) {
        service->tls_port = hpx_listener_get_port(listener);
    }
}

static hpx_tls_context *service_tls(const char *folder)
{
    char cert[600];
    char key[600];
    (void)snprintf(cert, sizeof(cert), "%s/good.pem", folder);
    (void)snprintf(key, sizeof(key), "%s/good.key", folder);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.cert_file = cert;
    config.key_file = key;
    hpx_tls_context *context = NULL;
    hpx_error error = {0};
    if (hpx_tls_server_context_new(&context, &config, &error) != HPX_OK) {
        fail_msg("server certificate: %s", error.detail);
    }
    return context;
}

void service_start(e2e_service *service, const char *folder, hpx_receive_mode mode)
{
    memset(service, 0, sizeof(*service));
    service->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    service->descriptors = test_descriptors();
    service->mode = mode;
    service->tls = service_tls(folder);
    assert_int_equal(pthread_mutex_init(&service->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&service->changed, NULL), 0);
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.allocator = fa_allocator(&service->memory);
    config.on_shard_start = service_listen;
    config.user = service;
    hpx_error error = {0};
    if (hpx_engine_new(&service->engine, &config, &error) != HPX_OK ||
        hpx_engine_start(service->engine, &error) != HPX_OK) {
        fail_msg("engine: %s", error.detail);
    }
    if (service->tls_port == 0) {
        fail_msg("listen: %s", service->listen_error.detail);
    }
}

void service_stop(e2e_service *service)
{
    assert_int_equal(hpx_engine_stop_wait(service->engine, 2 * HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(service->engine);
    hpx_tls_context_release(service->tls);
    assert_string_equal(service->failure, "");
    assert_int_equal(service->memory.live, 0);
    assert_int_equal(service->memory.bytes, 0);
    assert_int_equal(test_descriptors(), service->descriptors);
}

const char *service_told(e2e_service *service, uint32_t visit, service_what what)
{
    assert_true(visit < SERVICE_VISITS_MAX);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    (void)pthread_mutex_lock(&service->lock);
    int rc = 0;
    while (service->log[visit].count <= (uint32_t)what && rc == 0) {
        rc = pthread_cond_timedwait(&service->changed, &service->lock, &until);
    }
    const bool told = service->log[visit].count > (uint32_t)what;
    (void)pthread_mutex_unlock(&service->lock);
    if (!told) {
        fail_msg(
            "the service has not told %d of visit %u in time; %s",
            (int)what,
            visit,
            service->failure);
    }
    return service->log[visit].lines[what];
}
