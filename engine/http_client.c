/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_client.c - the public functions on a client: here for those on a shard; those on a port are
 * passed on to http_port.c.
 *
 * Threads   The client's, but for the counters and connections (any).
 */
#include "engine/http_client.h"

#include "engine/engine.h"
#include "engine/error.h"

const char *hpx_http_outcome_name(hpx_http_outcome outcome)
{
    switch (outcome) {
    case HPX_HTTP_DONE:
        return "done";
    case HPX_HTTP_FAILED:
        return "failed";
    case HPX_HTTP_TIMEOUT:
        return "timeout";
    case HPX_HTTP_CANCELLED:
        return "cancelled";
    }
    return "unknown";
}

const char *hpx_http_processed_name(hpx_http_processed processed)
{
    switch (processed) {
    case HPX_HTTP_PROCESSED_NO:
        return "no";
    case HPX_HTTP_PROCESSED_UNKNOWN:
        break;
    case HPX_HTTP_PROCESSED_YES:
        return "yes";
    }
    return "unknown";
}

const char *hpx_http_connection_state_name(hpx_http_connection_state state)
{
    switch (state) {
    case HPX_HTTP_CONNECTION_CONNECTING:
        return "connecting";
    case HPX_HTTP_CONNECTION_OPEN:
        return "open";
    case HPX_HTTP_CONNECTION_CLOSING:
        return "closing";
    case HPX_HTTP_CONNECTION_LOST:
        return "lost";
    }
    return "unknown";
}

hpx_status hpx_shard_http_client(
    hpx_shard *shard, const hpx_http_config *config, hpx_http_client **out, hpx_error *error)
{
    *out = NULL;
    if (!hpxi_shard_is_owner(shard)) {
        return hpxi_error_set(
            error,
            HPX_E_THREAD,
            HPX_STAGE_CONFIG,
            "hpx_shard_http_client is for the shard's own thread; use hpx_http_client_open on a "
            "port");
    }
    if (shard->owner.phase != HPXI_SHARD_RUNNING) {
        return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_CONFIG, "the shard is stopping");
    }
    if (config == NULL || config->size < offsetof(hpx_http_config, user) ||
        config->on_event == NULL) {
        return hpxi_error_set(
            error, HPX_E_INVALID, HPX_STAGE_CONFIG, "on_event is NULL: nobody would get events");
    }
    hpxi_http_settings *settings = NULL;
    hpx_status status = hpxi_http_settings_new(&settings, shard->engine, config, error);
    if (status != HPX_OK) {
        return status;
    }
    hpx_http_client *client =
        hpxi_alloc_zero(settings->allocator, sizeof(*client), _Alignof(hpx_http_client));
    hpxi_http_core *core = client != NULL ? hpxi_http_core_new(shard, settings) : NULL;
    if (core == NULL) {
        hpxi_free(settings->allocator, client, sizeof(*client));
        hpxi_http_settings_release(settings);
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    client->settings = settings;
    client->core = core;
    core->client = client;
    hpxi_http_core_start(core);
    *out = client;
    return HPX_OK;
}

void hpx_http_client_release(hpx_http_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->core == NULL) {
        hpxi_http_port_release(client);
        return;
    }
    hpxi_http_core *core = client->core;
    core->client = NULL;
    if (core->down) {
        hpxi_http_core_free(core);
    } else {
        HPXI_ASSERT_OWNER(core->shard);
        hpxi_http_core_release(core); /* frees itself in a later step */
    }
    const hpx_allocator *allocator = client->settings->allocator;
    hpxi_http_settings_release(client->settings);
    hpxi_free(allocator, client, sizeof(*client));
}

/* Between turns the shard's clock stands: a deadline set now has to count from now. */
static void client_refresh_clock(hpx_shard *shard)
{
    HPXI_ASSERT_OWNER(shard);
    if (!shard->owner.in_turn) {
        shard->owner.now_ns = hpxi_clock_now(&shard->owner.clock);
    }
}

