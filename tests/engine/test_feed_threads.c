/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: between two threads, whatever their speeds, a feed tears no message, keeps the order,
 * counts what was missed to the message, keeps what its policy says, and loses no wake-up. Method:
 * the writer notes in a plain list what each number was before it pushes it. The reader looks
 * there, which is a race unless the feed orders the two: thread sanitizer sees to that. Where the
 * writer waits for what it pushed to be taken, a lost wake-up is a deadlock, which the watchdog in
 * the main thread turns into a failure.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "engine/feed.h"
#include "ring/doorbell.h"
#include "tests/engine/feed_bed.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define RING_BYTES        4096u
#define TOPICS            6u
#define MESSAGES          ((uint64_t)100000)
#define MESSAGES_SLEEPING ((uint64_t)25000)
#define NUMBERS           (MESSAGES + MESSAGES / 8)
#define END_ROUNDS        ((uint64_t)4000)
#define DID_MARK          255u
#define MARKS_WAITING     (HPXI_FEED_MARKS_MAX - 1)
#define HANG_NS           (20 * HPX_NS_PER_S) /* without progress: above any scheduling delay */
#define WATCH_NS          (2 * HPX_NS_PER_MS)

typedef enum reader_mode {
    READER_FAST,   /* takes all that is there, spins */
    READER_SLOW,   /* a pause after each update */
    READER_STALLS, /* now and then asleep for long, with a view in its hands */
    READER_SLEEPS, /* on the doorbell; the writer often waits for it */
} reader_mode;

static struct {
    hpxi_feed feed;
    hpxi_doorbell bell;
    hpx_overflow overflow;
    reader_mode mode;
    uint64_t seed;
    uint8_t did[NUMBERS]; /* topic, or DID_MARK */

    _Atomic uint64_t passed; /* by the reader: one past the highest number delivered */
    _Atomic uint64_t marks_taken;
    _Atomic uint32_t ready;   /* threads that have begun */
    _Atomic uint32_t running; /* threads not yet at their end */
    _Atomic bool stop;        /* the watchdog's: everybody out */
    _Atomic uint64_t progress;

    /* Reader */
    uint64_t position;        /* one past the last number; CONFLATE: of a mark */
    uint64_t next_of[TOPICS]; /* CONFLATE: one past the last number delivered of a topic */
    uint64_t delivered;
    uint64_t missed;
    uint64_t sleeps;
    bool ended;
    char failure[160]; /* the reader's first complaint */

    /* Writer */
    uint64_t numbers;
    uint64_t messages;
    uint64_t marks;
    uint64_t newest[TOPICS]; /* number of the newest message that was taken */
    uint64_t last_taken;     /* one past the number of what was queued last */
} run;

static void pause_for(uint64_t steps)
{
    for (volatile uint64_t left = steps; left != 0; left--) {
    }
}

static void wait_for_both(void)
{
    atomic_fetch_add(&run.ready, 1);
    while (atomic_load(&run.ready) != 2) {
        sched_yield();
    }
}

/* ---- Writer ---------------------------------------------------------------------------------- */

static void writer_mark(void)
{
    if (run.marks - atomic_load(&run.marks_taken) >= MARKS_WAITING || run.numbers >= NUMBERS) {
        return; /* or marks would be coalesced, and numbers be no longer the feed's */
    }
    const uint64_t number = run.numbers++;
    run.did[number] = DID_MARK;
    run.marks++;
    run.last_taken = number + 1;
    hpxi_feed_mark(&run.feed, HPX_UPDATE_LIVE + run.marks % 2, run.marks, number);
}

static void writer_message(uint64_t x)
{
    /* Small ones leave publish() and ring() little between them. */
    const feed_bed_size size = {
        .common_max = run.mode == READER_SLEEPS ? 16 : 200, .rare_max = 2048};
    const uint32_t topic = (uint32_t)(x >> 8) % TOPICS;
    const uint64_t number = run.numbers++;
    run.did[number] = (uint8_t)topic;
    run.messages++;
    const size_t bytes = feed_bed_bytes(number, size);
    if (feed_bed_push(&run.feed, topic, number, bytes) == HPXI_FEED_TAKEN) {
        run.newest[topic] = number;
        run.last_taken = number + 1;
    }
}

static void writer_flush(void)
{
    /* With the bell's line at hand, ring() can look before publish() is seen by the reader, if the
     * two are not ordered. */
    (void)atomic_load_explicit(&run.bell.asleep, memory_order_relaxed);
    hpxi_feed_publish(&run.feed);
    if (run.mode == READER_SLEEPS) {
        hpxi_doorbell_ring(&run.bell);
    }
    atomic_fetch_add_explicit(&run.progress, 1, memory_order_relaxed);
}

