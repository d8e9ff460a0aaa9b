/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A context is made completely or not at all, and says which file or member is at fault.
 * Method  Tables of settings and files; wolfSSL's allocator failing at each allocation in turn;
 *         threads that share one pair of contexts (for the thread sanitizer).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hpx/system.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"

#define NAME "host.example"

static duo_site site;
static char cert_file[2 * CERTS_PATH_MAX];
static char key_file[2 * CERTS_PATH_MAX];
static char root_pem[CERTS_PEM_MAX];
static char garbage_file[CERTS_PATH_MAX];
static char broken_file[CERTS_PATH_MAX];
static char other_key_file[CERTS_PATH_MAX];
static char expired_root_file[CERTS_PATH_MAX];

static int context_setup(void **state)
{
    (void)state;
    static const certs_spec leaf = {.san = {SAN_DNS(NAME)}};
    static char pem[CERTS_PEM_MAX];
    duo_site_make(&site, &leaf);
    (void)snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", site.folder);
    (void)snprintf(key_file, sizeof(key_file), "%s/key.pem", site.folder);
    const certs_identity *const root[] = {&site.root};
    (void)certs_pem(root_pem, root, 1);
    certs_write_file(garbage_file, site.folder, "garbage.pem", "no PEM here\n");
    certs_write_file(
        broken_file,
        site.folder,
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    certs_identity other;
    certs_make(
        &other,
        &(certs_spec){
            .common_name = "old root",
            .is_ca = true,
            .not_before_s = -9 * CERTS_DAY_S,
            .not_after_s = -CERTS_DAY_S},
        NULL);
    (void)certs_key_pem(pem, &other);
    certs_write_file(other_key_file, site.folder, "other-key.pem", pem);
    const certs_identity *const expired[] = {&other};
    (void)certs_pem(pem, expired, 1);
    certs_write_file(expired_root_file, site.folder, "expired.pem", pem);
    certs_free(&other);
    return 0;
}

static int context_teardown(void **state)
{
    (void)state;
    duo_site_free(&site);
    return 0;
}

static const struct {
    const char *name;
    hpx_tls_config config;
    bool is_server;
    hpx_status status;
    int os_errno;
    const char *detail;
} bad_rows[] = {
    {"size 0", {.size = 0}, false, HPX_E_INVALID, 0, "size"},
    {"flags", {.size = sizeof(hpx_tls_config), .flags = 2}, false, HPX_E_INVALID, 0, "flags"},
    {"version",
     {.size = sizeof(hpx_tls_config), .version_min = (hpx_tls_version)11},
     false,
     HPX_E_INVALID,
     0,
     "version_min"},
    {"ca_pem without its size",
     {.size = sizeof(hpx_tls_config), .ca_pem = root_pem},
     false,
     HPX_E_INVALID,
     0,
     "ca_pem"},
    {"certificate without key",
     {.size = sizeof(hpx_tls_config), .cert_file = cert_file},
     true,
     HPX_E_INVALID,
     0,
     "key_file"},
    {"server without certificate",
     {.size = sizeof(hpx_tls_config)},
     true,
     HPX_E_INVALID,
     0,
     "required for a server"},
    {"no such ca_file",
     {.size = sizeof(hpx_tls_config), .ca_file = "/nonexistent/ca.pem"},
     false,
     HPX_E_TLS_CONFIG,
     ENOENT,
     "ca_file '/nonexistent/ca.pem' cannot be read: No such file"},
    {"ca_file is a folder",
     {.size = sizeof(hpx_tls_config), .ca_file = "/"},
     false,
     HPX_E_TLS_CONFIG,
     0,
     "ca_file '/'"},
    {"garbage ca_file",
     {.size = sizeof(hpx_tls_config), .ca_file = garbage_file},
     false,
     HPX_E_TLS_CONFIG,
     0,
     "garbage.pem' cannot be used"},
    {"broken ca_file",
     {.size = sizeof(hpx_tls_config), .ca_file = broken_file},
     false,
     HPX_E_TLS_CONFIG,
     0,
     "broken.pem' cannot be used"},
    {"expired ca_file",
     {.size = sizeof(hpx_tls_config), .ca_file = expired_root_file},
     false,
     HPX_E_TLS_CONFIG,
     0,
     "expired.pem' cannot be used"},
    {"garbage ca_pem",
     {.size = sizeof(hpx_tls_config), .ca_pem = "abc", .ca_pem_bytes = 3},
     false,
     HPX_E_TLS_CONFIG,
     0,
     "ca_pem"},
    {"no such cert_file",
     {.size = sizeof(hpx_tls_config), .cert_file = "/nonexistent/c", .key_file = key_file},
     true,
     HPX_E_TLS_CONFIG,
     ENOENT,
     "cert_file '/nonexistent/c'"},
    {"no such key_file",
     {.size = sizeof(hpx_tls_config), .cert_file = cert_file, .key_file = "/nonexistent/k"},
     true,
     HPX_E_TLS_CONFIG,
     ENOENT,
     "key_file '/nonexistent/k'"},
    {"garbage cert_file",
     {.size = sizeof(hpx_tls_config), .cert_file = garbage_file, .key_file = key_file},
     true,
     HPX_E_TLS_CONFIG,
     0,
     "cert_file"},
    {"garbage key_file",
     {.size = sizeof(hpx_tls_config), .cert_file = cert_file, .key_file = garbage_file},
     true,
     HPX_E_TLS_CONFIG,
     0,
     "key_file"},
    {"another's key",
     {.size = sizeof(hpx_tls_config), .cert_file = cert_file, .key_file = other_key_file},
     true,
     HPX_E_TLS_CONFIG,
     0,
     "key_file"},
    {"keylog_file in no folder",
     {.size = sizeof(hpx_tls_config),
      .cert_file = cert_file,
      .key_file = key_file,
      .keylog_file = "/nonexistent/keys"},
     true,
     HPX_E_TLS_CONFIG,
     ENOENT,
     "keylog_file '/nonexistent/keys'"},
};

static hpx_status
make(hpx_tls_context **out, const hpx_tls_config *config, bool is_server, hpx_error *error)
{
    return is_server ? hpx_tls_server_context_new(out, config, error)
                     : hpx_tls_client_context_new(out, config, error);
}

static void test_context_when_a_setting_is_bad_then_none_and_it_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_rows); i++) {
        hpx_tls_context *context = (hpx_tls_context *)1;
        hpx_error error;
        const hpx_status status =
            make(&context, &bad_rows[i].config, bad_rows[i].is_server, &error);
        if (status != bad_rows[i].status || strstr(error.detail, bad_rows[i].detail) == NULL) {
            fail_msg("%s: %d '%s'", bad_rows[i].name, status, error.detail);
        }
        assert_null(context);
        assert_int_equal(error.status, status);
        assert_int_equal(error.stage, HPX_STAGE_CONFIG);
        assert_int_equal(error.os_errno, bad_rows[i].os_errno);
        assert_int_equal(make(&context, &bad_rows[i].config, bad_rows[i].is_server, NULL), status);
    }
}

