/* SPDX-License-Identifier: Apache-2.0 */
/**
 * protocol.h - dialects: what an exchange's messages mean, and how to say things in its language.
 *
 * Role      The driver knows WebSocket; a dialect knows which message answers a request, which is
 *           an update of which topic, how to authenticate and how to subscribe. Two come with the
 *           library (JSON-RPC 2.0, and a generic JSON one made of field names and templates);
 *           others are a table of functions.
 * Threads   Every function of a table runs on the connection's shard. A table shared by
 *           connections on several shards must not change its `ctx` without synchronisation.
 * Memory    Functions of a table allocate nothing; they get views that are valid during the call,
 *           and write into a bounded writer. Message bytes come from the peer: any bytes at all.
 */
#ifndef HPX_PROTOCOL_H
#define HPX_PROTOCOL_H

#include <string.h>

#include <hpx/base.h>

HPX_EXTERN_C_BEGIN

/** What a message is for. Each goes to one place: a RESPONSE to its request, an UPDATE to the
 *  subscribers of its topic, the others to the stream as HPX_EVENT_MESSAGE. */
typedef enum hpx_message_class {
    HPX_CLASS_UNKNOWN = 0, /* not understood, or no dialect */
    HPX_CLASS_RESPONSE,    /* answers the request with `id` */
    HPX_CLASS_UPDATE,      /* data of `topic` */
    HPX_CLASS_SYSTEM,      /* said to the session: welcome, maintenance, errors without an id */
    HPX_CLASS_CONTROL,     /* heartbeats and acknowledgements */
} hpx_message_class;

/** "response", "update", ...; static, never NULL. @thread any */
HPX_API const char *hpx_message_class_name(hpx_message_class message_class);

/** Facts about a message beyond its class; or-ed into hpx_classified.meaning. */
enum {
    HPX_MEANS_ERROR = 1 << 0,        /* RESPONSE, SYSTEM: the server refused; see `reason` */
    HPX_MEANS_AUTH_OK = 1 << 1,      /* authentication succeeded (dialects without an id) */
    HPX_MEANS_AUTH_FAILED = 1 << 2,  /* authentication was refused */
    HPX_MEANS_SUBSCRIBED = 1 << 3,   /* `topic` is subscribed now (acknowledged by topic) */
    HPX_MEANS_UNSUBSCRIBED = 1 << 4, /* `topic` is not subscribed any more */
    HPX_MEANS_REFUSED = 1 << 5,      /* the subscription of `topic` was refused */
    HPX_MEANS_PING = 1 << 6,         /* the server wants build_pong()'s answer */
    HPX_MEANS_PONG = 1 << 7,         /* answers build_ping() (dialects without an id) */
    HPX_MEANS_RECONNECT = 1 << 8,    /* the server asks us to connect anew */
};

typedef enum hpx_id_kind {
    HPX_ID_NONE = 0, /* absent, null, or of a kind that no request carries */
    HPX_ID_NUMBER,   /* a non-negative integer below 2^64, however it was written */
    HPX_ID_TEXT,     /* a string: compared byte by byte */
} hpx_id_kind;

/** The identifier of a request as it stands in a message. */
typedef struct hpx_request_id {
    hpx_id_kind kind;
    uint64_t number; /* NUMBER */
    hpx_span text;   /* TEXT; at most HPX_REQUEST_ID_BYTES */
} hpx_request_id;

#define HPX_REQUEST_ID_BYTES 48

/** What classify() found. Spans point into the message; the library's dialects unescape strings
 * that need it into memory of the calling thread, valid until its next classify(). */
typedef struct hpx_classified {
    hpx_message_class message_class;
    uint32_t meaning; /* HPX_MEANS_... */
    hpx_request_id id;
    hpx_span topic;
    hpx_span reason; /* of an error or a refusal; may be empty */
} hpx_classified;

/** Bounded output. Append with the functions below; what does not fit sets `overflow`. */
typedef struct hpx_writer {
    uint8_t *data;
    size_t capacity;
    size_t size;
    bool overflow;
} hpx_writer;

