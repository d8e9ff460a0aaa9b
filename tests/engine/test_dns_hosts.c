/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: no hosts file, whatever is in it, costs more than its limits; memory may be short.
 * Method: files written by the test, in the current folder. What names resolve to, and that a
 * change is seen, is in test_resolver.c.
 */
#include <stdio.h>
#include <unistd.h>

#include "engine/dns_hosts.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

static char path[64];

static void write_file(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static uint32_t count_addresses(const hpxi_dns_hosts *hosts, const char *name)
{
    uint32_t cursor = 0;
    uint32_t count = 0;
    while (hpxi_dns_hosts_next(hosts, name, &cursor) != NULL) {
        count++;
    }
    return count;
}

static void test_hosts_when_file_is_too_big_then_its_head_counts(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    static char text[HPXI_DNS_HOSTS_BYTES_MAX + 4096];
    size_t size = 0;
    while (size < HPXI_DNS_HOSTS_BYTES_MAX) { /* long comments, so that bytes are the limit */
        size += (size_t)sprintf(text + size, "10.0.0.1 h%zu #%01000d\n", size, 0);
    }
    size += (size_t)sprintf(text + size, "10.0.0.2 beyond\n");
    write_file(text, size);
    hpxi_dns_hosts hosts;
    hpxi_dns_hosts_init(&hosts, path, &allocator);
    hpxi_dns_hosts_refresh(&hosts, 0);
    assert_int_equal(count_addresses(&hosts, "h0"), 1);
    assert_int_equal(count_addresses(&hosts, "beyond"), 0);
    assert_true(fa.bytes <= HPXI_DNS_HOSTS_BYTES_MAX + 1 + 64 * 1024);

    size = 0;
    for (uint32_t i = 0; i < HPXI_DNS_HOSTS_NAMES_MAX; i++) {
        size += (size_t)sprintf(text + size, "10.0.0.1 n%u\n", i);
    }
    size += (size_t)sprintf(text + size, "10.0.0.2 beyond\n");
    assert_true(size < HPXI_DNS_HOSTS_BYTES_MAX);
    write_file(text, size);
    hpxi_dns_hosts_refresh(&hosts, HPX_NS_PER_S - 1); /* too early to look */
    assert_int_equal(count_addresses(&hosts, "h0"), 1);
    hpxi_dns_hosts_refresh(&hosts, HPX_NS_PER_S);
    assert_int_equal(count_addresses(&hosts, "h0"), 0);
    assert_int_equal(count_addresses(&hosts, "n8191"), 1);
    assert_int_equal(count_addresses(&hosts, "beyond"), 0);
    hpxi_dns_hosts_fini(&hosts);
    assert_int_equal(fa.live, 0);
}

static void test_hosts_when_file_is_odd_then_no_names_from_it(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    static const char odd[] =
        "\n\r\n \t\n#\n10.0.0.1\n10.0.0.1 #c\n10.0.0.1 a\0b c\n::1%lo d\nx y\n"
        "10.0.0.1\td\te ";
    hpxi_dns_hosts hosts;
    hpxi_dns_hosts_init(&hosts, path, &allocator);
    write_file(odd, sizeof(odd) - 1);
    hpxi_dns_hosts_refresh(&hosts, 0);
    assert_int_equal(hosts.name_count, 3);
    assert_int_equal(count_addresses(&hosts, "a"), 1);
    assert_int_equal(count_addresses(&hosts, "d"), 1);
    assert_int_equal(count_addresses(&hosts, "e"), 1);
    unlink(path);
    hpxi_dns_hosts_refresh(&hosts, HPX_NS_PER_S);
    assert_int_equal(hosts.name_count, 0);
    assert_int_equal(fa.live, 0);
    write_file("", 0);
    hpxi_dns_hosts_refresh(&hosts, 2 * HPX_NS_PER_S);
    assert_int_equal(hosts.name_count, 0);
    hpxi_dns_hosts_fini(&hosts);
    hpxi_dns_hosts_init(&hosts, "/", &allocator);
    hpxi_dns_hosts_refresh(&hosts, 0);
    assert_int_equal(hosts.name_count, 0);
    hpxi_dns_hosts_fini(&hosts);
    assert_int_equal(fa.live, 0);
}

static void refresh_scenario(hpx_allocator allocator, bool expect_success)
{
    hpxi_dns_hosts hosts;
    hpxi_dns_hosts_init(&hosts, path, &allocator);
    hpxi_dns_hosts_refresh(&hosts, 0);
    assert_int_equal(count_addresses(&hosts, "a"), expect_success);
    hpxi_dns_hosts_refresh(&hosts, HPX_NS_PER_S); /* there is memory again */
    assert_int_equal(count_addresses(&hosts, "a"), 1);
    hpxi_dns_hosts_fini(&hosts);
}

static void test_hosts_when_any_allocation_fails_then_read_later(void **state)
{
    (void)state;
    write_file("10.0.0.1 a", 10);
    fa_exhaust(refresh_scenario);
    unlink(path);
}

int main(void)
{
    snprintf(path, sizeof(path), "dns_hosts.%d.tmp", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts_when_file_is_too_big_then_its_head_counts),
        cmocka_unit_test(test_hosts_when_file_is_odd_then_no_names_from_it),
        cmocka_unit_test(test_hosts_when_any_allocation_fails_then_read_later),
    };
    return cmocka_run_group_tests_name("engine/dns_hosts", tests, NULL, NULL);
}
