/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Both roles handshake and carry bytes exactly, however the stream is cut, in TLS 1.2 and
 *         1.3; close_notify, truncation and broken bytes are told apart; a steady state allocates
 *         nothing; out of memory loses nothing.
 * Method  Sessions joined in memory (duo.h). Pieces are handed over in blocks of their own size.
 */
#include <stdio.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"
#include "tls/session.h"

#define NAME "host.example"

static duo_site sites[2]; /* a server of TLS 1.3 and one of TLS 1.2 */

static const char *const version_names[] = {"TLSv1.3", "TLSv1.2"};

static int session_setup(void **state)
{
    (void)state;
    static const certs_spec leaf = {.san = {SAN_DNS(NAME)}};
    for (size_t i = 0; i < COUNT_OF(sites); i++) {
        duo_site_make(&sites[i], &leaf);
    }
    duo_site_force_tls12(&sites[1]);
    return 0;
}

static int session_teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sites); i++) {
        duo_site_free(&sites[i]);
    }
    return 0;
}

static void open_duo(duo *d, size_t version, size_t cut_bytes, uint64_t seed)
{
    duo_make(d, &sites[version], NAME, false);
    d->cut_bytes = cut_bytes;
    d->seed = seed;
    if (!duo_handshake(d)) {
        fail_msg(
            "cut %zu seed %llu: client %d '%s', server %d '%s'",
            cut_bytes,
            (unsigned long long)seed,
            d->client_status,
            d->client_error.detail,
            d->server_status,
            d->server_error.detail);
    }
}

static void test_handshake_at_every_cut_then_done_and_verified(void **state)
{
    (void)state;
    static const size_t cuts[] = {
        0,
        1,
        2,
        3,
        5,
        6,
        7,
        64,
        1000,
        DUO_CUT_RANDOM,
        DUO_CUT_RANDOM,
        DUO_CUT_RANDOM,
        DUO_CUT_RANDOM,
        DUO_CUT_RANDOM,
        DUO_CUT_RANDOM};
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        for (size_t i = 0; i < COUNT_OF(cuts); i++) {
            duo d;
            open_duo(&d, version, cuts[i], i);
            hpxi_tls_info info;
            hpxi_tls_get_info(d.client, &info);
            assert_string_equal(info.version, version_names[version]);
            assert_non_null(strstr(info.cipher, version == 0 ? "TLS_AES_128_GCM" : "_GCM_SHA"));
            assert_true(info.verified);
            assert_false(info.resumed);
            assert_string_equal(info.alpn, "");
            hpxi_tls_get_info(d.server, &info);
            assert_string_equal(info.version, version_names[version]);
            assert_false(info.verified);
            duo_free(&d);
        }
    }
}

static void check_carries(duo *d, bool from_client, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    assert_non_null(bytes);
    duo_fill(bytes, size, size);
    duo_send(d, from_client, bytes, size);
    hpxi_buf plain;
    hpxi_buf_init(&plain, &d->allocator);
    assert_int_equal(duo_receive(d, !from_client, &plain), HPX_E_PARTIAL);
    assert_int_equal(hpxi_buf_size(&plain), size);
    assert_bytes_equal(hpxi_buf_span(&plain).data, bytes, size);
    hpxi_buf_fini(&plain);
    free(bytes);
}

static void test_data_of_every_size_at_every_cut_arrives_exactly(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 128, 16383, 16384, 16385, 65536, 1 << 20};
    static const size_t cuts[] = {0, 1, 13, 16384, DUO_CUT_RANDOM, DUO_CUT_RANDOM};
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        for (size_t c = 0; c < COUNT_OF(cuts); c++) {
            duo d;
            open_duo(&d, version, cuts[c], c);
            for (size_t i = 0; i < COUNT_OF(sizes); i++) {
                if (cuts[c] == 1 && sizes[i] > 16385) {
                    continue; /* a malloc per byte */
                }
                check_carries(&d, true, sizes[i]);
                check_carries(&d, false, sizes[i]);
            }
            duo_free(&d);
        }
    }
}

