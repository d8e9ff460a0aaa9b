/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolver.c - queries, the lookups that they wait for, and the delivery of answers.
 *
 * A query is the asker's and may vanish at any time. A lookup is ours, one per name that is being
 * asked, and is what c-ares holds: it outlives its queries if they are cancelled or time out, and
 * its answer then only fills the cache. Any number of queries wait for one lookup.
 *
 *   FREE -> WAITING -> ASKED -> DONE -> FREE    asked: c-ares calls back, exactly once
 *    | |                 | |     |
 *    | \---- room -------/ |     |
 *    \--- known at once ---------/               hosts file, cache, localhost, numeric
 *
 * Nothing is called back from inside c-ares or hpxi_query_start(): lookups that are done wait in a
 * list until hpxi_resolver_settle(), _completion() or the timer delivers them.
 */
#include "engine/resolver.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/dns_cache.h"
#include "engine/dns_families.h"
#include "engine/dns_hosts.h"
#include "engine/dns_sockets.h"
#include "engine/error.h"
#include "ring/alloc.h"

/* One name server is asked at 0 s and again at 1 s, and given up at 3 s: before the default
 * resolve timeout. */
#define TRY_TIMEOUT_MS 1000
#define TRIES          2

#define TTL_S_MAX         3600 /* a changed address is noticed within the hour, whatever its TTL */
#define SERVERS_BYTES_MAX 512u

/* Names that c-ares has at a time. Each has two answers, and 277 fill a socket's receive buffer of
 * Linux' default size: one that is lost costs TRY_TIMEOUT_MS. */
#define ASKED_MAX 100u

/* c-ares holds a known A back until it has AAAA too, or has given that up seconds later. A name
 * that has not been answered by now is asked for its A alone as well: whichever comes first. */
#define HEDGE_NS (300 * HPX_NS_PER_MS)

#define DNS_PORT 53u

typedef enum lookup_state {
    LOOKUP_FREE,    /* in the free list */
    LOOKUP_WAITING, /* in the waiting list: c-ares has ASKED_MAX others */
    LOOKUP_ASKED,   /* c-ares will call back */
    LOOKUP_DONE,    /* in the done list, with its result */
    LOOKUP_LATE,    /* delivered; c-ares has still to call back for its other question */
} lookup_state;

typedef struct lookup {
    struct lookup *next; /* of the free, the waiting or the done list */
    hpxi_resolver *resolver;
    lookup_state state;
    uint32_t index;
    hpx_status status;
    uint32_t asks;      /* calls that c-ares owes: 0, 1, with the hedge 2 */
    hpxi_timer hedge;   /* set while only the first question is out */
    hpxi_query queries; /* head of the ring of waiting queries; only next and prev are used */
    hpxi_addresses addresses;
    char host[HPXI_DNS_HOST_BYTES]; /* lower case */
    char detail[HPX_ERROR_DETAIL_BYTES];
} lookup;

struct hpxi_resolver {
    const hpx_allocator *allocator;
    hpxi_wheel *wheel;
    const uint64_t *now_ns;
    ares_channel channel;
    hpxi_dns_cache *cache; /* NULL: none */
    hpxi_timer timer;      /* next thing to do without a completion */
    lookup *free;
    lookup *done_first;
    lookup *done_last;
    lookup *waiting_first;
    lookup *waiting_last;
    uint32_t lookup_count;
    uint32_t asked_count;
    bool delivering; /* a callback is running */
    bool freeing;
    hpxi_dns_hosts hosts;
    hpxi_dns_sockets sockets;
    lookup *lookups[HPXI_RESOLVER_LOOKUPS_MAX]; /* all that were ever needed at once */
    lookup overflow; /* fails the queries for which there is no lookup; never asked */
};

/* ---- lists of queries and lookups ------------------------------------------------------------ */

static void queries_init(hpxi_query *head)
{
    head->next = head;
    head->prev = head;
}