/** @thread any @alloc never */
static inline void hpx_writer_bytes(hpx_writer *writer, const void *data, size_t size)
{
    if (size > writer->capacity - writer->size) {
        writer->overflow = true;
        return;
    }
    if (size != 0) {
        memcpy(writer->data + writer->size, data, size);
        writer->size += size;
    }
}

/** @thread any @alloc never */
static inline void hpx_writer_span(hpx_writer *writer, hpx_span span)
{
    hpx_writer_bytes(writer, span.data, span.size);
}

/** A NUL-terminated string, without its NUL. @thread any @alloc never */
static inline void hpx_writer_text(hpx_writer *writer, const char *text)
{
    hpx_writer_bytes(writer, text, strlen(text));
}

/** Decimal digits. @thread any @alloc never */
HPX_API void hpx_writer_u64(hpx_writer *writer, uint64_t value);

/** `text`, which is UTF-8, as a JSON string, in quotes and escaped. @thread any @alloc never */
HPX_API void hpx_writer_json_string(hpx_writer *writer, hpx_span text);

#define HPX_SPLICE_BYTES 64

/** Replace bytes [offset, offset + removed) of a payload by `text`: how a request gets its id
 *  without another copy of the payload. */
typedef struct hpx_splice {
    size_t offset;
    size_t removed;
    size_t text_bytes; /* 0..HPX_SPLICE_BYTES */
    char text[HPX_SPLICE_BYTES];
} hpx_splice;

/** The dialect answers every batch of topics (by id or by topic); without this flag a topic
 *  counts as subscribed once its message is sent. */
#define HPX_PROTOCOL_ACKNOWLEDGES (UINT32_C(1) << 0)

/**
 * The table of a dialect. Start from HPX_PROTOCOL_INIT. Functions marked optional may be NULL.
 * `build` functions return 1 (one message written), 0 (nothing to say) or < 0 (an error that
 * ends the attempt: HPX_E_INVALID). A writer that overflows counts as HPX_E_LIMIT; topics are then
 * tried again in smaller batches.
 */
typedef struct hpx_protocol {
    uint32_t size;
    uint32_t flags;   /* HPX_PROTOCOL_... */
    const char *name; /* for errors and traces; static */
    void *ctx;        /* given to every function */

    /** Optional, both or neither: a connection holds `ctx` from connect to CLOSED. */
    void (*retain)(void *ctx);
    void (*release)(void *ctx);

    /** Required. What is this message? `text` is the payload, after decode_binary(). `out` is zero
     *  on entry: leaving it so means UNKNOWN. One scan answers all questions of the driver. */
    void (*classify)(void *ctx, hpx_span text, hpx_classified *out);

    /** Optional: turn a binary message into text (inflate, say). The writer's capacity is
     *  message_bytes_max. @returns 1 written, 0 leave it as it is, < 0 malformed: close 1007 */
    hpx_status (*decode_binary)(void *ctx, hpx_span raw, hpx_writer *out);

    /** Optional: message number `index` (0, 1, ...) to send when connected, before
     *  authentication; 0 when there are no more. `id` is a fresh request id to use if needed. */
    hpx_status (*build_on_connect)(void *ctx, uint32_t index, uint64_t id, hpx_writer *out);

    /** Optional: the authentication request. Success is a RESPONSE with this id and without
     *  MEANS_ERROR, or MEANS_AUTH_OK. 0: no authentication. */
    hpx_status (*build_auth)(void *ctx, uint64_t id, hpx_writer *out);

    /** Required for subscriptions. `count` >= 1. */
    hpx_status (*build_subscribe)(
        void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out);
    hpx_status (*build_unsubscribe)(
        void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out);

    /** Optional: which topics did a RESPONSE without MEANS_ERROR accept? Sets accepted[i]; NULL:
     *  all of them. */
    void (*subscription_result)(
        void *ctx, hpx_span response, const hpx_span *topics, uint32_t count, bool *accepted);

    /** Required for requests: where `id` goes. @returns 1, or HPX_E_INVALID: no place for it */
    hpx_status (*inject_request_id)(void *ctx, hpx_span payload, uint64_t id, hpx_splice *out);

    /** Optional: a protocol-level ping; answered by a RESPONSE with this id or MEANS_PONG. */
    hpx_status (*build_ping)(void *ctx, uint64_t id, hpx_writer *out);

    /** Optional: the answer to a message with MEANS_PING. */
    hpx_status (*build_pong)(void *ctx, hpx_span ping, uint64_t id, hpx_writer *out);
} hpx_protocol;