static void test_data_behind_the_last_flight_is_left_for_read(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        duo_make(&d, &sites[version], NAME, false);
        uint8_t *data = NULL;
        size_t size = 0;
        assert_int_equal(
            hpxi_tls_handshake(d.client, &data, &size, &d.to_server, NULL), HPX_E_PARTIAL);
        /* Flight by flight, each in one piece; whoever is done first writes at once. */
        hpx_status status = HPX_E_PARTIAL;
        bool client_turn = false;
        while (status == HPX_E_PARTIAL) {
            hpxi_buf *in = client_turn ? &d.to_client : &d.to_server;
            hpxi_buf *out = client_turn ? &d.to_server : &d.to_client;
            size = hpxi_buf_size(in);
            data = in->data + in->head;
            status = hpxi_tls_handshake(client_turn ? d.client : d.server, &data, &size, out, NULL);
            assert_int_equal(size, 0);
            hpxi_buf_consume(in, hpxi_buf_size(in));
            client_turn = !client_turn;
        }
        assert_int_equal(status, 1);
        const bool client_done = !client_turn;
        duo_send(&d, client_done, (const uint8_t *)"early", 5);
        hpxi_buf *in = client_done ? &d.to_server : &d.to_client;
        hpxi_buf *out = client_done ? &d.to_client : &d.to_server;
        hpxi_tls *last = client_done ? d.server : d.client;
        size = hpxi_buf_size(in);
        data = in->data + in->head;
        assert_int_equal(hpxi_tls_handshake(last, &data, &size, out, NULL), 1);
        assert_true(size > 5);
        uint8_t plain[1 << 14];
        assert_int_equal(hpxi_tls_read(last, &data, &size, plain, sizeof(plain), out, NULL), 5);
        assert_memory_equal(plain, "early", 5);
        assert_int_equal(size, 0);
        duo_free(&d);
    }
}

static void test_close_notify_ends_one_direction(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        open_duo(&d, version, 1, 0);
        hpxi_buf plain;
        hpxi_buf_init(&plain, &d.allocator);
        duo_send(&d, false, (const uint8_t *)"last", 4);
        hpxi_tls_close_notify(d.server, &d.to_client);
        const size_t sent = hpxi_buf_size(&d.to_client);
        hpxi_tls_close_notify(d.server, &d.to_client);
        assert_int_equal(hpxi_buf_size(&d.to_client), sent);
        assert_true(hpxi_buf_append(&d.to_client, "ignored", 7));
        d.cut_bytes = 0;
        assert_int_equal(duo_receive(&d, true, &plain), 0);
        assert_int_equal(hpxi_buf_size(&plain), 4);
        assert_int_equal(hpxi_buf_size(&d.to_client), 0);
        assert_true(hpxi_buf_append(&d.to_client, "ignored", 7));
        assert_int_equal(duo_receive(&d, true, &plain), 0); /* for ever */
        assert_int_equal(hpxi_buf_size(&plain), 4);
        hpxi_buf_consume(&plain, 4);
        check_carries(&d, true, 1000); /* the other direction is open */
        hpxi_tls_close_notify(d.client, &d.to_server);
        assert_int_equal(duo_receive(&d, false, &plain), 0);
        hpxi_buf_fini(&plain);
        duo_free(&d);
    }
}

static void test_truncated_stream_is_never_an_orderly_end(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        open_duo(&d, version, 0, 0);
        hpxi_buf plain;
        hpxi_buf_init(&plain, &d.allocator);
        duo_send(&d, false, (const uint8_t *)"last words", 10);
        hpxi_tls_close_notify(d.server, &d.to_client);
        d.to_client.tail--; /* the last byte of close_notify is lost */
        assert_int_equal(duo_receive(&d, true, &plain), HPX_E_PARTIAL);
        assert_int_equal(hpxi_buf_size(&plain), 10);
        hpxi_buf_fini(&plain);
        duo_free(&d);
    }
}

