/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of h2/ share: the session, its stream slots, its token buckets.
 *
 *   session.c    life, output, deadlines, failure
 *   input.c      frames in, events out; counting of frames
 *   stream.c     slots; requests, responses, bodies; reset, consume
 *   callbacks.c  nghttp2's callbacks: they note down, and change nothing in nghttp2
 *   head.c       checks of what we send, field by field
 *   limits.c     configuration and the budgets that floods run into
 */
#ifndef HPXI_H2_INTERNAL_H
#define HPXI_H2_INTERNAL_H

#include "h2/memory.h"
#include "h2/session.h"

#define HPXI_H2_FRAME_HEADER_BYTES 9u
#define HPXI_H2_FRAME_TYPE_AT      3u
#define HPXI_H2_FRAME_FLAGS_AT     4u
#define HPXI_H2_MAGIC_BYTES        24u
#define HPXI_H2_WINDOW_DEFAULT     65535u /* RFC 9113 6.9.2 */
#define HPXI_H2_DETAIL_BYTES       128u
#define HPXI_H2_EVENTS_MAX         4u /* of one frame: a head or DATA, END; the rest is less */
#define HPXI_H2_NO_SLOT            UINT32_MAX
#define HPXI_H2_PING_BYTES         8u
#define HPXI_H2_OWN_FIELDS         5u /* pseudo-header fields, content-length */

extern const uint8_t hpxi_h2_drain_data[HPXI_H2_PING_BYTES]; /* of a server's drain PING */

/* ---- Budgets (limits.c) --------------------------------------------------------------------- */

/* A token bucket in nanoseconds: `debt_ns` is the time until it is full again. */
typedef struct hpxi_h2_bucket {
    uint64_t token_ns; /* one token's share of a second */
    uint64_t room_ns;  /* burst * token_ns */
    uint64_t debt_ns;
    uint64_t at_ns;
} hpxi_h2_bucket;

void hpxi_h2_bucket_init(hpxi_h2_bucket *bucket, hpxi_h2_rate rate, uint64_t now_ns);

/* One token; false when there is none. */
bool hpxi_h2_bucket_take(hpxi_h2_bucket *bucket, uint64_t now_ns);

/* Tokens earned by useful work. */
void hpxi_h2_bucket_earn(hpxi_h2_bucket *bucket, uint32_t tokens);

/* ---- Streams (stream.c) --------------------------------------------------------------------- */

typedef struct hpxi_h2_slot {
    uint32_t generation; /* of the stream in it now, or of the next one */
    uint32_t next;       /* in the free list, or in the list of ended streams */
    int32_t stream_id;   /* 0: free */
    bool is_written;     /* its first HEADERS left (server: was received) */
    bool is_announced;   /* the user knows it: has a handle */
    bool is_ended;       /* nghttp2 has let go of it; CLOSED is due */
    bool is_discarded;   /* ended by the user meanwhile: no CLOSED */
    bool is_by_peer;     /* the peer ended it */
    bool is_body_broken; /* our body failed: the reset is not for the peer's fault */
    bool is_head_only;   /* the request is HEAD */
    bool got_final;      /* client: the final head came; server: the request head */
    bool got_end;        /* the peer's message is complete */
    bool got_reset;      /* by RST_STREAM of the peer */
    bool sent_final;     /* server: the final head was queued */
    bool is_deferred;    /* its body had nothing to give */
    bool has_length;     /* expected_bytes holds */
    uint32_t informational_count;
    uint32_t code;     /* when is_ended; hpxi_h2_code */
    hpx_status status; /* a cause known before the end, or HPX_OK */
    size_t unconsumed_bytes;
    uint64_t sent_bytes;     /* of the body */
    uint64_t expected_bytes; /* the content-length that the head has */
    hpxi_h2_body body;
    void *user;
} hpxi_h2_slot;

/* ---- The session ---------------------------------------------------------------------------- */

/* Offsets into the arena while a head is being received; spans when it is delivered. */
typedef struct hpxi_h2_incoming {
    hpxi_h2_stream stream;
    bool is_broken; /* over a limit: the rest is ignored */
    uint16_t status;
    uint32_t field_count;
    size_t list_bytes;
    hpx_span method;
    hpx_span scheme;
    hpx_span authority;
    hpx_span path;
} hpxi_h2_incoming;