static bool queries_empty(const hpxi_query *head)
{
    HPX_DASSERT((head->next == head) == (head->prev == head));
    return head->next == head;
}

static void queries_push(hpxi_query *head, hpxi_query *query)
{
    HPX_DASSERT(query->next == NULL);
    query->prev = head->prev;
    query->next = head;
    head->prev->next = query;
    head->prev = query;
}

/* Take a query out of its ring, whichever that is, and stop its clock. */
static void query_detach(hpxi_query *query)
{
    HPX_ASSERT(query->active);
    HPX_ASSERT(query->next != NULL);
    query->prev->next = query->next;
    query->next->prev = query->prev;
    query->next = NULL;
    query->prev = NULL;
    query->active = false;
    hpxi_wheel_cancel(query->resolver->wheel, &query->timeout);
}

/* Move all queries of a lookup to a head of the caller's. */
static void queries_move(hpxi_query *to, hpxi_query *from)
{
    queries_init(to);
    if (queries_empty(from)) {
        return;
    }
    to->next = from->next;
    to->prev = from->prev;
    to->next->prev = to;
    to->prev->next = to;
    queries_init(from);
    HPX_DASSERT(!queries_empty(to));
}

static void lookup_on_hedge(hpxi_timer *timer, uint64_t now_ns);

static void lookup_init(lookup *entry, hpxi_resolver *resolver, uint32_t index)
{
    hpxi_timer_init(&entry->hedge, lookup_on_hedge);
    entry->resolver = resolver;
    entry->index = index;
    entry->state = LOOKUP_FREE;
    queries_init(&entry->queries);
}

/* A lookup for `host`; NULL when there are too many or there is no memory. */
static lookup *lookup_take(hpxi_resolver *resolver, const char *host)
{
    lookup *entry = resolver->free;
    if (entry != NULL) {
        resolver->free = entry->next;
    } else {
        if (resolver->lookup_count == HPXI_RESOLVER_LOOKUPS_MAX) {
            return NULL;
        }
        entry = hpxi_alloc_zero(resolver->allocator, sizeof(*entry), _Alignof(lookup));
        if (entry == NULL) {
            return NULL;
        }
        lookup_init(entry, resolver, resolver->lookup_count);
        resolver->lookups[resolver->lookup_count++] = entry;
    }
    HPX_ASSERT(entry->state == LOOKUP_FREE);
    entry->next = NULL;
    entry->addresses.count = 0;
    entry->detail[0] = '\0';
    memcpy(entry->host, host, strlen(host) + 1);
    return entry;
}

static void lookup_give(lookup *entry)
{
    hpxi_resolver *resolver = entry->resolver;
    HPX_ASSERT(queries_empty(&entry->queries));
    HPX_ASSERT(entry->state != LOOKUP_FREE);
    if (entry->asks != 0) {
        entry->state = LOOKUP_LATE; /* resolver_on_answer() comes back here */
        return;
    }
    entry->state = LOOKUP_FREE;
    if (entry != &resolver->overflow) {
        entry->next = resolver->free;
        resolver->free = entry;
    }
}

/* Its result is there, to be delivered. From here on no deadline can overtake it. */
static void lookup_finish(lookup *entry, hpx_status status)
{
    hpxi_resolver *resolver = entry->resolver;
    HPX_ASSERT(entry->state != LOOKUP_DONE);
    HPX_ASSERT((status == HPX_OK) == (entry->addresses.count != 0));
    hpxi_wheel_cancel(resolver->wheel, &entry->hedge);
    entry->state = LOOKUP_DONE;
    entry->status = status;
    entry->next = NULL;
    for (hpxi_query *at = entry->queries.next; at != &entry->queries; at = at->next) {
        hpxi_wheel_cancel(resolver->wheel, &at->timeout);
    }
    if (resolver->done_last == NULL) {
        resolver->done_first = entry;
    } else {
        resolver->done_last->next = entry;
    }
    resolver->done_last = entry;
}