static void test_record_with_any_bit_flipped_is_refused_for_good(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        for (size_t at = 0; at < 60; at++) {
            duo d;
            open_duo(&d, version, 0, 0);
            hpxi_buf plain;
            hpxi_buf_init(&plain, &d.allocator);
            duo_send(&d, false, (const uint8_t *)"0123456789abcdef", 16);
            const size_t size = hpxi_buf_size(&d.to_client);
            if (at < size) {
                d.to_client.data[d.to_client.head + at] ^= (uint8_t)(1u << (at % 8));
                const hpx_status status = duo_receive(&d, true, &plain);
                assert_int_equal(hpxi_buf_size(&plain), 0);
                if (at != 3 && at != 4) { /* a longer length just waits */
                    assert_int_equal(status, HPX_E_TLS_PROTOCOL);
                    assert_int_equal(d.client_error.stage, HPX_STAGE_READY);
                    assert_int_not_equal(d.client_error.tls_error, 0);
                    assert_int_equal(
                        hpxi_tls_write(d.client, hpx_span_of("x"), &d.to_server, NULL), status);
                }
            }
            hpxi_buf_fini(&plain);
            duo_free(&d);
        }
    }
}

static void test_handshake_with_any_bit_flipped_is_never_done_on_both_sides(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        for (int i = 0; i < 150; i++) {
            duo d;
            duo_make(&d, &sites[version], NAME, false);
            const size_t flip_at = 1 + duo_random(&seed) % 1500;
            d.flip_at = flip_at;
            d.flip_from_client = (i & 1) != 0;
            const bool done = duo_handshake(&d);
            if (d.flipped && done) {
                fail_msg(
                    "a flip at byte %zu from the %s went unnoticed",
                    flip_at,
                    d.flip_from_client ? "client" : "server");
            }
            if (d.client_status < 0 && d.client_status != HPX_E_PARTIAL) {
                assert_true(
                    d.client_error.status <= HPX_E_TLS_HANDSHAKE &&
                    d.client_error.status >= HPX_E_TLS_CONFIG);
                assert_true(d.client_error.detail[0] != '\0');
            }
            duo_free(&d);
        }
    }
}

static const struct {
    const char *bytes;
    hpx_status status;
    const char *detail;
} not_tls_rows[] = {
    {"HTTP/1.1 400 Bad Request\r\n\r\n",
     HPX_E_TLS_PROTOCOL,
     "does not speak TLS: it begins with "
     "\"HTTP/\""},
    {"SSH-2.0-OpenSSH_9.2\r\n", HPX_E_TLS_PROTOCOL, "does not speak TLS"},
    {"\x81\x05hello..............", HPX_E_TLS_PROTOCOL, "does not speak TLS"},
    {"\x15\x03\x03"
     "\0\2\2\x28",
     HPX_E_TLS_ALERT,
     "40 (handshake_failure)"},
    {"\x15\x03\x03"
     "\0\2\2\x46",
     HPX_E_TLS_ALERT,
     "70 (protocol_version)"},
    {"\x15\x03\x03"
     "\0\2\2\x70",
     HPX_E_TLS_ALERT,
     "112 (unrecognized_name)"},
};

static void test_handshake_when_the_peer_answers_something_else_then_said_what(void **state)
{
    (void)state;
    static const size_t sizes[] = {28, 21, 21, 7, 7, 7};
    for (size_t i = 0; i < COUNT_OF(not_tls_rows); i++) {
        for (size_t cut = 0; cut < 2; cut++) {
            duo d;
            duo_make(&d, &sites[0], NAME, false);
            d.cut_bytes = cut;
            assert_true(hpxi_buf_append(&d.to_client, not_tls_rows[i].bytes, sizes[i]));
            d.server_status = HPX_E_EOF; /* the real server stays silent */
            assert_false(duo_handshake(&d));
            assert_int_equal(d.client_status, not_tls_rows[i].status);
            if (strstr(d.client_error.detail, not_tls_rows[i].detail) == NULL) {
                fail_msg("row %zu: '%s'", i, d.client_error.detail);
            }
            assert_int_equal(
                d.client_error.tls_alert,
                not_tls_rows[i].status == HPX_E_TLS_ALERT ? (uint8_t)not_tls_rows[i].bytes[6] : 0);
            duo_free(&d);
        }
    }
}