struct hpxi_h2 {
    hpxi_h2_ping ping; /* first: its statistics are a cache line of their own */
    hpxi_h2_config config;
    const hpx_allocator *allocator; /* the caller's; the session itself comes from it */
    hpxi_h2_memory memory;
    nghttp2_session *library;
    bool is_inside; /* a function of nghttp2 is running: no call from a pull function */

    /* input */
    uint32_t magic_left; /* server: bytes of the client's preface to come */
    uint8_t header[HPXI_H2_FRAME_HEADER_BYTES];
    uint32_t header_have;
    uint32_t payload_left;
    bool was_useful; /* a callback took the frame for something */
    uint64_t now_ns; /* of the call in progress */
    hpxi_h2_event events[HPXI_H2_EVENTS_MAX];
    uint32_t event_at;
    uint32_t event_count;
    hpxi_h2_incoming incoming;
    hpxi_buf arena;        /* bytes of the head being received */
    hpxi_h2_field *fields; /* limits.fields_max */
    uint8_t debug_data[HPXI_H2_DETAIL_BYTES];

    /* output */
    hpxi_buf *out; /* during hpxi_h2_flush() and _next() */
    size_t out_bytes_max;
    bool is_paused;    /* bodies wait for room in `out` */
    bool is_mid_head;  /* the last frame written has CONTINUATION to follow */
    nghttp2_nv *pairs; /* limits.fields_max + 5 */

    /* streams */
    hpxi_h2_slot *slots; /* limits.streams_max */
    uint32_t free_first;
    uint32_t ended_first;
    uint32_t ended_last;
    uint32_t used_count;   /* slots in use */
    uint32_t live_count;   /* streams that nghttp2 has open */
    uint32_t queued_count; /* requests submitted, not yet written */
    int32_t written_id;    /* client: the last request written */
    uint32_t failed_at;    /* next slot to end when the session has failed */
    uint32_t opened_count;
    uint64_t refund_bytes;     /* to give back to the connection when no callback runs */
    uint64_t refunded_bytes;   /* so far */
    uint64_t unconsumed_bytes; /* over all streams */

    /* connection */
    hpxi_h2_failure_info failure;
    bool is_goaway_due; /* by us, after a failure that nghttp2 did not see */
    bool got_settings;
    bool got_goaway;
    bool is_closing_by_goaway; /* nghttp2 ends streams because of a GOAWAY just received */
    bool is_draining;
    bool is_drain_pinged;    /* server: the PING after the first GOAWAY is under way */
    bool is_drain_final_due; /* and was answered: the final GOAWAY is due */
    bool is_drain_final;     /* the last GOAWAY of a drain was queued */
    uint32_t goaway_code;    /* received */
    uint64_t ping_sequence;
    uint8_t ping_data[HPXI_H2_PING_BYTES]; /* of the PING in flight */
    uint32_t settings_unacknowledged;
    uint64_t settings_at_ns; /* the oldest of them was sent */
    uint32_t window_wanted;  /* to announce when they are acknowledged; 0: none */
    uint32_t window_bytes;   /* of new streams, as announced */
    hpxi_h2_bucket pings;
    hpxi_h2_bucket settings;
    hpxi_h2_bucket resets_received;
    hpxi_h2_bucket resets_sent;
    hpxi_h2_bucket overhead;
    uint64_t frames_received;
    uint64_t resets_received_count;
    uint64_t resets_sent_count;
    char detail[HPXI_H2_DETAIL_BYTES];
};

/* The session ends. First call wins. `code` HPXI_H2_NO_ERROR: no GOAWAY of ours is due. `detail`
 * is static text or h2->detail. (session.c) */
void hpxi_h2_session_fail(hpxi_h2 *h2, hpx_status status, uint32_t code, const char *detail);

/* What an error of nghttp2 means for the session, which has failed then; HPX_OK for >= 0. */
hpx_status hpxi_h2_session_check(hpxi_h2 *h2, int library_error);

