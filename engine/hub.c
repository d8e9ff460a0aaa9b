/* SPDX-License-Identifier: Apache-2.0 */
/* hub.c - what handles and subscriptions share with their connection. */
#include "engine/hub.h"

hpxi_hub *hpxi_hub_new(const hpxi_spec *spec, const hpx_allocator *allocator)
{
    hpxi_hub *hub = hpxi_alloc_zero(allocator, sizeof(*hub), _Alignof(hpxi_hub));
    if (hub == NULL) {
        return NULL;
    }
    const hpx_ws_config *config = &spec->config;
    hub->allocator = allocator;
    hub->reconnects = config->reconnect;
    hub->has_protocol = config->protocol != NULL;
    hub->can_request = hub->has_protocol && config->protocol->inject_request_id != NULL;
    hub->can_subscribe = hub->has_protocol && config->protocol->build_subscribe != NULL;
    hub->requests_max = config->requests_max;
    hub->reply_ring_bytes = config->reply_ring_bytes;
    hub->large_bytes_max = config->stream_large_bytes_max;
    hub->message_bytes_max = config->message_bytes_max;
    hub->request_timeout_ns = config->request_timeout_ns;
    atomic_init(&hub->shared.refs, 1);
    return hub;
}

void hpxi_hub_retain(hpxi_hub *hub)
{
    atomic_fetch_add_explicit(&hub->shared.refs, 1, memory_order_relaxed);
}

void hpxi_hub_release(hpxi_hub *hub)
{
    if (hub == NULL || atomic_fetch_sub_explicit(&hub->shared.refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    hpxi_free(hub->allocator, hub, sizeof(*hub));
}

bool hpxi_hub_take_pending(hpxi_hub *hub)
{
    /* Only the number is shared: what a request is travels through the rings. */
    uint32_t pending = atomic_load_explicit(&hub->shared.pending, memory_order_relaxed);
    while (pending < hub->requests_max) {
        if (atomic_compare_exchange_weak_explicit(
                &hub->shared.pending,
                &pending,
                pending + 1,
                memory_order_relaxed,
                memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void hpxi_hub_give_pending(hpxi_hub *hub)
{
    const uint32_t before =
        atomic_fetch_sub_explicit(&hub->shared.pending, 1, memory_order_relaxed);
    HPX_ASSERT(before != 0);
}

void hpxi_hub_get_stats(const hpxi_hub *hub, hpx_session_stats *out)
{
    const hpxi_session_counters *from = &hub->shared.counters;
    *out = (hpx_session_stats){
        .requests_sent = hpxi_counter_read(&from->requests_sent),
        .replies = hpxi_counter_read(&from->replies),
        .timeouts = hpxi_counter_read(&from->timeouts),
        .unsolicited_replies = hpxi_counter_read(&from->unsolicited_replies),
        .updates = hpxi_counter_read(&from->updates),
        .unrouted_updates = hpxi_counter_read(&from->unrouted_updates),
        .subscribe_messages = hpxi_counter_read(&from->subscribe_messages),
        .subscribe_topics = hpxi_counter_read(&from->subscribe_topics),
        .unsubscribe_messages = hpxi_counter_read(&from->unsubscribe_messages),
        .unsubscribe_topics = hpxi_counter_read(&from->unsubscribe_topics),
        .stale_drops = hpxi_counter_read(&from->stale_drops),
        .server_pings = hpxi_counter_read(&from->server_pings),
    };
}
