/* SPDX-License-Identifier: Apache-2.0 */
/* feed_bed.c - see feed_bed.h. */
#include "tests/engine/feed_bed.h"

#include "tests/support/test.h"

uint64_t feed_bed_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

size_t feed_bed_bytes(uint64_t number, feed_bed_size size)
{
    const uint64_t x = feed_bed_mix(number + 17);
    return (size_t)((x >> 8) % ((x % 16 == 0 ? size.rare_max : size.common_max) + UINT64_C(1)));
}

void feed_bed_fill(uint8_t *buffer, size_t bytes, uint64_t number)
{
    uint64_t word = feed_bed_mix(number);
    for (; bytes >= sizeof(word); bytes -= sizeof(word), buffer += sizeof(word)) {
        memcpy(buffer, &word, sizeof(word));
        word = word * 6364136223846793005u + 1;
    }
    memcpy(buffer, &word, bytes);
}

bool feed_bed_is_right(hpx_span payload, uint64_t number)
{
    uint64_t word = feed_bed_mix(number);
    const uint8_t *at = payload.data;
    size_t bytes = payload.size;
    for (; bytes >= sizeof(word); bytes -= sizeof(word), at += sizeof(word)) {
        if (memcmp(at, &word, sizeof(word)) != 0) {
            return false;
        }
        word = word * 6364136223846793005u + 1;
    }
    return bytes == 0 || memcmp(at, &word, bytes) == 0;
}

static hpx_message_kind message_kind(uint64_t number)
{
    return number % 3 == 0 ? HPX_MESSAGE_BINARY : HPX_MESSAGE_TEXT;
}

hpxi_feed_message feed_bed_message(uint8_t *buffer, uint32_t topic, uint64_t number, size_t bytes)
{
    feed_bed_fill(buffer, bytes, number);
    return (hpxi_feed_message){
        .topic_index = topic,
        .kind = message_kind(number),
        .epoch = number / 1000 + 1,
        .time_ns = number, /* by which the reader knows it */
        .payload = {.data = buffer, .size = bytes}};
}

hpxi_feed_result feed_bed_push(hpxi_feed *feed, uint32_t topic, uint64_t number, size_t bytes)
{
    static _Thread_local uint8_t buffer[FEED_BED_BYTES_MAX];
    HPX_ASSERT(bytes <= sizeof(buffer));
    const hpxi_feed_message message = feed_bed_message(buffer, topic, number, bytes);
    return hpxi_feed_push(feed, &message);
}

bool feed_bed_is_message(const hpx_update *update, uint64_t number)
{
    return update->kind == HPX_UPDATE_MESSAGE && update->message_kind == message_kind(number) &&
           update->epoch == number / 1000 + 1 && update->time_ns == number &&
           update->error == NULL && feed_bed_is_right(update->payload, number);
}

/* ---- A log ----------------------------------------------------------------------------------- */

enum { DID_MARK = 1000, DID_REFUSE = 2000 };

#define LOG_ERROR (-4321)

void feed_bed_log_begin(feed_bed_log *log, hpxi_feed *feed, hpx_overflow overflow)
{
    memset(log, 0, sizeof(*log));
    log->feed = feed;
    log->overflow = overflow;
    for (uint32_t topic = 0; topic < FEED_BED_TOPICS; topic++) {
        log->newest[topic] = UINT64_MAX;
    }
}

static uint64_t log_note(feed_bed_log *log, uint16_t what)
{
    assert_true(log->count < FEED_BED_LOG_MAX);
    log->did[log->count] = what;
    return log->count++;
}

uint64_t feed_bed_log_note_message(feed_bed_log *log, uint32_t topic)
{
    log->messages++;
    log->newest[topic] = log->count;
    return log_note(log, (uint16_t)topic);
}

void feed_bed_log_message(feed_bed_log *log, uint32_t topic, size_t bytes)
{
    const uint64_t number = feed_bed_log_note_message(log, topic);
    const hpxi_feed_result result = feed_bed_push(log->feed, topic, number, bytes);
    const bool may_refuse =
        log->overflow == HPX_OVERFLOW_DROP_NEWEST || log->overflow == HPX_OVERFLOW_DISCONNECT;
    assert_true(may_refuse || result == HPXI_FEED_TAKEN);
}