static void test_handshake_on_random_bytes_fails_or_waits(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (int i = 0; i < 400; i++) {
        duo d;
        duo_make(&d, &sites[0], NAME, false);
        uint8_t bytes[64];
        for (size_t k = 0; k < sizeof(bytes); k++) {
            bytes[k] = (uint8_t)duo_random(&seed);
        }
        if ((i & 1) != 0) { /* half of them begin like a record */
            memcpy(bytes, "\x16\x03\x03\0\x3b\2\0\0\x37", 9);
        }
        const bool at_client = (i & 2) != 0;
        uint8_t *data = bytes;
        size_t size = sizeof(bytes);
        hpx_error error;
        uint8_t *none = NULL;
        size_t zero = 0;
        assert_int_equal(
            hpxi_tls_handshake(d.client, &none, &zero, &d.to_server, &error), HPX_E_PARTIAL);
        const hpx_status status =
            hpxi_tls_handshake(at_client ? d.client : d.server, &data, &size, &d.to_client, &error);
        assert_true(status < 0);
        duo_free(&d);
    }
}

static void test_server_hears_why_the_client_refused(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        duo_make(&d, &sites[version], "other.example", false);
        assert_false(duo_handshake(&d));
        assert_int_equal(d.client_status, HPX_E_TLS_NAME);
        assert_int_equal(d.server_status, HPX_E_TLS_ALERT);
        assert_int_equal(d.server_error.tls_alert, 42);
        assert_non_null(strstr(d.server_error.detail, "42 (bad_certificate)"));
        duo_free(&d);
    }
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    static const size_t sizes[] = {128, 16384};
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        open_duo(&d, version, 0, 0);
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            static uint8_t bytes[16384];
            static uint8_t plain[16384];
            duo_send(&d, true, bytes, sizes[i]); /* the buffers grow to their size */
            duo_send(&d, false, bytes, sizes[i]);
            const uint64_t before = hpxi_tls_allocations();
            const size_t ours_before = d.memory.count;
            for (int round = 0; round < 2000; round++) {
                const bool at_client = (round & 1) != 0;
                hpxi_buf *in = at_client ? &d.to_client : &d.to_server;
                uint8_t *data = in->data + in->head;
                size_t size = hpxi_buf_size(in);
                ptrdiff_t rc = hpxi_tls_read(
                    at_client ? d.client : d.server,
                    &data,
                    &size,
                    plain,
                    sizeof(plain),
                    at_client ? &d.to_server : &d.to_client,
                    NULL);
                assert_int_equal(rc, sizes[i]);
                assert_int_equal(size, 0);
                hpxi_buf_consume(in, hpxi_buf_size(in));
                duo_send(&d, !at_client, bytes, sizes[i]);
            }
            assert_int_equal(hpxi_tls_allocations() - before, 0);
            assert_int_equal(d.memory.count - ours_before, 0);
            hpxi_buf_consume(&d.to_client, hpxi_buf_size(&d.to_client));
            hpxi_buf_consume(&d.to_server, hpxi_buf_size(&d.to_server));
            duo_free(&d);
            open_duo(&d, version, 0, 0);
        }
        duo_free(&d);
    }
}

/* What docs/tls.md and docs/memory.md say, and 24 KiB as the project's aim. */
static void test_idle_session_takes_less_than_16_kib(void **state)
{
    (void)state;
    static uint8_t bytes[16384];
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        hpxi_buf plain;
        ptrdiff_t live = 0;
        open_duo(&d, version, 0, 0); /* the intermediates and the like that stay are there */
        duo_free(&d);
        duo_wolf_memory_start(SIZE_MAX);
        open_duo(&d, version, 0, 0);
        hpxi_buf_init(&plain, &d.allocator);
        for (int i = 0; i < 2; i++) { /* long records, and then it is idle */
            duo_send(&d, i == 0, bytes, sizeof(bytes));
            assert_int_equal(duo_receive(&d, i != 0, &plain), HPX_E_PARTIAL);
        }
        hpxi_buf_fini(&plain);
        assert_in_range(duo_wolf_memory_bytes() / 2 + sizeof(hpxi_tls), 8 << 10, 16 << 10);
        duo_free(&d);
        (void)duo_wolf_memory_stop(&live);
        assert_int_equal(live, 0);
    }
}