static void check_each_allocation(const hpx_tls_config *config, bool is_server)
{
    for (size_t i = 0;; i++) {
        hpx_tls_context *context = (hpx_tls_context *)1;
        hpx_error error;
        ptrdiff_t live = 0;
        duo_wolf_memory_start(i);
        const hpx_status status = make(&context, config, is_server, &error);
        assert_int_equal(context == NULL, status != HPX_OK);
        hpx_tls_context_release(context);
        const size_t count = duo_wolf_memory_stop(&live);
        if (live != 0) {
            fail_msg("allocation %zu of %zu failing leaves %td blocks", i, count, live);
        }
        if (status == HPX_OK) {
            assert_true(i > 10);
            if (count <= i) {
                return;
            }
        } else {
            assert_true(status == HPX_E_NO_MEMORY || status == HPX_E_TLS_CONFIG);
            assert_int_equal(error.status, status);
        }
    }
}

static void test_context_when_the_nth_allocation_fails_then_none_and_nothing_leaks(void **state)
{
    (void)state;
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.cert_file = cert_file;
    config.key_file = key_file;
    check_each_allocation(&config, true);
    config = (hpx_tls_config)HPX_TLS_CONFIG_INIT;
    config.ca_pem = root_pem;
    config.ca_pem_bytes = strlen(root_pem);
    check_each_allocation(&config, false);
}

