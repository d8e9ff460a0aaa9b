/* SPDX-License-Identifier: Apache-2.0 */
/*
 * duo.h - a client session and a server session joined in memory, and a session on its own that is
 * fed frames made by hand. Time stands still unless a test moves it.
 *
 * What a side is told goes into its log, one line an event:
 *
 *      RESPONSE 1 200 name=value ...      DATA is gathered, and shown at the end of the message:
 *      END 1 5 bytes "hello"              CLOSED 1 HPX_OK code=0 peer=0 processed=unknown
 *
 * so that a log does not depend on where the input was cut.
 */
#ifndef HPX_TESTS_H2_DUO_H
#define HPX_TESTS_H2_DUO_H

#include "h2/session.h"
#include "tests/support/failing_allocator.h"

#define DUO_LOG_BYTES  32768u
#define DUO_BODIES     64u /* by stream number; a later stream takes the place of an earlier one */
#define DUO_BODY_BYTES 4096u
#define DUO_OUT_BYTES  (256u << 10)
#define DUO_START_NS   (1000 * HPX_NS_PER_S)

/* Frame types and flags of RFC 9113 section 6. */
enum {
    RAW_DATA = 0,
    RAW_HEADERS = 1,
    RAW_PRIORITY = 2,
    RAW_RST_STREAM = 3,
    RAW_SETTINGS = 4,
    RAW_PUSH_PROMISE = 5,
    RAW_PING = 6,
    RAW_GOAWAY = 7,
    RAW_WINDOW_UPDATE = 8,
    RAW_CONTINUATION = 9,
    RAW_ACK = 1,
    RAW_END_STREAM = 1,
    RAW_END_HEADERS = 4,
    RAW_PADDED = 8,
};

typedef struct duo duo;
typedef struct duo_side duo_side;

typedef void (*duo_handler)(duo_side *side, const hpxi_h2_event *event);

struct duo_side {
    const char *name;
    hpxi_h2 *h2;
    hpxi_buf out;
    hpx_status
        status; /* the last of hpxi_h2_next() or _flush() that was neither 0, 1 nor PARTIAL */
    uint64_t *now_ns;
    duo_handler on_event; /* after it was logged; NULL: the server answers 200 without a body */
    bool keeps_data;      /* does not consume */
    bool is_quiet;        /* logs nothing */
    void *ctx;
    hpxi_h2_stream last; /* stream of the last event that had one */
    size_t last_size;    /* of the last DATA */
    size_t data_bytes;   /* of all DATA */
    uint32_t closed_count;
    uint32_t pong_count;   /* PONG is not in the log */
    uint32_t window_bytes; /* as the last one said */
    char log[DUO_LOG_BYTES];
    size_t log_size;
    struct {
        size_t size;
        uint8_t bytes[DUO_BODY_BYTES]; /* the first of them */
    } bodies[DUO_BODIES];
};

struct duo {
    failing_allocator memory;
    hpx_allocator allocator;
    uint64_t now_ns;
    size_t cut; /* input in pieces of so many bytes; 0: as it comes */
    duo_side client;
    duo_side server;
};

/* NULL config: the defaults. false: out of memory, and nothing is left. */
bool duo_init(duo *d, const hpxi_h2_config *client, const hpxi_h2_config *server);
bool duo_init_with(
    duo *d, hpx_allocator allocator, const hpxi_h2_config *client, const hpxi_h2_config *server);

/* Checks that nothing is left. */
void duo_fini(duo *d);

/* Bytes go there and back until nobody has any. */
void duo_run(duo *d);

/* One side's output to the other, once. Returns the bytes. */
size_t duo_move(duo *d, duo_side *from, duo_side *to);

/* One session alone, the server or the client of a duo whose other half is NULL. */
bool duo_init_alone(duo *d, const hpxi_h2_config *config);
duo_side *duo_alone(duo *d);

/* Feed bytes in pieces of `cut` (0: whole), each in a block of its own size, and log the events. */
void side_feed(duo_side *side, const void *data, size_t size, size_t cut);

/* hpxi_h2_flush() with room for everything. */
hpx_status side_flush(duo_side *side);

void side_log(duo_side *side, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The log, which starts anew with the next line. */
const char *side_told(duo_side *side);

/* A request with no fields; fails the test if it is refused. */
hpxi_h2_stream side_request(duo_side *side, const char *method, const char *path);
hpxi_h2_stream side_request_with(
    duo_side *side,
    const char *method,
    const char *path,
    const hpxi_h2_field *fields,
    uint32_t field_count,
    const hpxi_h2_body *body);

hpxi_h2_field field_of(const char *name, const char *value);

/* ---- Frames by hand ------------------------------------------------------------------------- */

void raw_frame(
    hpxi_buf *to,
    uint8_t type,
    uint8_t flags,
    uint32_t stream_id,
    const void *payload,
    size_t size);

/* One field as a literal that enters no table (RFC 7541 6.2.2). */
void raw_field(hpxi_buf *to, const char *name, const char *value);

/* Preface of a client, or nothing, and an empty SETTINGS. */
void raw_hello(hpxi_buf *to, bool as_client);

/* Code of the first GOAWAY in `bytes`, and its last stream; UINT32_MAX: there is none. */
uint32_t raw_goaway_code(hpx_span bytes, uint32_t *last_stream_id);

/* How many frames of a type there are, on any stream or (stream_id != 0) on one. */
uint32_t raw_count(hpx_span bytes, uint8_t type, uint32_t stream_id);

#endif /* HPX_TESTS_H2_DUO_H */