static hpx_status
client_send(hpxi_http_core *core, const hpx_http_request *from, hpx_http_id *id, hpx_error *error)
{
    if (core->down || core->shard->owner.phase != HPXI_SHARD_RUNNING) {
        return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_CONFIG, "the shard is stopping");
    }
    const uint32_t max = core->settings->config.requests_max;
    if (core->open_count - core->ending >= max) {
        return hpxi_error_set(
            error, HPX_E_LIMIT, HPX_STAGE_CONFIG, "%u requests are open (requests_max)", max);
    }
    hpxi_http_request *request = hpxi_http_core_take(core);
    if (request == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    const hpx_status status = hpxi_http_pack(&request->packed, core->settings, from, error);
    if (status != HPX_OK) {
        hpxi_http_core_give_back(core, request);
        return status;
    }
    if (id != NULL) {
        *id = request->id;
    }
    client_refresh_clock(core->shard);
    hpxi_http_request_start(request);
    return HPX_OK;
}

hpx_status hpx_http_send(
    hpx_http_client *client, const hpx_http_request *request, hpx_http_id *id, hpx_error *error)
{
    if (id != NULL) {
        *id = 0;
    }
    return client->core != NULL ? client_send(client->core, request, id, error)
                                : hpxi_http_port_send(client, request, id, error);
}

hpx_status hpx_http_cancel(hpx_http_client *client, hpx_http_id id)
{
    if (client->core == NULL) {
        return hpxi_http_port_cancel(client, id);
    }
    hpxi_http_request *request = hpxi_http_core_find(client->core, id);
    if (request == NULL || client->core->down) {
        return HPX_E_STALE;
    }
    client_refresh_clock(client->core->shard);
    hpxi_http_request_cancel(request, "cancelled by the application");
    return HPX_OK;
}

hpx_status hpx_http_resume(hpx_http_client *client, hpx_http_id id)
{
    if (client->core == NULL) {
        return hpxi_http_port_resume(client, id);
    }
    hpxi_http_request *request = hpxi_http_core_find(client->core, id);
    if (request == NULL || client->core->down) {
        return HPX_E_STALE;
    }
    client_refresh_clock(client->core->shard);
    hpxi_http_request_resume(request);
    return HPX_OK;
}

hpx_status hpx_http_pause(hpx_http_client *client, hpx_http_id id)
{
    if (client->core == NULL) {
        return HPX_E_STATE;
    }
    hpxi_http_request *request = hpxi_http_core_find(client->core, id);
    if (request == NULL || client->core->down) {
        return HPX_E_STALE;
    }
    hpxi_http_request_pause(request);
    return HPX_OK;
}

hpx_status hpx_http_warm_up(
    hpx_http_client *client, const hpx_http_request *request, uint32_t count, hpx_error *error)
{
    if (client->core == NULL) {
        return hpxi_http_port_warm_up(client, request, count, error);
    }
    hpxi_http_core *core = client->core;
    if (core->down || core->shard->owner.phase != HPXI_SHARD_RUNNING) {
        return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_CONFIG, "the shard is stopping");
    }
    hpxi_buf packed;
    hpxi_buf_init(&packed, core->settings->allocator);
    const hpx_status status = hpxi_http_pack(&packed, core->settings, request, error);
    if (status == HPX_OK) {
        client_refresh_clock(core->shard);
        hpxi_http_core_warm_up(core, (hpxi_http_packed *)(void *)packed.data, count);
    }
    hpxi_buf_fini(&packed);
    return status;
}

void hpx_http_get_stats(const hpx_http_client *client, hpx_http_stats *out)
{
    hpxi_http_boards_count(&client->settings->boards, out);
}

uint32_t
hpx_http_connections(const hpx_http_client *client, hpx_http_connection_stats *out, uint32_t max)
{
    return hpxi_http_boards_read(&client->settings->boards, out, max);
}