static void test_context_from_a_file_or_an_older_config_works(void **state)
{
    (void)state;
    char path[CERTS_PATH_MAX];
    certs_write_file(path, site.folder, "root.pem", root_pem);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_file = path;
    config.version_min = HPX_TLS_VERSION_1_3;
    config.keylog_file = "/nonexistent/not read: beyond the size";
    config.size = offsetof(hpx_tls_config, keylog_file);
    hpx_tls_context *const before = site.client;
    hpx_error error = {.status = 1};
    assert_int_equal(hpx_tls_client_context_new(&site.client, &config, &error), HPX_OK);
    assert_int_equal(error.status, HPX_OK);
    duo d;
    duo_make(&d, &site, NAME, false);
    assert_true(duo_handshake(&d));
    duo_free(&d);
    hpx_tls_context_release(site.client);
    site.client = before;
}

static void test_context_with_version_min_1_3_then_1_2_is_refused(void **state)
{
    (void)state;
    duo_site old;
    duo_site_make(&old, &(certs_spec){.san = {SAN_DNS(NAME)}});
    duo_site_force_tls12(&old);
    hpx_tls_context_release(old.client);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_pem = root_pem;
    config.ca_pem_bytes = strlen(root_pem);
    config.version_min = HPX_TLS_VERSION_1_3;
    assert_int_equal(hpx_tls_client_context_new(&old.client, &config, NULL), HPX_OK);
    duo d;
    duo_make(&d, &old, NAME, false);
    assert_false(duo_handshake(&d));
    assert_true(d.client_status == HPX_E_TLS_HANDSHAKE || d.client_status == HPX_E_TLS_ALERT);
    duo_free(&d);
    duo_site_free(&old);
}