static size_t count_records(const hpxi_buf *wire)
{
    const hpx_span bytes = hpxi_buf_span(wire);
    size_t count = 0;
    for (size_t at = 0; at < bytes.size; count++) {
        assert_int_equal(bytes.data[at], 23);
        at += 5 + ((size_t)bytes.data[at + 3] << 8 | bytes.data[at + 4]);
        assert_true(at <= bytes.size);
    }
    return count;
}

static void test_each_byte_is_copied_once_each_way_and_records_are_full(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 128, 4096, 4097, 16384, 16385, 100000};
    static uint8_t bytes[100000];
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        hpxi_buf plain;
        open_duo(&d, version, 0, 0);
        d.cut_bytes = 1000; /* records arrive in parts: no part is copied again */
        hpxi_buf_init(&plain, &d.allocator);
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            const uint64_t in = d.client->copied_in;
            const uint64_t out = d.server->copied_out;
            duo_send(&d, false, bytes, sizes[i]);
            const size_t wire = hpxi_buf_size(&d.to_client);
            assert_int_equal(count_records(&d.to_client), (sizes[i] + 16383) / 16384);
            assert_int_equal(d.server->copied_out - out, wire);
            assert_int_equal(duo_receive(&d, true, &plain), HPX_E_PARTIAL);
            assert_int_equal(d.client->copied_in - in, wire);
            assert_int_equal(hpxi_buf_size(&plain), sizes[i]);
            hpxi_buf_consume(&plain, sizes[i]);
        }
        hpxi_buf_fini(&plain);
        duo_free(&d);
    }
}

static void
test_write_when_out_of_memory_then_nothing_is_written_and_later_writes_work(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        open_duo(&d, version, 0, 0);
        static uint8_t bytes[100000];
        duo_fill(bytes, sizeof(bytes), 0);
        hpx_error error;
        const hpx_span plain = {.data = bytes, .size = sizeof(bytes)};
        for (int i = 0; i < 3; i++) {
            d.memory.fail_at = d.memory.count;
            assert_int_equal(
                hpxi_tls_write(d.client, plain, &d.to_server, &error), HPX_E_NO_MEMORY);
            assert_int_equal(error.status, HPX_E_NO_MEMORY);
            assert_int_equal(hpxi_buf_size(&d.to_server), 0);
        }
        d.memory.fail_at = SIZE_MAX;
        check_carries(&d, true, sizeof(bytes));
        duo_free(&d);
    }
}

static void test_new_when_memory_fails_then_no_session(void **state)
{
    (void)state;
    failing_allocator fa = {.fail_at = 0};
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_tls_session_config config = {.context = sites[0].client, .server_name = NAME};
    hpxi_tls *tls = (hpxi_tls *)1;
    hpx_error error;
    assert_int_equal(hpxi_tls_new(&tls, &config, &allocator, &error), HPX_E_NO_MEMORY);
    assert_null(tls);
    assert_int_equal(fa.live, 0);
    fa.fail_at = SIZE_MAX;
    static const uint8_t alpn[] = "\x08http/1.1";
    config.alpn = alpn;
    config.alpn_bytes = sizeof(alpn) - 1;
    for (size_t i = 0;; i++) {
        ptrdiff_t live = 0;
        duo_wolf_memory_start(i);
        const hpx_status status = hpxi_tls_new(&tls, &config, &allocator, &error);
        assert_int_equal(tls == NULL, status != HPX_OK);
        hpxi_tls_free(tls);
        const size_t count = duo_wolf_memory_stop(&live);
        assert_int_equal(live, 0);
        assert_int_equal(fa.live, 0);
        if (status == HPX_OK) {
            assert_true(i > 5);
            assert_int_equal(count, i);
            return;
        }
        assert_int_equal(status, HPX_E_NO_MEMORY);
    }
}