__attribute__((format(printf, 2, 3))) static void
lookup_detail(lookup *entry, const char *format, ...);

static void lookup_detail(lookup *entry, const char *format, ...)
{
    /* The cause matters most: a host longer than this is cut. */
    const int at =
        snprintf(entry->detail, sizeof(entry->detail), "cannot resolve %.100s: ", entry->host);
    HPX_ASSERT(at > 0);
    HPX_ASSERT((size_t)at < sizeof(entry->detail));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(entry->detail + at, sizeof(entry->detail) - (size_t)at, format, arguments);
    va_end(arguments);
}

/* ---- names that need no question ------------------------------------------------------------- */

static bool name_is_localhost(const char *name)
{
    static const char suffix[] = ".localhost";
    const size_t size = strlen(name);
    HPX_DASSERT(size != 0);
    return strcmp(name, suffix + 1) == 0 ||
           (size >= sizeof(suffix) && strcmp(name + size - (sizeof(suffix) - 1), suffix) == 0);
}

static void resolver_add_numeric(hpxi_dns_families *to, const char *text)
{
    hpxi_address address;
    const bool parsed = hpxi_address_parse(&address, text, 0);
    HPX_ASSERT(parsed);
    hpxi_dns_families_add(to, &address);
}

/* Fill in the addresses if they are known without a question. */
static bool lookup_is_known(lookup *entry)
{
    hpxi_resolver *resolver = entry->resolver;
    hpxi_dns_families known = {0};
    hpxi_address address;
    /* "name." is the same name, but not to be searched for in the local domains. */
    char bare[HPXI_DNS_HOST_BYTES];
    const size_t size = strlen(entry->host);
    HPX_ASSERT(size != 0);
    memcpy(bare, entry->host, size + 1);
    if (size > 1 && bare[size - 1] == '.') {
        bare[size - 1] = '\0';
    }
    if (hpxi_address_parse(&address, entry->host, 0)) {
        hpxi_dns_families_add(&known, &address);
    } else if (name_is_localhost(bare)) { /* RFC 6761 section 6.3: whatever the hosts file says */
        resolver_add_numeric(&known, "::1");
        resolver_add_numeric(&known, "127.0.0.1");
    } else {
        uint32_t cursor = 0;
        hpxi_dns_hosts_refresh(&resolver->hosts, *resolver->now_ns);
        for (const hpxi_address *at; (at = hpxi_dns_hosts_next(&resolver->hosts, bare, &cursor));) {
            hpxi_dns_families_add(&known, at);
        }
    }
    hpxi_dns_families_interleave(&known, &entry->addresses);
    if (entry->addresses.count == 0 && resolver->cache != NULL) {
        const hpxi_addresses *cached =
            hpxi_dns_cache_find(resolver->cache, entry->host, *resolver->now_ns);
        if (cached != NULL) {
            entry->addresses = *cached;
        }
    }
    return entry->addresses.count != 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static hpx_status resolver_status(int ares_status)
{
    switch (ares_status) {
    case ARES_SUCCESS: /* without an address */
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
        return HPX_E_DNS_NOT_FOUND;
    case ARES_ETIMEOUT:
        return HPX_E_DNS_TIMEOUT;
    default:
        return HPX_E_DNS_FAILED;
    }
}

/* One answer less to come. True: this one is of use. */
static bool lookup_count_answer(lookup *entry)
{
    hpxi_resolver *resolver = entry->resolver;
    HPX_ASSERT(entry->asks != 0);
    HPX_ASSERT(resolver->asked_count != 0);
    entry->asks--;
    resolver->asked_count -= entry->asks == 0 ? 1 : 0;
    if (resolver->freeing) {
        hpxi_wheel_cancel(resolver->wheel, &entry->hedge);
        entry->state = LOOKUP_DONE;
    } else if (entry->state == LOOKUP_LATE && entry->asks == 0) {
        lookup_give(entry);
    }
    return entry->state == LOOKUP_ASKED;
}

/* c-ares' callback: exactly once per question, perhaps from inside ares_getaddrinfo(). */
static void
resolver_on_answer(void *user, int ares_status, int timeouts, struct ares_addrinfo *answer)
{
    lookup *entry = user;
    hpxi_resolver *resolver = entry->resolver;
    (void)timeouts;
    hpxi_dns_families found = {0};
    int64_t ttl_s = 0;
    if (ares_status == ARES_SUCCESS && answer != NULL) {
        ttl_s = hpxi_dns_families_add_answer(&found, answer);
    }
    ares_freeaddrinfo(answer);
    if (!lookup_count_answer(entry)) {
        return;
    }
    hpxi_dns_families_interleave(&found, &entry->addresses);
    if (entry->addresses.count == 0 && entry->asks != 0) {
        return; /* the other question may still bring some */
    }
    if (entry->addresses.count == 0) {
        lookup_detail(entry, "%s", ares_strerror(ares_status));
        lookup_finish(entry, resolver_status(ares_status));
        return;
    }
    ttl_s = ttl_s < TTL_S_MAX ? ttl_s : TTL_S_MAX;
    if (ttl_s > 0 && resolver->cache != NULL) {
        const uint64_t expires_ns = *resolver->now_ns + (uint64_t)ttl_s * HPX_NS_PER_S;
        hpxi_dns_cache_put(resolver->cache, entry->host, &entry->addresses, expires_ns);
    }
    lookup_finish(entry, HPX_OK);
}

static void lookup_ask(lookup *entry)
{
    hpxi_resolver *resolver = entry->resolver;
    HPX_ASSERT(entry->state == LOOKUP_FREE || entry->state == LOOKUP_WAITING);
    static const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC};
    entry->state = LOOKUP_ASKED;
    entry->asks = 1;
    resolver->asked_count++;
    hpxi_wheel_set(resolver->wheel, &entry->hedge, *resolver->now_ns + HEDGE_NS);
    ares_getaddrinfo(resolver->channel, entry->host, NULL, &hints, resolver_on_answer, entry);
    HPX_ASSERT(entry->state == LOOKUP_ASKED || entry->state == LOOKUP_DONE);
}

