/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every status, stage and state has its own name and text, in every locale.
 * Method: the enums are read from the public headers' own text, so that a status added there
 * without a row in the table fails here.
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>

#include <hpx/base.h>
#include <hpx/system.h>
#include <hpx/ws.h>

#include "tests/support/test.h"

#define CODES_MAX 128u

typedef struct code {
    char name[48];
    int value;
} code;

static code codes[CODES_MAX];
static size_t code_count;

/* Reads "HPX_E_NAME = -1234," lines of include/hpx/base.h. */
static int read_codes(void **state)
{
    (void)state;
    const char *root = getenv("HPX_SOURCE_DIR");
    char path[4096];
    snprintf(path, sizeof(path), "%s/include/hpx/base.h", root == NULL ? "." : root);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        print_error("cannot open %s: set HPX_SOURCE_DIR\n", path);
        return -1;
    }
    char line[256];
    while (fgets(line, sizeof(line), file) != NULL) {
        code found;
        if (sscanf(line, " %47[A-Z0-9_] = %d,", found.name, &found.value) == 2 &&
            strncmp(found.name, "HPX_E_", 6) == 0) {
            assert_true(code_count < CODES_MAX);
            codes[code_count++] = found;
        }
    }
    fclose(file);
    return 0;
}

static void test_status_name_when_code_is_in_header_then_its_own_name(void **state)
{
    (void)state;
    assert_true(code_count >= 48);
    for (size_t i = 0; i < code_count; i++) {
        assert_string_equal(hpx_status_name(codes[i].value), codes[i].name);
        assert_true(codes[i].value < -4095); /* no errno */
    }
    assert_string_equal(hpx_status_name(HPX_OK), "HPX_OK");
    assert_string_equal(hpx_status_name(7), "HPX_OK"); /* a count */
}

static void test_status_text_when_code_is_in_header_then_its_own_text(void **state)
{
    (void)state;
    const char *unknown = hpx_status_text(-9999);
    for (size_t i = 0; i < code_count; i++) {
        const char *text = hpx_status_text(codes[i].value);
        assert_string_not_equal(text, "");
        assert_string_not_equal(text, unknown);
        assert_string_not_equal(text, hpx_status_text(HPX_OK));
        assert_true(strlen(text) < 100);
        assert_null(strchr(text, '\n'));
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i].value, codes[j].value);
            assert_string_not_equal(text, hpx_status_text(codes[j].value));
            assert_string_not_equal(
                hpx_status_name(codes[i].value), hpx_status_name(codes[j].value));
        }
    }
}

static void test_status_name_when_errno_then_as_in_c(void **state)
{
    (void)state;
    static const struct {
        int value;
        const char *name;
        const char *text; /* NULL: the C library's */
    } rows[] = {
        {ECONNREFUSED, "ECONNREFUSED", "connection refused"},
        {ECONNRESET, "ECONNRESET", "connection reset by the peer"},
        {EADDRINUSE, "EADDRINUSE", "address in use"},
        {EAGAIN, "EAGAIN", "not ready now"},
        {ENETUNREACH, "ENETUNREACH", "network is unreachable"},
        {EDOM, "EDOM", NULL},
        {EXDEV, "EXDEV", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(hpx_status_name(-rows[i].value), rows[i].name);
        if (rows[i].text != NULL) {
            assert_string_equal(hpx_status_text(-rows[i].value), rows[i].text);
        }
    }
}

/* Any int at all: never NULL, never empty, one line, and the same in every locale. */
static void test_status_when_any_value_then_static_text(void **state)
{
    (void)state;
    static const int extremes[] = {INT32_MIN, INT32_MAX, -4096, -4095, -4099, -10000, 1};
    static const char *texts[11000];
    for (int value = -10999; value <= 0; value++) {
        assert_non_null(hpx_status_name(value));
        assert_string_not_equal(hpx_status_name(value), "");
        texts[-value] = hpx_status_text(value);
        assert_non_null(texts[-value]);
        assert_string_not_equal(texts[-value], "");
    }
    for (size_t i = 0; i < COUNT_OF(extremes); i++) {
        assert_non_null(hpx_status_name(extremes[i]));
        assert_non_null(hpx_status_text(extremes[i]));
    }
    assert_string_equal(hpx_status_name(-4000), "errno");
    assert_string_equal(hpx_status_text(-4000), "unknown system error");
    assert_string_equal(hpx_status_name(-6000), "HPX_E_UNKNOWN");
    assert_string_equal(hpx_status_text(INT32_MIN), "unknown status");
    (void)setlocale(LC_ALL, "");
    for (int value = -10999; value <= 0; value++) {
        assert_ptr_equal(hpx_status_text(value), texts[-value]);
    }
}

static void test_stage_and_state_names_when_any_value_then_distinct(void **state)
{
    (void)state;
    static const char *const stages[] = {
        "none",
        "config",
        "resolve",
        "connect",
        "tls",
        "upgrade",
        "auth",
        "resubscribe",
        "ready",
        "close",
        "queue",
        "request",
        "response",
        "body",
        "unknown"};
    static const char *const states[] = {
        "idle",
        "resolving",
        "connecting",
        "tls-handshake",
        "upgrading",
        "authenticating",
        "resubscribing",
        "ready",
        "backing-off",
        "closing",
        "closed",
        "unknown"};
    assert_int_equal(COUNT_OF(stages), HPX_STAGE_BODY + 2);
    assert_int_equal(COUNT_OF(states), HPX_CONN_CLOSED + 2);
    for (size_t i = 0; i < COUNT_OF(stages); i++) {
        assert_string_equal(hpx_stage_name((hpx_stage)i), stages[i]);
    }
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        assert_string_equal(hpx_conn_state_name((hpx_conn_state)i), states[i]);
    }
    assert_string_equal(hpx_stage_name((hpx_stage)-1), "unknown");
    assert_string_equal(hpx_conn_state_name((hpx_conn_state)-1), "unknown");
}

static void test_span_of_when_text_then_without_nul(void **state)
{
    (void)state;
    const char *text = "text";
    assert_ptr_equal(hpx_span_of(text).data, text);
    assert_int_equal(hpx_span_of(text).size, 4);
    assert_int_equal(hpx_span_of("").size, 0);
    assert_int_equal(hpx_span_of(NULL).size, 0);
}

static void test_version_when_asked_then_that_of_the_header(void **state)
{
    (void)state;
    char expected[32];
    snprintf(
        expected,
        sizeof(expected),
        "%d.%d.%d",
        HPX_VERSION_MAJOR,
        HPX_VERSION_MINOR,
        HPX_VERSION_PATCH);
    assert_string_equal(hpx_version(), expected);
    assert_string_equal(HPX_VERSION_STRING, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_name_when_code_is_in_header_then_its_own_name),
        cmocka_unit_test(test_status_text_when_code_is_in_header_then_its_own_text),
        cmocka_unit_test(test_status_name_when_errno_then_as_in_c),
        cmocka_unit_test(test_status_when_any_value_then_static_text),
        cmocka_unit_test(test_stage_and_state_names_when_any_value_then_distinct),
        cmocka_unit_test(test_span_of_when_text_then_without_nul),
        cmocka_unit_test(test_version_when_asked_then_that_of_the_header),
    };
    return cmocka_run_group_tests_name("engine/status", tests, read_codes, NULL);
}