static void
test_handshake_when_the_nth_allocation_fails_then_refused_and_nothing_leaks(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        duo d;
        ptrdiff_t live = 0;
        open_duo(&d, version, 0, 0); /* the intermediates and the like that stay are there */
        duo_free(&d);
        duo_wolf_memory_start(SIZE_MAX);
        open_duo(&d, version, 0, 0);
        duo_free(&d);
        const size_t total = duo_wolf_memory_stop(&live);
        assert_int_equal(live, 0);
        assert_true(total > 20);
        size_t refused = 0;
        for (size_t i = 0; i < total; i++) {
            /* Sessions exist before memory runs short: creation has its own test. */
            duo_make(&d, &sites[version], NAME, false);
            duo_wolf_memory_start(i);
            if (!duo_handshake(&d)) {
                refused++;
            } else {
                hpxi_tls_info info;
                hpxi_tls_get_info(d.client, &info);
                assert_true(info.verified);
            }
            (void)duo_wolf_memory_stop(&live);
            duo_free(&d);
        }
        assert_true(refused > 10);
    }
}

static void test_handshake_when_out_cannot_grow_then_no_memory(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        for (size_t i = 0; i < 4; i++) {
            duo d;
            duo_make(&d, &sites[version], NAME, false);
            d.memory.fail_at = d.memory.count + i;
            uint8_t *data = NULL;
            size_t size = 0;
            hpx_error error;
            const hpx_status first =
                hpxi_tls_handshake(d.client, &data, &size, &d.to_server, &error);
            if (first != HPX_E_PARTIAL) {
                assert_int_equal(first, HPX_E_NO_MEMORY);
                assert_int_equal(error.status, HPX_E_NO_MEMORY);
            }
            d.memory.fail_at = SIZE_MAX;
            duo_free(&d);
        }
    }
}

static const struct {
    const char *client;
    const char *server;
    const char *chosen; /* NULL: the handshake fails */
} alpn_rows[] = {
    {"http/1.1", "http/1.1", "http/1.1"},
    {"http/1.1", NULL, ""},
    {NULL, "http/1.1", ""},
    {"h2", "http/1.1", NULL},
    {"h2,http/1.1", "h2,http/1.1", "h2"},
    {"h2,http/1.1", "http/1.1", "http/1.1"},
    {"http/1.1,h2", "h2,http/1.1", "http/1.1"}, /* the client's order counts */
    {"h2,http/1.1", NULL, ""},
    {"h2,http/1.1", "http/1.0,HTTP/1.1", NULL}, /* bytes are compared, not letters */
};

static void test_alpn_is_agreed_or_the_handshake_fails(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        for (size_t i = 0; i < COUNT_OF(alpn_rows); i++) {
            duo d;
            duo_make_alpn(&d, &sites[version], NAME, alpn_rows[i].client, alpn_rows[i].server);
            const bool done = duo_handshake(&d);
            if (alpn_rows[i].chosen == NULL) {
                assert_false(done);
                assert_int_equal(d.client_status, HPX_E_TLS_ALERT);
                assert_int_equal(d.client_error.tls_alert, 120);
            } else {
                hpxi_tls_info info;
                assert_true(done);
                hpxi_tls_get_info(d.client, &info);
                assert_string_equal(info.alpn, alpn_rows[i].chosen);
                hpxi_tls_get_info(d.server, &info);
                assert_string_equal(info.alpn, alpn_rows[i].chosen);
            }
            duo_free(&d);
        }
    }
}

static void test_alpn_literals_are_the_lists_they_name(void **state)
{
    (void)state;
    duo d;
    hpxi_tls_info info;
    hpxi_tls_session_config client = {
        .context = sites[0].client, .server_name = NAME, HPXI_TLS_ALPN(HPXI_TLS_ALPN_H2_HTTP1)};
    hpxi_tls_session_config server = {
        .context = sites[0].server, .is_server = true, HPXI_TLS_ALPN(HPXI_TLS_ALPN_HTTP1)};
    duo_make_with(&d, &client, &server);
    assert_true(duo_handshake(&d));
    hpxi_tls_get_info(d.client, &info);
    assert_string_equal(info.alpn, "http/1.1");
    duo_free(&d);
    server = (hpxi_tls_session_config){
        .context = sites[0].server, .is_server = true, HPXI_TLS_ALPN(HPXI_TLS_ALPN_H2)};
    duo_make_with(&d, &client, &server);
    assert_true(duo_handshake(&d));
    hpxi_tls_get_info(d.client, &info);
    assert_string_equal(info.alpn, "h2");
    duo_free(&d);
}