static void lookup_wait(lookup *entry)
{
    hpxi_resolver *resolver = entry->resolver;
    HPX_ASSERT(entry->state == LOOKUP_FREE);
    HPX_DASSERT(entry->next == NULL);
    entry->state = LOOKUP_WAITING;
    if (resolver->waiting_first == NULL) {
        resolver->waiting_first = entry;
    } else {
        resolver->waiting_last->next = entry;
    }
    resolver->waiting_last = entry;
}

/* Ask what waits, as far as there is room, and if somebody still wants it. */
static void resolver_ask_waiting(hpxi_resolver *resolver)
{
    HPX_DASSERT(resolver->asked_count <= ASKED_MAX);
    while (resolver->waiting_first != NULL && resolver->asked_count < ASKED_MAX) {
        lookup *entry = resolver->waiting_first;
        resolver->waiting_first = entry->next;
        entry->next = NULL;
        HPX_ASSERT(entry->state == LOOKUP_WAITING);
        if (queries_empty(&entry->queries)) {
            lookup_give(entry);
        } else {
            lookup_ask(entry);
        }
    }
}

static lookup *resolver_find_shared(hpxi_resolver *resolver, const char *name)
{
    HPX_DASSERT(resolver->lookup_count <= HPXI_RESOLVER_LOOKUPS_MAX);
    for (uint32_t i = 0; i < resolver->lookup_count; i++) {
        lookup *entry = resolver->lookups[i];
        const bool shared = entry->state == LOOKUP_ASKED || entry->state == LOOKUP_WAITING;
        if (shared && strcmp(entry->host, name) == 0) {
            return entry;
        }
    }
    return NULL;
}