/* Until the reader has taken what was queued last, or something after it. */
static void writer_wait(void)
{
    for (uint32_t spins = 0;
         atomic_load(&run.passed) < run.last_taken && !atomic_load(&run.stop);) {
        if (++spins % 64 == 0) {
            sched_yield();
        }
    }
}

static void *writer_run(void *arg)
{
    (void)arg;
    const uint64_t messages = run.mode == READER_SLEEPS ? MESSAGES_SLEEPING : MESSAGES;
    wait_for_both();
    while (run.messages < messages && !atomic_load(&run.stop)) {
        const uint64_t x = feed_bed_mix(run.messages + run.seed);
        const uint64_t burst = x % 4 == 0 ? 1 + (x >> 40) % 64 : 1;
        for (uint64_t i = 0; i < burst && run.messages < messages; i++) {
            writer_message(feed_bed_mix(x + i));
        }
        if ((x >> 4) % 16 == 0) {
            writer_mark();
        }
        writer_flush();
        if (run.mode == READER_SLEEPS && (x >> 32) % 4 != 0) {
            writer_wait();
            pause_for((x >> 48) % 512);
        } else if ((x >> 16) % 64 == 0) {
            sched_yield(); /* on one free processor the two must meet too */
        }
    }
    const hpx_error error = {.status = HPX_E_ABORTED};
    hpxi_feed_end(&run.feed, &error);
    writer_flush();
    atomic_fetch_sub(&run.running, 1);
    return NULL;
}

/* ---- Reader ---------------------------------------------------------------------------------- */

static bool complain(const char *what, const hpx_update *update)
{
    (void)snprintf(
        run.failure,
        sizeof(run.failure),
        "%s: number %llu, topic %u, missed %llu, position %llu",
        what,
        (unsigned long long)update->time_ns,
        update->topic_index,
        (unsigned long long)update->missed,
        (unsigned long long)run.position);
    return false;
}

/* How many of the numbers in between are of the topic; of messages, for UINT32_MAX. */
static uint64_t count_between(uint64_t from, uint64_t to, uint32_t topic)
{
    uint64_t count = 0;
    for (uint64_t i = from; i < to; i++) {
        count += topic == UINT32_MAX ? run.did[i] != DID_MARK : run.did[i] == topic;
    }
    return count;
}

static bool reader_message(const hpx_update *update)
{
    const uint64_t number = update->time_ns;
    const uint32_t topic = update->topic_index;
    if (number >= NUMBERS || !feed_bed_is_message(update, number)) {
        return complain("torn message", update);
    }
    if (topic >= TOPICS || run.did[number] != topic) {
        return complain("wrong topic", update);
    }
    if (number < run.position || number < run.next_of[topic]) {
        return complain("out of order", update);
    }
    if (count_between(run.position, number, UINT32_MAX) != number - run.position) {
        return complain("a mark was overtaken", update);
    }
    const uint64_t missed = run.overflow == HPX_OVERFLOW_CONFLATE
                                ? count_between(run.next_of[topic], number, topic)
                                : number - run.position;
    if (update->missed != missed) {
        return complain("missed is wrong", update);
    }
    run.next_of[topic] = number + 1;
    if (run.overflow != HPX_OVERFLOW_CONFLATE) {
        run.position = number + 1;
    }
    run.delivered++;
    return true;
}

static bool reader_mark(const hpx_update *update)
{
    const uint64_t number = update->time_ns;
    const uint64_t taken = atomic_load(&run.marks_taken) + 1;
    if (update->epoch != taken || run.did[number] != DID_MARK) {
        return complain("wrong mark", update);
    }
    const uint64_t gap = count_between(run.position, number, UINT32_MAX);
    if (number < run.position || gap != number - run.position ||
        update->missed != (run.overflow == HPX_OVERFLOW_CONFLATE ? 0 : gap)) {
        return complain("mark out of order", update);
    }
    run.position = number + 1;
    atomic_store(&run.marks_taken, taken);
    return true;
}

/* Checks an update. false: the last one, or a wrong one. */
static bool reader_take(const hpx_update *update)
{
    run.missed += update->missed;
    bool going = false;
    switch (update->kind) {
    case HPX_UPDATE_MESSAGE:
        going = reader_message(update);
        break;
    case HPX_UPDATE_LIVE:
    case HPX_UPDATE_INTERRUPTED:
        going = reader_mark(update);
        break;
    case HPX_UPDATE_ENDED:
        run.ended = update->error->status == HPX_E_ABORTED;
        return false;
    case HPX_UPDATE_REFUSED:
        break;
    }
    if (update->time_ns + 1 > atomic_load_explicit(&run.passed, memory_order_relaxed)) {
        atomic_store(&run.passed, update->time_ns + 1);
    }
    atomic_fetch_add_explicit(&run.progress, 1, memory_order_relaxed);
    return going;
}