static void test_new_when_the_settings_are_wrong_then_no_session(void **state)
{
    (void)state;
    static const char *const names[] = {NULL, "", "a b", "*.example", "127.1", "a..b"};
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_tls *tls = (hpxi_tls *)1;
    hpx_error error;
    hpxi_tls_session_config config = {.context = sites[0].client};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        config.server_name = names[i];
        assert_int_equal(hpxi_tls_new(&tls, &config, &allocator, &error), HPX_E_TLS_CONFIG);
        assert_null(tls);
    }
    config.server_name = NAME;
    config.is_server = true;
    assert_int_equal(hpxi_tls_new(&tls, &config, &allocator, &error), HPX_E_TLS_CONFIG);
    config.is_server = false;
    static const char *const lists[] = {
        "\x09http/1.1",
        "\0",
        "\x03"
        "a,b",
        "\x02"
        "a\0"};
    static const size_t list_bytes[] = {9, 1, 4, 3};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        config.alpn = (const uint8_t *)lists[i];
        config.alpn_bytes = list_bytes[i];
        assert_int_equal(hpxi_tls_new(&tls, &config, &allocator, &error), HPX_E_TLS_CONFIG);
        assert_null(tls);
    }
    assert_int_equal(fa.live, 0);
    hpxi_tls_free(NULL);
}

static bool contains(hpx_span bytes, const char *text)
{
    return memmem(bytes.data, bytes.size, text, strlen(text)) != NULL;
}

static void test_client_hello_names_the_server_unless_it_is_an_address(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool insecure;
        const char *sent;
        const char *not_sent;
    } rows[] = {
        {"host.example", false, "host.example", NULL},
        {"HOST.example.", true, "host.example", "host.example."},
        {"127.0.0.1", false, NULL, "127.0.0.1"},
        {"::1", false, NULL, "::1"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        duo d;
        duo_make(&d, &sites[0], rows[i].name, rows[i].insecure);
        uint8_t *data = NULL;
        size_t size = 0;
        assert_int_equal(
            hpxi_tls_handshake(d.client, &data, &size, &d.to_server, NULL), HPX_E_PARTIAL);
        assert_true(rows[i].sent == NULL || contains(hpxi_buf_span(&d.to_server), rows[i].sent));
        assert_true(
            rows[i].not_sent == NULL || !contains(hpxi_buf_span(&d.to_server), rows[i].not_sent));
        duo_free(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_at_every_cut_then_done_and_verified),
        cmocka_unit_test(test_data_of_every_size_at_every_cut_arrives_exactly),
        cmocka_unit_test(test_data_behind_the_last_flight_is_left_for_read),
        cmocka_unit_test(test_close_notify_ends_one_direction),
        cmocka_unit_test(test_truncated_stream_is_never_an_orderly_end),
        cmocka_unit_test(test_record_with_any_bit_flipped_is_refused_for_good),
        cmocka_unit_test(test_handshake_with_any_bit_flipped_is_never_done_on_both_sides),
        cmocka_unit_test(test_handshake_when_the_peer_answers_something_else_then_said_what),
        cmocka_unit_test(test_handshake_on_random_bytes_fails_or_waits),
        cmocka_unit_test(test_server_hears_why_the_client_refused),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_idle_session_takes_less_than_16_kib),
        cmocka_unit_test(test_each_byte_is_copied_once_each_way_and_records_are_full),
        cmocka_unit_test(
            test_write_when_out_of_memory_then_nothing_is_written_and_later_writes_work),
        cmocka_unit_test(test_new_when_memory_fails_then_no_session),
        cmocka_unit_test(
            test_handshake_when_the_nth_allocation_fails_then_refused_and_nothing_leaks),
        cmocka_unit_test(test_handshake_when_out_cannot_grow_then_no_memory),
        cmocka_unit_test(test_alpn_is_agreed_or_the_handshake_fails),
        cmocka_unit_test(test_alpn_literals_are_the_lists_they_name),
        cmocka_unit_test(test_new_when_the_settings_are_wrong_then_no_session),
        cmocka_unit_test(test_client_hello_names_the_server_unless_it_is_an_address),
    };
    return cmocka_run_group_tests(tests, session_setup, session_teardown);
}