static lookup *resolver_begin(hpxi_resolver *resolver, const char *name)
{
    lookup *entry = lookup_take(resolver, name);
    if (entry == NULL) {
        entry = &resolver->overflow;
        if (entry->state == LOOKUP_FREE) {
            lookup_finish(entry, HPX_E_DNS_FAILED);
        }
        return entry;
    }
    if (lookup_is_known(entry)) {
        lookup_finish(entry, HPX_OK);
        return entry;
    }
    if (resolver->asked_count < ASKED_MAX) {
        lookup_ask(entry);
    } else {
        lookup_wait(entry);
    }
    return entry;
}

/* ---- delivery -------------------------------------------------------------------------------- */

/* Call back everybody who waits for a lookup. It is given back before: callbacks may start queries
 * and cancel others, those in `waiting` too. */
static uint32_t lookup_deliver(lookup *entry)
{
    HPX_ASSERT(entry->state == LOOKUP_DONE);
    hpxi_resolver *resolver = entry->resolver;
    const hpx_status status = entry->status;
    const hpxi_addresses known = entry->addresses;
    char detail[HPX_ERROR_DETAIL_BYTES];
    memcpy(detail, entry->detail, sizeof(detail));
    hpxi_query waiting;
    queries_move(&waiting, &entry->queries);
    lookup_give(entry);

    uint32_t count = 0;
    resolver->delivering = true;
    while (!queries_empty(&waiting)) {
        hpxi_query *query = waiting.next;
        query_detach(query);
        hpxi_addresses addresses = known;
        for (uint32_t i = 0; i < addresses.count; i++) {
            hpxi_address_set_port(&addresses.list[i], query->port);
        }
        query->done(query, status, &addresses, detail);
        count++;
    }
    resolver->delivering = false;
    return count;
}

/* Deliver what is done now. What callbacks add is for the next time, so that a query started anew
 * in its callback cannot hold the shard. */
static uint32_t resolver_deliver(hpxi_resolver *resolver)
{
    HPX_ASSERT(!resolver->delivering);
    HPX_DASSERT((resolver->done_first == NULL) == (resolver->done_last == NULL));
    resolver_ask_waiting(resolver); /* what is done has made room */
    uint32_t count = 0;
    lookup *entry = resolver->done_first;
    resolver->done_first = NULL;
    resolver->done_last = NULL;
    while (entry != NULL) {
        lookup *next = entry->next;
        count += lookup_deliver(entry);
        entry = next;
    }
    return count;
}

/* Set the timer for what comes next without a completion. */
static void resolver_schedule(hpxi_resolver *resolver)
{
    HPX_ASSERT(!resolver->freeing);
    if (resolver->done_first != NULL || resolver->sockets.backlog) {
        hpxi_wheel_set(resolver->wheel, &resolver->timer, *resolver->now_ns);
        return;
    }
    struct timeval left;
    if (ares_timeout(resolver->channel, NULL, &left) == NULL) {
        hpxi_wheel_cancel(resolver->wheel, &resolver->timer);
        return;
    }
    /* c-ares rounds down to a millisecond, and does nothing when called too early. */
    const uint64_t left_ns = (uint64_t)left.tv_sec * HPX_NS_PER_S +
                             (uint64_t)left.tv_usec * HPX_NS_PER_US + HPX_NS_PER_MS;
    hpxi_wheel_set(resolver->wheel, &resolver->timer, *resolver->now_ns + left_ns);
}

static void resolver_run(hpxi_resolver *resolver)
{
    HPX_ASSERT(!resolver->delivering);
    hpxi_dns_sockets_pump(&resolver->sockets, resolver->channel);
    resolver_deliver(resolver);
    resolver_schedule(resolver);
}