void feed_bed_log_mark(feed_bed_log *log)
{
    const uint64_t number = log_note(log, DID_MARK);
    log->controls_waiting++;
    hpxi_feed_mark(log->feed, HPX_UPDATE_LIVE + number % 2, 1, number);
}

void feed_bed_log_refuse(feed_bed_log *log)
{
    const hpx_error error = {.status = LOG_ERROR};
    const uint64_t number = log_note(log, DID_REFUSE);
    log->controls_waiting++;
    hpxi_feed_refuse(log->feed, log->refusals++, &error, 1, number);
}

void feed_bed_log_end(feed_bed_log *log)
{
    const hpx_error error = {.status = LOG_ERROR};
    hpxi_feed_end(log->feed, &error);
}

/* How many of the numbers in between are of the topic; of messages, for UINT32_MAX. */
static uint64_t log_between(const feed_bed_log *log, uint64_t from, uint64_t to, uint32_t topic)
{
    uint64_t count = 0;
    for (uint64_t i = from; i < to; i++) {
        count += topic == UINT32_MAX ? log->did[i] < FEED_BED_TOPICS : log->did[i] == topic;
    }
    return count;
}

static void log_check_message(feed_bed_log *log, const hpx_update *update)
{
    const uint64_t number = update->time_ns;
    const uint32_t topic = update->topic_index;
    assert_true(number < log->count);
    assert_true(feed_bed_is_message(update, number));
    assert_int_equal(log->did[number], topic);
    assert_true(number >= log->position);
    /* No mark and no refusal was passed over. */
    const uint64_t gap = log_between(log, log->position, number, UINT32_MAX);
    assert_int_equal(gap, number - log->position);
    log->delivered++;
    if (log->overflow != HPX_OVERFLOW_CONFLATE) {
        assert_int_equal(update->missed, gap);
        log->position = number + 1;
        return;
    }
    assert_true(log->is_concurrent || number == log->newest[topic]);
    assert_true(number >= log->newest_taken[topic]);
    assert_int_equal(update->missed, log_between(log, log->newest_taken[topic], number, topic));
    log->newest_taken[topic] = number + 1;
}

static void log_check_control(feed_bed_log *log, const hpx_update *update)
{
    const uint64_t number = update->time_ns;
    const bool is_conflate = log->overflow == HPX_OVERFLOW_CONFLATE;
    assert_true(number >= log->position);
    if (update->kind == HPX_UPDATE_REFUSED) {
        assert_int_equal(log->did[number], DID_REFUSE);
        assert_int_equal(update->error->status, LOG_ERROR);
    } else {
        assert_int_equal(log->did[number], DID_MARK);
        assert_int_equal(update->kind, HPX_UPDATE_LIVE + number % 2);
    }
    const uint64_t gap = log_between(log, log->position, number, UINT32_MAX);
    assert_int_equal(gap, number - log->position);
    assert_int_equal(update->missed, is_conflate ? 0 : gap);
    for (uint32_t topic = 0; is_conflate && topic < FEED_BED_TOPICS; topic++) {
        /* A topic's newest message, if it is before the control, was delivered before it. */
        assert_true(log->newest[topic] > number || log->newest_taken[topic] > log->newest[topic]);
    }
    log->position = number + 1;
    log->controls_waiting--;
}

bool feed_bed_log_accept(feed_bed_log *log, int got, const hpx_update *update)
{
    assert_int_equal(got == HPX_E_CLOSED, log->is_ended);
    if (got != 1) {
        return false;
    }
    log->missed += update->missed;
    switch (update->kind) {
    case HPX_UPDATE_MESSAGE:
        log_check_message(log, update);
        break;
    case HPX_UPDATE_LIVE:
    case HPX_UPDATE_INTERRUPTED:
    case HPX_UPDATE_REFUSED:
        log_check_control(log, update);
        break;
    case HPX_UPDATE_ENDED:
        assert_int_equal(update->error->status, LOG_ERROR);
        log->is_ended = true;
        break;
    }
    return true;
}

bool feed_bed_log_take(feed_bed_log *log)
{
    hpx_update update;
    const int got = hpxi_feed_next(log->feed, &update);
    return feed_bed_log_accept(log, got, &update);
}

void feed_bed_log_check(const feed_bed_log *log)
{
    assert_true(log->is_ended);
    assert_int_equal(log->controls_waiting, 0);
    assert_int_equal(log->delivered + log->missed, log->messages);
}