#define HPX_PROTOCOL_INIT                                                                          \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_protocol)                                                     \
    }

/** Writes an authentication request, as hpx_protocol.build_auth does. */
typedef hpx_status (*hpx_build_auth)(void *ctx, uint64_t id, hpx_writer *out);

/*
 * How both dialects read a message: it is JSON from its first byte to its last, by RFC 8259 and
 * nothing more lenient, or it is UNKNOWN. So is one of more than 512 objects and arrays in each
 * other. Of a key that occurs twice in an object the first counts. Keys and strings are compared
 * unescaped: "\u0069d" is "id". An id is a number in whatever form (7, 7.0, 70e-1), exactly; or a
 * string of up to HPX_REQUEST_ID_BYTES; others (negative, huge, fractions, true, [1]) make a
 * RESPONSE with HPX_ID_NONE, which no request has; null is as good as none. Nothing allocates,
 * nothing recurses.
 */

/* ---- JSON-RPC 2.0 ---------------------------------------------------------------------------- */

/**
 * Start from HPX_JSON_RPC_CONFIG_INIT. NULL means the default in brackets. Strings are copied.
 *
 * Messages with a method: update_method with a topic is an UPDATE, heartbeat_method CONTROL, all
 * others SYSTEM. Without: a result or an error with an id is a RESPONSE, an error without one
 * SYSTEM. Arrays (batches of JSON-RPC) are UNKNOWN. A batch of topics is accepted as far as the
 * array in `result` lists it, and whole when `result` is no array.
 */
typedef struct hpx_json_rpc_config {
    uint32_t size;
    uint32_t flags;                 /* reserved, 0 */
    const char *auth_method;        /* [public/auth] */
    const char *auth_params;        /* JSON object; NULL: no authentication */
    const char *subscribe_method;   /* [public/subscribe] */
    const char *unsubscribe_method; /* [public/unsubscribe] */
    const char *topics_field;       /* [channels] in params: the array of topics */
    const char *update_method;      /* [subscription] of notifications with data */
    const char *update_topic_field; /* [channel] in their params; a path, up to 7 keys */
    const char *heartbeat_method;   /* [heartbeat] of the server's liveness check; "": none */
    const char *heartbeat_type;     /* [test_request] its params.type that wants an answer */
    const char *ping_method;       /* [public/test] our ping, and answer to a heartbeat; "": none */
    const char *reconnect_method;  /* NULL [none]: a notification that asks us to reconnect */
    const char *const *on_connect; /* messages to send first; "id" is filled in where absent */
    uint32_t on_connect_count;     /* 0..16 */
    hpx_build_auth build_auth;     /* in place of auth_params: a signature that holds the time */
    void *build_auth_ctx;          /* borrowed while the dialect is in use */
} hpx_json_rpc_config;

#define HPX_JSON_RPC_CONFIG_INIT                                                                   \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_json_rpc_config)                                              \
    }

/** JSON-RPC 2.0 with the defaults and without authentication. Static. @thread any */
HPX_API const hpx_protocol *hpx_protocol_json_rpc(void);

/**
 * JSON-RPC 2.0 with settings.
 *
 * @param out    set on success; given back with hpx_protocol_free() (connections that use it keep
 *               what they need)
 * @param error  may be NULL; names the bad member
 * @thread any   @blocks never
 * @returns HPX_OK, HPX_E_INVALID, HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status
hpx_protocol_json_rpc_new(hpx_protocol **out, const hpx_json_rpc_config *config, hpx_error *error);

/* ---- Generic JSON ---------------------------------------------------------------------------- */