static void resolver_on_timer(hpxi_timer *timer, uint64_t now_ns)
{
    hpxi_resolver *resolver =
        (hpxi_resolver *)(void *)((char *)timer - offsetof(hpxi_resolver, timer));
    HPX_ASSERT(timer == &resolver->timer);
    (void)now_ns;
    hpxi_dns_sockets_rearm(&resolver->sockets);
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* its timeouts */
    resolver_run(resolver);
}

static void query_on_timeout(hpxi_timer *timer, uint64_t now_ns)
{
    hpxi_query *query = (hpxi_query *)(void *)((char *)timer - offsetof(hpxi_query, timeout));
    hpxi_resolver *resolver = query->resolver;
    (void)now_ns;
    HPX_ASSERT(query->lookup < resolver->lookup_count);
    HPX_ASSERT(!resolver->delivering);
    lookup *entry = resolver->lookups[query->lookup];
    HPX_ASSERT(entry->state == LOOKUP_ASKED || entry->state == LOOKUP_WAITING);
    lookup_detail(entry, "no answer in time");
    char detail[HPX_ERROR_DETAIL_BYTES];
    memcpy(detail, entry->detail, sizeof(detail));
    entry->detail[0] = '\0'; /* it goes on without this query */
    query_detach(query);
    const hpxi_addresses none = {.count = 0};
    resolver->delivering = true;
    query->done(query, HPX_E_DNS_TIMEOUT, &none, detail);
    resolver->delivering = false;
}

static void lookup_on_hedge(hpxi_timer *timer, uint64_t now_ns)
{
    lookup *entry = (lookup *)(void *)((char *)timer - offsetof(lookup, hedge));
    hpxi_resolver *resolver = entry->resolver;
    (void)now_ns;
    HPX_ASSERT(entry->state == LOOKUP_ASKED);
    HPX_ASSERT(entry->asks == 1);
    static const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, .ai_family = AF_INET};
    entry->asks = 2;
    ares_getaddrinfo(resolver->channel, entry->host, NULL, &hints, resolver_on_answer, entry);
    resolver_run(resolver);
}

void hpxi_query_start(
    hpxi_resolver *resolver,
    hpxi_query *query,
    const char *host,
    uint16_t port,
    uint64_t timeout_ns,
    hpxi_query_fn done,
    void *owner)
{
    HPX_ASSERT(!query->active);
    HPX_ASSERT(done != NULL);
    *query = (hpxi_query){
        .done = done, .owner = owner, .resolver = resolver, .active = true, .port = port};
    hpxi_timer_init(&query->timeout, query_on_timeout);
    char name[HPXI_DNS_HOST_BYTES];
    const size_t size = strlen(host);
    HPX_ASSERT(size != 0);
    HPX_ASSERT(size < sizeof(name)); /* the URL's parser has seen to it */
    for (size_t i = 0; i <= size; i++) {
        name[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] + ('a' - 'A')) : host[i];
    }
    lookup *entry = resolver_find_shared(resolver, name);
    if (entry == NULL) {
        entry = resolver_begin(resolver, name);
    }
    query->lookup = entry->index;
    queries_push(&entry->queries, query);
    if (entry->state != LOOKUP_DONE) {
        const uint64_t now_ns = *resolver->now_ns;
        const uint64_t deadline_ns =
            timeout_ns < UINT64_MAX - now_ns ? now_ns + timeout_ns : UINT64_MAX;
        hpxi_wheel_set(resolver->wheel, &query->timeout, deadline_ns);
    }
    resolver_schedule(resolver);
}

void hpxi_query_cancel(hpxi_query *query)
{
    if (!query->active) {
        return;
    }
    HPX_ASSERT(query->resolver != NULL);
    query_detach(query);
}

void hpxi_resolver_completion(hpxi_resolver *resolver, const hpxi_completion *completion)
{
    HPX_ASSERT(!resolver->delivering);
    if (hpxi_dns_sockets_completion(&resolver->sockets, completion)) {
        resolver_run(resolver);
    }
}

