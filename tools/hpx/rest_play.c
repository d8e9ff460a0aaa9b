/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rest_play.c - answers that take their time, that are large, or that are broken on purpose.
 *
 * A task holds a call until its answer is complete: pieces are due at times, or as the client takes
 * them. It is freed when its call closes, whatever the reason.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "rest.h"

#define PLAY_MS_MAX    60000u
#define PLAY_COUNT_MAX 100000u
#define PLAY_PIECE_MAX (64u << 10)
#define PLAY_LARGE_MAX (UINT64_C(4) << 30)
#define PLAY_NEVER     UINT64_MAX

struct rest_task {
    hpx_http_call *call;
    uint64_t due_ns;   /* of the next step; PLAY_NEVER: it waits for the client, or for ever */
    uint64_t every_ns; /* between pieces; 0: as fast as they are taken */
    uint64_t left;     /* pieces; for `is_large`, bytes */
    size_t piece_bytes;
    bool is_slow; /* one small answer when it is due */
    rest_task *next;
    rest_task *prev;
};

static uint8_t play_bytes[PLAY_PIECE_MAX];

/* Lines of 64 bytes, so that what arrives can be looked at. */
static const uint8_t *play_text(void)
{
    if (play_bytes[0] == 0) {
        for (size_t i = 0; i < sizeof(play_bytes); i++) {
            play_bytes[i] = (uint8_t)(i % 64 == 63 ? '\n' : 'a' + i % 64 % 26);
        }
    }
    return play_bytes;
}

static rest_task *play_task(rest_ask *ask)
{
    rest_task *task = calloc(1, sizeof(*task));
    if (task == NULL) {
        rest_answer_error(ask, 503, "out_of_memory", "try again");
        return NULL;
    }
    task->call = ask->call;
    task->due_ns = PLAY_NEVER;
    task->next = ask->rest->tasks;
    if (task->next != NULL) {
        task->next->prev = task;
    }
    ask->rest->tasks = task;
    hpx_http_call_set_user(ask->call, task);
    return task;
}

