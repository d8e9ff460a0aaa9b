/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the reader is never laxer than llhttp, the parser of node, in its strict form.
 * Method: each vector, and each vector with one byte replaced, removed or inserted, at every place
 * and with the bytes that matter; those that our reader accepts are given to node. Skipped where
 * there is no node.
 */
#include <stdio.h>
#include <unistd.h>

#include "tests/h1/vectors.h"
#include "tests/support/test.h"

#define STREAM_BYTES_MAX 512u

static const uint8_t values[] = {
    0, 1, '\t', '\n', '\r', ' ', '"', ',', '-', '+', '0', '9', ':', ';', '=', 'A', 'x', 0x7F, 0x80};

typedef struct accepted {
    FILE *file;
    size_t tried;
    size_t count;
} accepted;

/* Writes the stream down if our reader accepts it. */
static void try_stream(accepted *a, const vector *row, const uint8_t *bytes, size_t size)
{
    const log_plan plan = vector_plan(row);
    message_log log;
    a->tried++;
    log_read(&log, &plan, bytes, size, 0, size + 1);
    const bool some = log.message_count != 0 || log.status == 0; /* 0: a tunnel */
    const bool waits = log.bytes >= 2 && strcmp(log.text + log.bytes - 2, "M\n") == 0;
    if (!some || waits || (log.status != HPX_E_PARTIAL && log.status != 0)) {
        return; /* refused, or not decided yet */
    }
    const uint8_t head[] = {
        (uint8_t)row->kind, row->close == LOG_CLOSE_CLEAN, size & 0xFF, (uint8_t)(size >> 8), 0, 0};
    assert_int_equal(fwrite(head, 1, sizeof(head), a->file), sizeof(head));
    assert_int_equal(fwrite(bytes, 1, size, a->file), size);
    a->count++;
}

static void try_mutations(accepted *a, const vector *row)
{
    uint8_t bytes[STREAM_BYTES_MAX];
    assert_true(row->size + 1 <= sizeof(bytes));
    try_stream(a, row, (const uint8_t *)row->bytes, row->size);
    for (size_t at = 0; at < row->size; at++) {
        memcpy(bytes, row->bytes, row->size);
        for (size_t v = 0; v < sizeof(values); v++) {
            bytes[at] = values[v];
            try_stream(a, row, bytes, row->size);
        }
        memcpy(bytes, row->bytes, at);
        memcpy(bytes + at, row->bytes + at + 1, row->size - at - 1);
        try_stream(a, row, bytes, row->size - 1);
        memcpy(bytes + at + 1, row->bytes + at, row->size - at);
        for (size_t v = 0; v < sizeof(values); v++) {
            bytes[at] = values[v];
            try_stream(a, row, bytes, row->size + 1);
        }
    }
}

static void test_reader_when_it_accepts_then_llhttp_does_too(void **state)
{
    (void)state;
    char path[] = "/tmp/hpx_llhttp_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    accepted a = {.file = fdopen(fd, "wb")};
    assert_non_null(a.file);
    for (size_t i = 0; i < h1_good_count; i++) {
        try_mutations(&a, &h1_good[i]);
    }
    for (size_t i = 0; i < h1_bad_count; i++) {
        try_mutations(&a, &h1_bad[i]);
    }
    assert_int_equal(fclose(a.file), 0);
    printf("%zu streams tried, %zu accepted\n", a.tried, a.count);
    char command[600];
    const int bytes = snprintf(
        command,
        sizeof(command),
        "node --no-deprecation '%s/tests/h1/llhttp.js' %s",
        getenv("HPX_SOURCE_DIR"),
        path);
    assert_true(bytes > 0 && (size_t)bytes < sizeof(command));
    fflush(stdout);
    const int status = system(command);
    unlink(path);
    assert_int_equal(status, 0);
}

int main(void)
{
    if (system("node --version >/dev/null 2>&1") != 0) {
        return TEST_EXIT_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_when_it_accepts_then_llhttp_does_too),
    };
    return cmocka_run_group_tests_name("h1/llhttp", tests, NULL, NULL);
}