uint32_t hpxi_resolver_settle(hpxi_resolver *resolver)
{
    HPX_DASSERT(!resolver->freeing);
    if (HPXI_LIKELY(resolver->done_first == NULL)) {
        return 0;
    }
    const uint32_t count = resolver_deliver(resolver);
    resolver_schedule(resolver);
    return count;
}

uint32_t hpxi_resolver_polls(const hpxi_resolver *resolver)
{
    HPX_ASSERT(!resolver->freeing);
    return hpxi_dns_sockets_polls(&resolver->sockets);
}

/* ---- making and freeing ---------------------------------------------------------------------- */

/* "ADDR", "ADDR:PORT", "[V6]" or "[V6]:PORT". Changes the text. */
static bool resolver_parse_server(hpxi_address *out, char *text)
{
    HPX_ASSERT(text != NULL);
    const size_t size = strlen(text);
    if (hpxi_address_parse(out, text, DNS_PORT)) {
        return true;
    }
    if (size > 2 && text[0] == '[' && text[size - 1] == ']') {
        text[size - 1] = '\0';
        return hpxi_address_parse(out, text + 1, DNS_PORT) && out->u.any.sa_family == AF_INET6;
    }
    return hpxi_address_parse_endpoint(out, text);
}

/* c-ares 1.18 takes much that is no address list, so ours is parsed here and written out anew. */
static hpx_status
resolver_set_servers(hpxi_resolver *resolver, const char *servers, hpx_error *error)
{
    HPX_ASSERT(servers != NULL);
    char list[SERVERS_BYTES_MAX];
    size_t list_size = 0;
    for (const char *at = servers; at != NULL;) {
        char item[HPXI_ADDRESS_TEXT_BYTES];
        const size_t item_size = strcspn(at, ",");
        hpxi_address address = {0};
        const bool fits =
            item_size < sizeof(item) && list_size + HPXI_ADDRESS_TEXT_BYTES + 1 < sizeof(list);
        if (fits) {
            memcpy(item, at, item_size);
            item[item_size] = '\0';
        }
        if (!fits || !resolver_parse_server(&address, item)) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "name server \"%.*s\" is not ADDR or ADDR:PORT, or there are too many",
                item_size < HPXI_ADDRESS_TEXT_BYTES ? (int)item_size : HPXI_ADDRESS_TEXT_BYTES,
                at);
        }
        if (list_size != 0) {
            list[list_size++] = ',';
        }
        hpxi_address_format(&address, list + list_size);
        list_size += strlen(list + list_size);
        at = at[item_size] == ',' ? at + item_size + 1 : NULL;
    }
    const int status = ares_set_servers_ports_csv(resolver->channel, list);
    if (status != ARES_SUCCESS) {
        return hpxi_error_set(
            error,
            status == ARES_ENOMEM ? HPX_E_NO_MEMORY : HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "name servers %.100s: %s",
            list,
            ares_strerror(status));
    }
    return HPX_OK;
}

static hpx_status
resolver_open_channel(hpxi_resolver *resolver, const hpxi_resolver_config *config, hpx_error *error)
{
    char lookups[] = "b"; /* DNS alone: the hosts file is ours */
    struct ares_options options = {0};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS;
    options.flags = ARES_FLAG_NOALIASES; /* no file named by an environment variable */
#if ARES_VERSION >= 0x011700             /* its default from there on; before, it had a flaw */
    options.flags |= ARES_FLAG_EDNS;
#endif
    options.timeout = TRY_TIMEOUT_MS;
    options.tries = TRIES;
    options.lookups = lookups;
#ifdef ARES_OPT_QUERY_CACHE
    options.qcache_max_ttl = 0; /* ours is enough */
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    hpxi_dns_sockets_options(&resolver->sockets, &options, &mask);
    const int status = ares_init_options(&resolver->channel, &options, mask);
    if (status != ARES_SUCCESS) {
        resolver->channel = NULL;
        return hpxi_error_set(
            error,
            status == ARES_ENOMEM ? HPX_E_NO_MEMORY : HPX_E_INTERNAL,
            HPX_STAGE_CONFIG,
            "c-ares: %s",
            ares_strerror(status));
    }
    HPX_ASSERT(resolver->channel != NULL);
    hpxi_dns_sockets_attach(&resolver->sockets, resolver->channel);
    return config->servers == NULL ? HPX_OK
                                   : resolver_set_servers(resolver, config->servers, error);
}