void rest_task_closed(rest *r, hpx_http_call *call)
{
    rest_task *task = hpx_http_call_get_user(call);
    assert(task->call == call);
    *(task->prev != NULL ? &task->prev->next : &r->tasks) = task->next;
    if (task->next != NULL) {
        task->next->prev = task->prev;
    }
    free(task);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Pieces until one is to wait: for its time, or for the client. */
static void play_pieces(rest_task *task, uint64_t now_ns)
{
    while (task->left != 0) {
        const size_t size = task->left < task->piece_bytes && task->every_ns == 0
                                ? (size_t)task->left
                                : task->piece_bytes;
        const hpx_span piece = {play_text(), size};
        const hpx_status status = hpx_http_call_write(task->call, piece);
        if (status != HPX_OK) {
            task->due_ns = PLAY_NEVER; /* HPX_E_AGAIN: WRITABLE comes; else CLOSED */
            return;
        }
        if (task->every_ns != 0) {
            task->left--;
            task->due_ns = now_ns + task->every_ns;
            break;
        }
        task->left -= size;
    }
    if (task->left == 0) {
        task->due_ns = PLAY_NEVER;
        (void)hpx_http_call_end(task->call);
    }
}

static void play_step(rest_task *task, uint64_t now_ns)
{
    if (task->is_slow) {
        task->due_ns = PLAY_NEVER;
        (void)hpx_http_call_answer(task->call, 200, NULL, 0, hpx_span_of("{\"slow\":true}"), NULL);
    } else {
        play_pieces(task, now_ns);
    }
}

void rest_task_writable(rest *r, hpx_http_call *call)
{
    (void)r;
    play_step(hpx_http_call_get_user(call), hpx_clock_now_ns());
}

uint64_t rest_turn(rest *r, uint64_t now_ns)
{
    uint64_t next_ns = PLAY_NEVER;
    for (rest_task *task = r->tasks; task != NULL; task = task->next) {
        if (task->due_ns <= now_ns) {
            play_step(task, now_ns);
        }
        next_ns = task->due_ns < next_ns ? task->due_ns : next_ns;
    }
    return next_ns == PLAY_NEVER ? PLAY_NEVER : next_ns - (next_ns < now_ns ? next_ns : now_ns);
}

/* ---- Routes: time and size ------------------------------------------------------------------- */

/* ?ms=N: the answer comes after so long. */
void rest_play_slow(rest_ask *ask)
{
    uint64_t ms = 1000;
    if (!rest_query(ask, "ms", 0, PLAY_MS_MAX, &ms)) {
        return;
    }
    rest_task *task = play_task(ask);
    if (task != NULL) {
        task->is_slow = true;
        task->due_ns = hpx_clock_now_ns() + ms * HPX_NS_PER_MS;
    }
}

/* ?count=N&bytes=B&ms=M: N pieces of B bytes, chunked, M ms apart. */
void rest_play_pieces(rest_ask *ask)
{
    uint64_t count = 10;
    uint64_t bytes = 64;
    uint64_t ms = 100;
    if (!rest_query(ask, "count", 0, PLAY_COUNT_MAX, &count) ||
        !rest_query(ask, "bytes", 1, PLAY_PIECE_MAX, &bytes) ||
        !rest_query(ask, "ms", 0, PLAY_MS_MAX, &ms)) {
        return;
    }
    rest_task *task = play_task(ask);
    if (task == NULL) {
        return;
    }
    task->every_ns = ms * HPX_NS_PER_MS;
    task->piece_bytes = (size_t)bytes;
    task->left = ms == 0 ? count * bytes : count;
    (void)hpx_http_call_begin(ask->call, 200, NULL, 0, HPX_HTTP_SIZE_UNKNOWN, NULL);
    play_pieces(task, hpx_clock_now_ns());
}

/* ?bytes=N: with a Content-Length. */
void rest_play_large(rest_ask *ask)
{
    uint64_t bytes = UINT64_C(1) << 20;
    if (!rest_query(ask, "bytes", 0, PLAY_LARGE_MAX, &bytes)) {
        return;
    }
    rest_task *task = play_task(ask);
    if (task == NULL) {
        return;
    }
    task->piece_bytes = PLAY_PIECE_MAX;
    task->left = bytes;
    (void)hpx_http_call_begin(ask->call, 200, NULL, 0, bytes, NULL);
    play_pieces(task, hpx_clock_now_ns());
}

/* ---- Routes: refusals and faults ------------------------------------------------------------- */

/* /v1/status/429: that status, Retry-After with 429 and 503. */
void rest_play_status(rest_ask *ask)
{
    uint16_t status = 0;
    for (size_t i = 0; i < ask->argument.size && status < 1000; i++) {
        const uint8_t byte = ask->argument.data[i];
        status = byte >= '0' && byte <= '9' ? (uint16_t)(status * 10 + (byte - '0')) : 1000;
    }
    if (status < 200 || status > 599) {
        rest_answer_error(ask, 400, "invalid_parameter", "a status is a number from 200 to 599");
    } else if (status == 204 || status == 304) {
        (void)hpx_http_call_answer(ask->call, status, NULL, 0, (hpx_span){0}, NULL);
    } else {
        text_addf(&ask->body, "{\"status\":%u}", status);
        rest_answer_json(ask, status);
    }
}

#define PLAY_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

/* Bytes that no client should accept as an answer; then the connection closes, but for `stays`. */
typedef struct play_fault {
    const char *name;
    const char *bytes;
    bool stays;
} play_fault;

static const play_fault play_faults[] = {
    {"close", "", false},
    {"silence", "", true},
    {"garbage", "\x16\x03\x01 this is not HTTP\r\n\r\n", false},
    {"truncate", PLAY_HEAD "Content-Length: 100\r\n\r\nonly this", false},
    {"stall", PLAY_HEAD "Content-Length: 100\r\n\r\nonly this", true},
    {"chunk-size", PLAY_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", false},
    {"chunk-cut", PLAY_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", false},
    {"both-lengths",
     PLAY_HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     false},
    {"two-lengths", PLAY_HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", false},
    {"bare-lf", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", false},
    {"folded", PLAY_HEAD "A: b\r\n c\r\nContent-Length: 2\r\n\r\nok", false},
    {"poison",
     PLAY_HEAD "Content-Length: 2\r\n\r\nok" PLAY_HEAD "Content-Length: 6\r\n\r\npoison",
     true},
};

/* /v1/fault/KIND. Over HTTP/2 every kind but silence resets the stream. */
void rest_play_fault(rest_ask *ask)
{
    if (ask->argument.size == 5 && memcmp(ask->argument.data, "reset", 5) == 0) {
        hpx_http_call_abort(ask->call);
        return;
    }
    for (size_t i = 0; i < CLI_COUNT_OF(play_faults); i++) {
        const play_fault *fault = &play_faults[i];
        if (strlen(fault->name) != ask->argument.size ||
            memcmp(fault->name, ask->argument.data, ask->argument.size) != 0) {
            continue;
        }
        const bool silent = fault->stays && fault->bytes[0] == '\0';
        if (silent) {
            return; /* no answer, until the client gives up */
        }
        if (hpx_http_call_raw(ask->call, hpx_span_of(fault->bytes), !fault->stays) == HPX_E_STATE) {
            hpx_http_call_abort(ask->call); /* HTTP/2 */
        }
        return;
    }
    text_add(&ask->body, "{\"faults\":[\"reset\"");
    for (size_t i = 0; i < CLI_COUNT_OF(play_faults); i++) {
        text_addf(&ask->body, ",\"%s\"", play_faults[i].name);
    }
    text_add(&ask->body, "]}");
    rest_answer_json(ask, 404);
}
