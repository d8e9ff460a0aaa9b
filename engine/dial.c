/* SPDX-License-Identifier: Apache-2.0 */
/* dial.c - resolve, then race the addresses. */
#include "engine/dial.h"

#include <stdio.h>
#include <string.h>

#include "engine/error.h"

#define DIAL_OF(member_ptr, member)                                                                \
    ((hpxi_dial *)(void *)((char *)(member_ptr)-offsetof(hpxi_dial, member)))

/* Sockets that lost the race, or whose dial was cancelled: nobody waits for them. */
static void dial_orphan_gone(hpxi_sock *sock)
{
    (void)sock;
}

static const hpxi_sock_ops dial_orphan_ops = {.on_gone = dial_orphan_gone};

static void dial_on_connect(hpxi_sock *sock, int result);

static const hpxi_sock_ops dial_sock_ops = {
    .on_connect = dial_on_connect,
    .on_gone = dial_orphan_gone,
};

static void dial_drop(hpxi_dial *dial, uint32_t attempt)
{
    hpxi_sock *sock = dial->attempts[attempt];
    HPX_ASSERT(sock != NULL);
    HPX_ASSERT(dial->active > 0);
    dial->attempts[attempt] = NULL;
    dial->active--;
    hpxi_sock_set_owner(sock, &dial_orphan_ops, NULL);
    hpxi_sock_close(sock);
}

static void dial_stop(hpxi_dial *dial)
{
    hpxi_query_cancel(&dial->query);
    hpxi_wheel_cancel(dial->wheel, &dial->stagger);
    hpxi_wheel_cancel(dial->wheel, &dial->deadline);
    for (uint32_t i = 0; i < dial->addresses.count; i++) {
        if (dial->attempts[i] != NULL) {
            dial_drop(dial, i);
        }
    }
    HPX_ASSERT(dial->active == 0);
    dial->state = HPXI_DIAL_IDLE;
}

static void dial_fail(hpxi_dial *dial)
{
    dial_stop(dial);
    HPX_ASSERT(dial->error.status != HPX_OK);
    dial->ops->on_failed(dial, &dial->error);
}

/* Starts the next attempt that can be started. Returns false when no address is left. */
static bool dial_try_next(hpxi_dial *dial)
{
    while (dial->next < dial->addresses.count) {
        const uint32_t attempt = dial->next++;
        const hpxi_address *address = &dial->addresses.list[attempt];
        char text[HPXI_ADDRESS_TEXT_BYTES];
        hpxi_address_format(address, text);
        const hpx_status status = hpxi_sock_connect(
            dial->socks,
            address,
            dial->config.busy_poll_us,
            &dial_sock_ops,
            dial,
            &dial->attempts[attempt]);
        if (status == HPX_OK) {
            dial->active++;
            hpxi_wheel_set(dial->wheel, &dial->stagger, *dial->now_ns + HPXI_DIAL_STAGGER_NS);
            return true;
        }
        dial->attempts[attempt] = NULL;
        if (status == HPX_E_LIMIT) {
            (void)hpxi_error_set(
                &dial->error,
                status,
                HPX_STAGE_CONNECT,
                "no socket left on this shard for %s: raise connections_max (%u)",
                text,
                dial->socks->config.capacity);
        } else {
            (void)hpxi_error_set_errno(&dial->error, status, HPX_STAGE_CONNECT, "%s", text);
        }
    }
    return false;
}

static void dial_on_connect(hpxi_sock *sock, int result)
{
    hpxi_dial *dial = sock->owner;
    HPX_ASSERT(dial->state == HPXI_DIAL_RACING);
    uint32_t attempt = 0;
    while (dial->attempts[attempt] != sock) {
        attempt++;
        HPX_ASSERT(attempt < dial->addresses.count);
    }
    if (result == 0) {
        dial->attempts[attempt] = NULL;
        dial->active--;
        dial_stop(dial); /* the losers */
        dial->ops->on_connected(dial, sock);
        return;
    }
    char text[HPXI_ADDRESS_TEXT_BYTES];
    hpxi_address_format(&dial->addresses.list[attempt], text);
    (void)hpxi_error_set_errno(&dial->error, result, HPX_STAGE_CONNECT, "%s", text);
    dial_drop(dial, attempt);
    if (!dial_try_next(dial) && dial->active == 0) {
        dial_fail(dial);
    }
}