static void reader_rest(uint64_t turn, const hpx_update *update)
{
    const uint64_t x = feed_bed_mix(turn * 7 + run.seed);
    if (run.mode == READER_SLOW) {
        pause_for(x % 2048);
    } else if (run.mode == READER_STALLS && x % 512 == 0) {
        nanosleep(&(struct timespec){.tv_nsec = (long)(2 * HPX_NS_PER_MS)}, NULL);
        if (update->kind == HPX_UPDATE_MESSAGE && !feed_bed_is_message(update, update->time_ns)) {
            (void)complain("a view changed", update);
            atomic_store(&run.stop, true);
        }
    }
}

static void reader_idle(uint64_t turn)
{
    if (run.mode != READER_SLEEPS) {
        sched_yield();
        return;
    }
    const uint64_t x = feed_bed_mix(turn);
    pause_for((x >> 8) % 512); /* to meet the writer at every point of its protocol */
    hpxi_doorbell_prepare(&run.bell);
    pause_for(x % 4 == 0 ? (x >> 32) % 64 : 0);
    if (hpxi_feed_is_empty_sc(&run.feed)) {
        run.sleeps++;
        hpxi_doorbell_wait(&run.bell, UINT64_MAX);
    }
    hpxi_doorbell_cancel(&run.bell);
}

static void *reader_run(void *arg)
{
    (void)arg;
    wait_for_both();
    uint64_t turn = 0;
    for (bool going = true; going && !atomic_load(&run.stop); turn++) {
        hpx_update update;
        const int got = hpxi_feed_next(&run.feed, &update);
        if (got == 1) {
            going = reader_take(&update);
            reader_rest(turn, &update);
        } else {
            reader_idle(turn);
        }
    }
    if (!run.ended) {
        atomic_store(&run.stop, true);
    }
    atomic_fetch_sub(&run.running, 1);
    return NULL;
}

/* ---- Both ------------------------------------------------------------------------------------ */

/* Waits for both threads; false if they got nowhere for HANG_NS, after making them leave. */
static bool watch(void)
{
    const struct timespec pause = {.tv_nsec = (long)WATCH_NS};
    uint64_t seen = 0;
    uint64_t still_ns = 0;
    bool hung = false;
    while (atomic_load(&run.running) != 0) {
        nanosleep(&pause, NULL);
        const uint64_t now = atomic_load(&run.progress);
        still_ns = now == seen ? still_ns + WATCH_NS : 0;
        seen = now;
        if (still_ns >= HANG_NS) {
            hung = true;
            atomic_store(&run.stop, true);
            hpxi_doorbell_write(&run.bell);
        }
    }
    return !hung;
}

static void check_end(void)
{
    assert_true(run.ended);
    assert_int_equal(run.delivered + run.missed, run.messages);
    assert_int_equal(atomic_load(&run.marks_taken), run.marks);
    assert_true(run.marks > 0);
    assert_true(run.delivered > 0);
    uint64_t newest = 0;
    for (uint32_t topic = 0; topic < TOPICS; topic++) {
        newest = run.newest[topic] > newest ? run.newest[topic] : newest;
        if (run.overflow == HPX_OVERFLOW_CONFLATE) {
            assert_int_equal(run.next_of[topic], run.newest[topic] + 1);
        }
    }
    const uint64_t passed = atomic_load(&run.passed);
    assert_true(passed > newest); /* the last that was queued was not lost, whatever the policy */
}

static void run_threads(hpx_overflow overflow, reader_mode mode)
{
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    memset(&run, 0, sizeof(run));
    run.overflow = overflow;
    run.mode = mode;
    run.seed = UINT64_C(1000) * (uint64_t)overflow + (uint64_t)mode;
    run.running = 2;
    assert_int_equal(hpxi_doorbell_init(&run.bell), HPX_OK);
    const hpxi_feed_config config = {
        .overflow = overflow,
        .ring_bytes = RING_BYTES,
        .large_bytes_max = 16384,
        .topic_count = TOPICS,
        .message_bytes_max = 2048,
        .allocator = &allocator};
    assert_int_equal(hpxi_feed_init(&run.feed, &config), HPX_OK);
    pthread_t writer;
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, reader_run, NULL), 0);
    assert_int_equal(pthread_create(&writer, NULL, writer_run, NULL), 0);
    const bool finished = watch();
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(pthread_join(writer, NULL), 0);
    hpxi_feed_fini(&run.feed);
    hpxi_doorbell_fini(&run.bell);
    print_message(
        "reader %d: delivered %llu, missed %llu, %llu marks, %llu sleeps\n",
        (int)mode,
        (unsigned long long)run.delivered,
        (unsigned long long)run.missed,
        (unsigned long long)run.marks,
        (unsigned long long)run.sleeps);
    assert_string_equal(run.failure, "");
    assert_true(finished); /* or a wake-up was lost */
    assert_int_equal(memory.live, 0);
    check_end();
    assert_true(mode != READER_SLEEPS || run.sleeps > 100); /* else nothing was tested */
}