static void test_context_of_the_system_has_roots(void **state)
{
    (void)state;
    if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0) {
        skip();
    }
    hpx_tls_context *const before = site.client;
    hpx_error error;
    if (hpx_tls_client_context_new(&site.client, NULL, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    duo d; /* the test's own root is none of the system's */
    duo_make(&d, &site, NAME, false);
    assert_false(duo_handshake(&d));
    assert_int_equal(d.client_status, HPX_E_TLS_UNTRUSTED);
    duo_free(&d);
    hpx_tls_context_release(site.client);
    site.client = before;
}

static void test_context_outlives_its_release_while_a_session_uses_it(void **state)
{
    (void)state;
    duo_site own;
    duo_site_make(&own, &(certs_spec){.san = {SAN_DNS(NAME)}});
    duo d;
    duo_make(&d, &own, NAME, false);
    hpxi_tls_context_retain(own.client);
    hpx_tls_context_release(own.client);
    hpx_tls_context_release(own.client);
    hpx_tls_context_release(own.server);
    own.client = NULL;
    own.server = NULL;
    assert_true(duo_handshake(&d));
    duo_free(&d);
    duo_site_free(&own);
}

static size_t count_lines(const char *text, const char *label)
{
    size_t count = 0;
    for (const char *at = strstr(text, label); at != NULL; at = strstr(at + 1, label)) {
        count += at == text || at[-1] == '\n';
    }
    return count;
}

static void test_keylog_holds_the_secrets_when_asked_for(void **state)
{
    (void)state;
    static char text[8192];
    char path[2 * CERTS_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/keys.log", site.folder);
    hpx_tls_context *const before = site.client;
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_pem = root_pem;
    config.ca_pem_bytes = strlen(root_pem);
    config.keylog_file = path;
    assert_int_equal(hpx_tls_client_context_new(&site.client, &config, NULL), HPX_OK);
    for (int version = 0; version < 2; version++) {
        duo d;
        duo_make(&d, &site, NAME, false);
        assert_true(duo_handshake(&d));
        duo_free(&d);
        duo_site_force_tls12(&site);
    }
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    assert_int_equal(count_lines(text, "CLIENT_RANDOM "), 1);
    assert_int_equal(count_lines(text, "CLIENT_HANDSHAKE_TRAFFIC_SECRET "), 1);
    assert_int_equal(count_lines(text, "SERVER_HANDSHAKE_TRAFFIC_SECRET "), 1);
    assert_int_equal(count_lines(text, "CLIENT_TRAFFIC_SECRET_0 "), 1);
    assert_int_equal(count_lines(text, "SERVER_TRAFFIC_SECRET_0 "), 1);
    hpx_tls_context_release(site.client);
    site.client = before;
}

/*
 * What must not be left in a block that went back to the allocator. Freed memory is read through
 * the kernel: a sanitizer has nothing to object to, and what is unmapped just cannot be read.
 */
#define BLOCKS_MAX 4096

static const char canary[] = "canary: the plain text of a secret message";
static uint8_t traffic_secret[32];
static struct {
    void *block;
    size_t size;
} blocks[BLOCKS_MAX];
static int own_memory = -1;
static size_t blocks_freed;
static size_t secrets_found;
static size_t canaries_found;
static wolfSSL_Malloc_cb malloc_before;
static wolfSSL_Free_cb free_before;
static wolfSSL_Realloc_cb realloc_before;

static void remember(void *block, size_t size)
{
    for (size_t i = 0; block != NULL; i++) {
        assert_true(i < BLOCKS_MAX);
        if (blocks[i].block == NULL) {
            blocks[i].block = block;
            blocks[i].size = size;
            return;
        }
    }
}

static size_t forget(const void *block)
{
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        if (blocks[i].block == block) {
            blocks[i].block = NULL;
            return blocks[i].size;
        }
    }
    return 0; /* older than this test */
}

static void search(const void *block, size_t size)
{
    static char copy[1 << 20];
    size = size < sizeof(copy) ? size : sizeof(copy);
    const ssize_t got = pread(own_memory, copy, size, (off_t)(uintptr_t)block);
    if (got > 0) {
        secrets_found += memmem(copy, (size_t)got, traffic_secret, sizeof(traffic_secret)) != NULL;
        canaries_found += memmem(copy, (size_t)got, canary, sizeof(canary) - 1) != NULL;
        blocks_freed++;
    }
    explicit_bzero(copy, size);
}

static void *remembering_malloc(size_t size)
{
    void *block = malloc_before(size);
    remember(block, size);
    return block;
}

static void searching_free(void *block)
{
    if (block != NULL) {
        const size_t size = forget(block);
        free_before(block);
        search(block, size);
    }
}

static void *searching_realloc(void *block, size_t size)
{
    const size_t before = block == NULL ? 0 : forget(block);
    void *bigger = realloc_before(block, size);
    remember(bigger, size);
    if (block != NULL && bigger != block) {
        search(block, before);
    }
    return bigger;
}

/* Reads the secret of this label from a key log. */
static void read_secret(const char *path, const char *label)
{
    char line[512];
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, label, strlen(label)) == 0) {
            const char *hex = strrchr(line, ' ') + 1;
            for (size_t i = 0; i < sizeof(traffic_secret); i++) {
                unsigned int byte = 0;
                assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
                traffic_secret[i] = (uint8_t)byte;
            }
        }
    }
    (void)fclose(file);
}