static void dial_on_stagger(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_dial *dial = DIAL_OF(timer, stagger);
    HPX_ASSERT(dial->state == HPXI_DIAL_RACING);
    if (!dial_try_next(dial) && dial->active == 0) {
        dial_fail(dial);
    }
}

static void dial_on_deadline(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_dial *dial = DIAL_OF(timer, deadline);
    HPX_ASSERT(dial->state == HPXI_DIAL_RACING);
    char text[HPXI_ADDRESS_TEXT_BYTES];
    hpxi_address_format(&dial->addresses.list[0], text);
    (void)hpxi_error_set(
        &dial->error,
        HPX_E_CONNECT_TIMEOUT,
        HPX_STAGE_CONNECT,
        "no answer within %llu ms from %s (and %u other addresses)",
        (unsigned long long)(dial->config.connect_timeout_ns / HPX_NS_PER_MS),
        text,
        dial->next == 0 ? 0 : dial->next - 1);
    dial_fail(dial);
}

static void dial_race(hpxi_dial *dial)
{
    HPX_ASSERT(dial->addresses.count > 0);
    dial->state = HPXI_DIAL_RACING;
    dial->next = 0;
    dial->active = 0;
    dial->ops->on_resolved(dial);
    if (dial->state != HPXI_DIAL_RACING) {
        return; /* cancelled from inside the callback */
    }
    hpxi_wheel_set(dial->wheel, &dial->deadline, *dial->now_ns + dial->config.connect_timeout_ns);
    if (!dial_try_next(dial)) {
        dial_fail(dial);
    }
}

static void dial_on_answer(
    hpxi_query *query, hpx_status status, const hpxi_addresses *addresses, const char *detail)
{
    hpxi_dial *dial = query->owner;
    HPX_ASSERT(dial->state == HPXI_DIAL_RESOLVING);
    if (status != HPX_OK) {
        (void)hpxi_error_set(&dial->error, status, HPX_STAGE_RESOLVE, "%s", detail);
        dial_fail(dial);
        return;
    }
    dial->addresses = *addresses;
    dial_race(dial);
}

void hpxi_dial_init(
    hpxi_dial *dial,
    const hpxi_dial_ops *ops,
    void *owner,
    hpxi_socks *socks,
    hpxi_wheel *wheel,
    const uint64_t *now_ns)
{
    *dial =
        (hpxi_dial){.ops = ops, .owner = owner, .socks = socks, .wheel = wheel, .now_ns = now_ns};
    hpxi_timer_init(&dial->stagger, dial_on_stagger);
    hpxi_timer_init(&dial->deadline, dial_on_deadline);
}

/* Addresses given by the caller: begin the race from a timer, never from inside start. */
static void dial_on_override(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_dial *dial = DIAL_OF(timer, stagger);
    HPX_ASSERT(dial->state == HPXI_DIAL_RESOLVING);
    hpxi_timer_init(&dial->stagger, dial_on_stagger);
    dial->addresses = *dial->config.override;
    dial_race(dial);
}

void hpxi_dial_start(hpxi_dial *dial, hpxi_resolver *resolver, const hpxi_dial_config *config)
{
    HPX_ASSERT(dial->state == HPXI_DIAL_IDLE);
    dial->config = *config;
    dial->state = HPXI_DIAL_RESOLVING;
    dial->addresses.count = 0;
    memset(dial->attempts, 0, sizeof(dial->attempts));
    dial->error = (hpx_error){0};
    if (config->override != NULL && config->override->count != 0) {
        hpxi_timer_init(&dial->stagger, dial_on_override);
        hpxi_wheel_set(dial->wheel, &dial->stagger, 0);
        return;
    }
    hpxi_query_start(
        resolver,
        &dial->query,
        config->host,
        config->port,
        config->resolve_timeout_ns,
        dial_on_answer,
        dial);
}

void hpxi_dial_cancel(hpxi_dial *dial)
{
    if (dial->state != HPXI_DIAL_IDLE) {
        dial_stop(dial);
    }
}