hpx_status hpxi_resolver_new(
    hpxi_resolver **out,
    const hpxi_resolver_config *config,
    hpxi_ring *ring,
    hpxi_wheel *wheel,
    const uint64_t *now_ns,
    const hpx_allocator *allocator,
    hpx_error *error)
{
    *out = NULL;
    hpxi_resolver *resolver =
        hpxi_alloc_zero(allocator, sizeof(*resolver), _Alignof(hpxi_resolver));
    if (resolver == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "resolver");
    }
    resolver->allocator = allocator;
    resolver->wheel = wheel;
    resolver->now_ns = now_ns;
    hpxi_timer_init(&resolver->timer, resolver_on_timer);
    lookup_init(&resolver->overflow, resolver, HPXI_RESOLVER_LOOKUPS_MAX);
    snprintf(
        resolver->overflow.detail,
        sizeof(resolver->overflow.detail),
        "%u names are being resolved already, or memory is short",
        HPXI_RESOLVER_LOOKUPS_MAX);
    const char *hosts_path = config->hosts_path != NULL ? config->hosts_path : "/etc/hosts";
    hpxi_dns_hosts_init(&resolver->hosts, hosts_path, allocator);
    hpxi_dns_sockets_init(&resolver->sockets, ring);
    hpx_status status = resolver_open_channel(resolver, config, error);
    if (status == HPX_OK && config->cache_entries != 0) {
        resolver->cache = hpxi_dns_cache_new(config->cache_entries, allocator);
        if (resolver->cache == NULL) {
            status = hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "resolver's cache");
        }
    }
    if (status != HPX_OK) {
        hpxi_resolver_free(resolver);
        return status;
    }
    HPX_ASSERT(!hpxi_timer_is_set(&resolver->timer));
    hpxi_dns_hosts_refresh(&resolver->hosts, *now_ns);
    *out = resolver;
    return HPX_OK;
}

static void lookup_drop_queries(lookup *entry)
{
    while (!queries_empty(&entry->queries)) {
        query_detach(entry->queries.next);
    }
    HPX_DASSERT(queries_empty(&entry->queries));
}

void hpxi_resolver_free(hpxi_resolver *resolver)
{
    if (resolver == NULL) {
        return;
    }
    HPX_ASSERT(!resolver->delivering);
    resolver->freeing = true;
    lookup_drop_queries(&resolver->overflow);
    for (uint32_t i = 0; i < resolver->lookup_count; i++) {
        lookup_drop_queries(resolver->lookups[i]);
    }
    ares_destroy(resolver->channel); /* calls back for every lookup that is asked */
    hpxi_wheel_cancel(resolver->wheel, &resolver->timer);
    const hpx_allocator *allocator = resolver->allocator;
    HPX_ASSERT(resolver->asked_count == 0);
    for (uint32_t i = 0; i < resolver->lookup_count; i++) {
        HPX_ASSERT(resolver->lookups[i]->asks == 0);
        HPX_ASSERT(!hpxi_timer_is_set(&resolver->lookups[i]->hedge));
        hpxi_free(allocator, resolver->lookups[i], sizeof(lookup));
    }
    hpxi_dns_cache_free(resolver->cache);
    hpxi_dns_hosts_fini(&resolver->hosts);
    hpxi_free(allocator, resolver, sizeof(*resolver));
}