static void test_session_leaves_no_secret_in_freed_memory(void **state)
{
    (void)state;
    static uint8_t long_canary[12000];
    for (size_t at = 0; at + sizeof(canary) <= sizeof(long_canary); at += sizeof(canary)) {
        memcpy(long_canary + at, canary, sizeof(canary));
    }
    static const char *const labels[] = {"CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "};
    char path[2 * CERTS_PATH_MAX];
    assert_int_equal(wolfSSL_GetAllocators(&malloc_before, &free_before, &realloc_before), 0);
    assert_int_equal(
        wolfSSL_SetAllocators(remembering_malloc, searching_free, searching_realloc), 0);
    own_memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    assert_true(own_memory >= 0);
    duo_site own;
    duo_site_make(&own, &(certs_spec){.san = {SAN_DNS(NAME)}});
    (void)snprintf(path, sizeof(path), "%s/keys.log", own.folder);
    assert_int_equal(hpxi_tls_keylog_open(path, &own.client->keylog_fd, NULL), HPX_OK);
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        duo d;
        duo_make(&d, &own, NAME, false);
        assert_true(duo_handshake(&d));
        duo_send(&d, true, (const uint8_t *)canary, sizeof(canary));
        duo_send(&d, false, (const uint8_t *)canary, sizeof(canary));
        duo_send(&d, true, long_canary, sizeof(long_canary)); /* a block of the thread's */
        hpxi_buf plain;
        hpxi_buf_init(&plain, &d.allocator);
        assert_int_equal(duo_receive(&d, true, &plain), HPX_E_PARTIAL);
        assert_int_equal(duo_receive(&d, false, &plain), HPX_E_PARTIAL);
        hpxi_buf_fini(&plain);
        read_secret(path, labels[i]);
        blocks_freed = 0;
        secrets_found = 0;
        canaries_found = 0;
        duo_free(&d);
        assert_true(blocks_freed > 0);
        assert_int_equal(secrets_found, 0);
        assert_int_equal(canaries_found, 0);
    }
    duo_site_free(&own);
    assert_int_equal(wolfSSL_SetAllocators(malloc_before, free_before, realloc_before), 0);
    (void)close(own_memory);
}

static void *shake_hands(void *argument)
{
    const uint64_t seed = (uint64_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < 32; i++) {
        duo d;
        duo_make(&d, &site, (i & 3) == 3 ? "other.example" : NAME, false);
        d.cut_bytes = DUO_CUT_RANDOM;
        d.seed = seed * 1000 + i;
        const bool done = duo_handshake(&d);
        if (done != ((i & 3) != 3)) {
            return "a handshake went wrong";
        }
        duo_free(&d);
    }
    return NULL;
}

static void test_contexts_are_shared_by_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, shake_hands, (void *)(i + 1)), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failure = NULL;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        assert_null(failure);
    }
}

static void test_build_is_told(void **state)
{
    (void)state;
    hpx_tls_build build;
    hpx_system_tls_build(&build);
    assert_true(build.version[0] >= '5');
    assert_true(build.verifies_by_default);
#if defined(__x86_64__)
    assert_true(build.has_assembly);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts_are_shared_by_threads),
        cmocka_unit_test(test_context_when_a_setting_is_bad_then_none_and_it_is_named),
        cmocka_unit_test(test_context_when_the_nth_allocation_fails_then_none_and_nothing_leaks),
        cmocka_unit_test(test_context_from_a_file_or_an_older_config_works),
        cmocka_unit_test(test_context_with_version_min_1_3_then_1_2_is_refused),
        cmocka_unit_test(test_context_of_the_system_has_roots),
        cmocka_unit_test(test_context_outlives_its_release_while_a_session_uses_it),
        cmocka_unit_test(test_keylog_holds_the_secrets_when_asked_for),
        cmocka_unit_test(test_session_leaves_no_secret_in_freed_memory),
        cmocka_unit_test(test_build_is_told),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