/**
 * A JSON dialect made of field paths and templates. Start from HPX_JSON_CONFIG_INIT; NULL means the
 * default in brackets, or "not used" where there is none. Strings are copied.
 *
 * A *path* names a value: "id", or "arg.channel" for a field of an object in a field,
 * "data.0.symbol" for one of an array's first element; up to 8 keys. A *field* is a path or up to 4
 * separated by '|': the first that is there and not null. A field's value is the text of a string
 * and, of anything else, its JSON as it stands: a topic may be an object, byte by byte.
 *
 * A *rule* says "path=value" (a string, number or boolean as JSON writes it, without quotes) or
 * "path" (it is there and not null). Terms joined by '&' must all be so; a message matches if any
 * of the alternatives separated by '|' does. Up to 64 terms, 32 paths and 63 keys in a dialect.
 *
 * A *template* is a message in which ${id} stands for the request id, ${topics} for the topics as
 * a JSON array of strings, ${topics:TEMPLATE} for an array with TEMPLATE for each, in which
 * ${topic} is the topic as a JSON string and ${topic:raw} its bytes as they are, ${ping} for the
 * value of ping_value_field in the server's ping (null if it has none). ${topic} outside of
 * ${topics:...} makes a message for one topic: set topics_per_message_max to 1. A template that
 * begins with { or [ must be JSON once filled in, or hpx_protocol_json_new() refuses it.
 *
 * A message is asked in this order, and the first that says yes decides: ping_text, pong_text,
 * ping_rule, pong_rule, reconnect_rule, auth_ok_rule, auth_failed_rule; if there is a topic
 * refused_rule, subscribed_rule, unsubscribed_rule; system_rule; if there is a topic update_rule;
 * response_rule (or an id); error_rule (SYSTEM: an error of nobody); if there is a topic and no
 * update_rule, UPDATE; else UNKNOWN. docs/dialects.md has configurations of several exchanges.
 */
typedef struct hpx_json_config {
    uint32_t size;
    uint32_t flags;             /* reserved, 0 */
    const char *id_field;       /* [id] field of the request id; requests use its first path */
    bool id_is_string;          /* write ids as strings of digits, and accept them so */
    const char *topic_field;    /* [topic] field of the topic in updates and acknowledgements */
    const char *update_rule;    /* of data; NULL: topic_field is there and nothing else matched */
    const char *response_rule;  /* of responses; NULL: id_field is there */
    const char *error_rule;     /* [error] of responses that report an error */
    const char *reason_field;   /* [error.message] text of an error */
    const char *system_rule;    /* of messages said to the session */
    const char *reconnect_rule; /* the server asks us to connect anew */
    const char *auth;           /* template; NULL: no authentication */
    const char *auth_ok_rule;   /* NULL: the response with the id of `auth` */
    const char *auth_failed_rule;
    const char *subscribe;       /* template, [{"op":"subscribe","args":${topics},"id":${id}}] */
    const char *unsubscribe;     /* template, [{"op":"unsubscribe",... likewise] */
    bool acknowledges;           /* each batch is answered, by id or by the rules below */
    const char *subscribed_rule; /* one topic is subscribed */
    const char *unsubscribed_rule;
    const char *refused_rule;      /* one topic is refused */
    const char *ping;              /* template of our ping; NULL: none */
    const char *pong_rule;         /* its answer; NULL: the response with its id */
    const char *ping_text;         /* [ping] server's ping is exactly this text; "": none */
    const char *ping_rule;         /* or a message that matches this */
    const char *ping_value_field;  /* field of ${ping} */
    const char *pong;              /* [pong] template of the answer to the server's ping */
    const char *pong_text;         /* [pong] the answer to ours is exactly this text; "": none */
    const char *const *on_connect; /* templates to send first */
    uint32_t on_connect_count;     /* 0..16 */
    hpx_build_auth build_auth;     /* in place of auth: a signature that holds the time */
    void *build_auth_ctx;          /* borrowed while the dialect is in use */
} hpx_json_config;

#define HPX_JSON_CONFIG_INIT                                                                       \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_json_config)                                                  \
    }

/** As hpx_protocol_json_rpc_new(). @thread any @blocks never
 *  @returns HPX_OK, HPX_E_INVALID, HPX_E_NO_MEMORY */
HPX_API HPX_NODISCARD hpx_status
hpx_protocol_json_new(hpx_protocol **out, const hpx_json_config *config, hpx_error *error);

/** Give back a dialect made by a `_new` function. NULL is a no-op. @thread any */
HPX_API void hpx_protocol_free(hpx_protocol *protocol);

HPX_EXTERN_C_END
#endif /* HPX_PROTOCOL_H */