/* Write frames while `out` is below out_bytes_max; with 0 what is queued, but no bodies. 1: more
 * waits for room; 0: all is written; or the failure. */
hpx_status hpxi_h2_session_write(hpxi_h2 *h2, hpxi_buf *out, size_t out_bytes_max);

/* The GOAWAY that a failure owes the peer, once. */
void hpxi_h2_session_write_goaway(hpxi_h2 *h2, hpxi_buf *out);

/* Append an event of the frame being received. (input.c) */
hpxi_h2_event *hpxi_h2_session_push(hpxi_h2 *h2, hpxi_h2_event_kind kind, hpxi_h2_stream stream);

/* The invariant, for HPX_XASSERT. */
bool hpxi_h2_session_is_valid(const hpxi_h2 *h2);

/* Give back connection window noted by callbacks. */
void hpxi_h2_session_refund(hpxi_h2 *h2);

/* NULL for a stale handle. (stream.c) */
hpxi_h2_slot *hpxi_h2_slot_of(const hpxi_h2 *h2, hpxi_h2_stream stream);
hpxi_h2_stream hpxi_h2_slot_handle(const hpxi_h2 *h2, const hpxi_h2_slot *slot);
hpx_status hpxi_h2_slots_init(hpxi_h2 *h2);
/* A free slot for stream `stream_id`; NULL when there is none. */
hpxi_h2_slot *hpxi_h2_slot_take(hpxi_h2 *h2, int32_t stream_id);
/* The handle becomes stale and the slot free; its window is noted for the connection. */
void hpxi_h2_slot_release(hpxi_h2 *h2, hpxi_h2_slot *slot);
/* The stream is over for nghttp2: queue its CLOSED. */
void hpxi_h2_slot_end(hpxi_h2 *h2, hpxi_h2_slot *slot, hpx_status status, uint32_t code);

/* CLOSED of the next ended stream that the user knows; its slot is free then. */
bool hpxi_h2_slot_next_ended(hpxi_h2 *h2, hpxi_h2_event *event);

/* The handle that nghttp2 keeps for a stream; HPXI_H2_NO_STREAM for one it refused by itself. */
static inline hpxi_h2_stream hpxi_h2_handle_of(const hpxi_h2 *h2, int32_t stream_id)
{
    return (hpxi_h2_stream)(uintptr_t)nghttp2_session_get_stream_user_data(h2->library, stream_id);
}

/* Installs nghttp2's callbacks. (callbacks.c) */
void hpxi_h2_callbacks_set(nghttp2_session_callbacks *callbacks);

/* nghttp2's read and send functions for bodies. (stream.c) */
ssize_t hpxi_h2_body_read(
    nghttp2_session *library,
    int32_t stream_id,
    uint8_t *to,
    size_t room,
    uint32_t *flags,
    nghttp2_data_source *source,
    void *user);
int hpxi_h2_body_send(
    nghttp2_session *library,
    nghttp2_frame *frame,
    const uint8_t *frame_header,
    size_t size,
    nghttp2_data_source *source,
    void *user);

/* ---- Heads that we send (head.c) ------------------------------------------------------------ */

typedef struct hpxi_h2_head_facts {
    bool has_length;
    uint64_t length;
    size_t list_bytes; /* names, values, 32 each */
} hpxi_h2_head_facts;

/* HPX_OK, or HPX_E_INVALID with the error filled. `authority` may be empty. */
hpx_status hpxi_h2_fields_check(
    const hpxi_h2_field *fields,
    uint32_t field_count,
    hpx_span authority,
    hpxi_h2_head_facts *facts,
    hpx_error *error);
/* A request's head as a whole. */
hpx_status hpxi_h2_request_facts(
    const hpxi_h2 *h2,
    const hpxi_h2_request_head *head,
    hpxi_h2_head_facts *facts,
    hpx_error *error);
/* Against our limits and the peer's. */
hpx_status
hpxi_h2_sizes_check(const hpxi_h2 *h2, uint32_t field_count, size_t list_bytes, hpx_error *error);
hpx_status hpxi_h2_invalid(hpx_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* HPXI_H2_INTERNAL_H */
