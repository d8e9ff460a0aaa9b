/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults.h - how the exchange misbehaves: which faults are on, in one grammar for --fault and for
 * the method test/fault. Each is a JSON object:
 *
 *   {"fault":"answer","how":HOW, ...}       requests that are answered wrongly
 *       HOW  never | late | twice | foreign (another id) | error | malformed | drop (cut the
 *            connection instead) | close (close it instead)
 *       method, id     which ones; default: all
 *       times          how many of them; default: all
 *       delay_ms       late: how late, default 100
 *       across         late: true: on another connection, once its own is gone
 *       code, message  of the error (default 10028 "fault") or the close (default 1011)
 *   {"fault":"drop","now":true,"code":C}    all connections, now: cut or, with code, closed
 *   {"fault":"drop","every_ms":N,"code":C}  each connection, N ms after it was made; 0: no more
 *   {"fault":"upgrade","status":429,"retry_after_s":S,"times":N}   refuse upgrades; 101: no more
 *   {"fault":"updates","duplicate_every":N,"reorder_every":N}      every Nth update; 0: no more
 *   {"fault":"topics","refuse":["a",...],"accept_max":N}           subscribe in part
 *   {"fault":"silent","on":true}            nothing is sent any more (ping frames are answered)
 *   {"fault":"send","text":"...","bytes":N,"binary":true}          to all connections, now: the
 *       text, or N bytes of JSON, or without either a byte that is no UTF-8
 *   {"fault":"clear"}                       all is well again
 *
 * Sans-IO: what happens at once is handed back for the exchange to do.
 * Memory    Fixed; texts are copied.
 */
#ifndef HPX_TOOL_FAULTS_H
#define HPX_TOOL_FAULTS_H

#include <yyjson.h>

#include <hpx/hpx.h>

#include "cli.h"
#include "market.h"

#define FAULTS_ANSWERS_MAX  16u
#define FAULTS_REFUSED_MAX  16u
#define FAULTS_TEXT_BYTES   1024u
#define FAULTS_SEND_MAX     (UINT64_C(64) << 20)
#define FAULTS_FOR_EVER     UINT32_MAX
#define FAULTS_ALL_ACCEPTED UINT32_MAX
#define FAULTS_METHOD_BYTES 48u
#define FAULTS_ID_BYTES     64u

typedef enum fault_how {
    FAULT_NONE = 0,
    FAULT_NEVER,
    FAULT_LATE,
    FAULT_TWICE,
    FAULT_FOREIGN,
    FAULT_ERROR,
    FAULT_MALFORMED,
    FAULT_DROP,
    FAULT_CLOSE,
} fault_how;

typedef struct fault_answer {
    fault_how how;
    bool across;
    int32_t code; /* of the error or the close */
    uint32_t times;
    uint64_t delay_ns;
    char method[FAULTS_METHOD_BYTES]; /* "": all */
    char id[FAULTS_ID_BYTES];         /* as JSON writes it; "": all */
    char message[FAULTS_ID_BYTES];
} fault_answer;

typedef struct faults {
    uint32_t answer_count;
    fault_answer answers[FAULTS_ANSWERS_MAX]; /* the first that fits counts */
    uint64_t drop_every_ns;
    uint16_t drop_code; /* 0: cut */
    hpx_upgrade_answer upgrade;
    uint32_t upgrade_times;
    uint32_t duplicate_every;
    uint32_t reorder_every;
    uint32_t accept_max; /* topics of one request */
    uint32_t refused_count;
    char refused[FAULTS_REFUSED_MAX][MARKET_TOPIC_BYTES + 1];
    bool silent;
} faults;

/* What is to be done now. */
typedef struct fault_now {
    enum {
        FAULT_NOW_NOTHING = 0,
        FAULT_NOW_DROP, /* all connections */
        FAULT_NOW_SEND, /* to all connections */
    } what;
    uint16_t code;  /* DROP: 0: cut */
    bool is_binary; /* SEND */
    uint64_t bytes; /* SEND: of JSON, unless 0: then `text` */
    size_t text_bytes;
    char text[FAULTS_TEXT_BYTES];
} fault_now;

void faults_init(faults *f);

/* Take one fault. NULL, or (static) what is wrong with it; then nothing changed. */
const char *faults_take(faults *f, yyjson_val *fault, fault_now *now);

/* As above, from text; what is to be done now would be lost, so it is refused. */
const char *faults_take_text(faults *f, const char *json);

/* The fault of this request, counted as used; how == FAULT_NONE: answer well. */
fault_answer faults_for_request(faults *f, const char *method, const char *id);

/* The answer to this upgrade request, counted as used. */
hpx_upgrade_answer faults_for_upgrade(faults *f);

bool faults_refuses_topic(const faults *f, const char *name);

#endif /* HPX_TOOL_FAULTS_H */