static void run_modes(hpx_overflow overflow)
{
    for (reader_mode mode = READER_FAST; mode <= READER_SLEEPS; mode++) {
        run_threads(overflow, mode);
    }
}

static void test_feed_drop_oldest_when_two_threads_then_whole_and_counted(void **state)
{
    (void)state;
    run_modes(HPX_OVERFLOW_DROP_OLDEST);
}

static void test_feed_drop_newest_when_two_threads_then_whole_and_counted(void **state)
{
    (void)state;
    run_modes(HPX_OVERFLOW_DROP_NEWEST);
}

static void test_feed_conflate_when_two_threads_then_whole_and_counted(void **state)
{
    (void)state;
    run_modes(HPX_OVERFLOW_CONFLATE);
}

/* The writer goes on after an overflow, as the feed allows: it counts like DROP_NEWEST. */
static void test_feed_disconnect_when_two_threads_then_whole_and_counted(void **state)
{
    (void)state;
    run_modes(HPX_OVERFLOW_DISCONNECT);
}

/* ---- The end --------------------------------------------------------------------------------- */

static _Atomic uint64_t end_round; /* even: the feed is the reader's; odd: open */

static void *end_writer_run(void *arg)
{
    (void)arg;
    for (uint64_t round = 1; round < 2 * END_ROUNDS; round += 2) {
        while (atomic_load(&end_round) != round) {
            sched_yield();
        }
        pause_for(feed_bed_mix(round) % 512);
        (void)feed_bed_push(&run.feed, 0, 0, 10);
        hpxi_feed_mark(&run.feed, HPX_UPDATE_LIVE, round, 1);
        (void)feed_bed_push(&run.feed, 0, 2, 10);
        const hpx_error error = {.status = HPX_E_ABORTED};
        hpxi_feed_end(&run.feed, &error);
        atomic_store(&end_round, round + 1);
    }
    return NULL;
}

/* Everything of a short feed, which may end while the reader looks. */
static void end_reader_round(uint64_t round)
{
    uint64_t position = 0;
    for (bool ended = false; !ended;) {
        hpx_update update;
        if (hpxi_feed_next(&run.feed, &update) == 0) {
            if (round % 3 == 0) {
                sched_yield();
            }
            continue;
        }
        ended = update.kind == HPX_UPDATE_ENDED;
        assert_int_equal(update.missed, 0);
        assert_int_equal(ended ? 3 : update.time_ns, position);
        position++;
    }
}

static void test_feed_end_when_reader_looks_then_all_before_it_delivered(void **state)
{
    (void)state;
    static const hpx_overflow policies[] = {HPX_OVERFLOW_DROP_OLDEST, HPX_OVERFLOW_DROP_NEWEST};
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    atomic_store(&end_round, 0);
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, end_writer_run, NULL), 0);
    for (uint64_t round = 1; round < 2 * END_ROUNDS; round += 2) {
        const hpxi_feed_config config = {
            .overflow = policies[round / 2 % 2],
            .ring_bytes = RING_BYTES,
            .topic_count = 1,
            .allocator = &allocator};
        assert_int_equal(hpxi_feed_init(&run.feed, &config), HPX_OK);
        atomic_store(&end_round, round);
        end_reader_round(round);
        while (atomic_load(&end_round) == round) {
            sched_yield();
        }
        hpxi_feed_fini(&run.feed);
    }
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(memory.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feed_drop_oldest_when_two_threads_then_whole_and_counted),
        cmocka_unit_test(test_feed_drop_newest_when_two_threads_then_whole_and_counted),
        cmocka_unit_test(test_feed_conflate_when_two_threads_then_whole_and_counted),
        cmocka_unit_test(test_feed_disconnect_when_two_threads_then_whole_and_counted),
        cmocka_unit_test(test_feed_end_when_reader_looks_then_all_before_it_delivered),
    };
    return cmocka_run_group_tests_name("engine/feed_threads", tests, NULL, NULL);
}
